// Draws a stem's level over time, from the half-second levels that the check has measured, with what was flagged.

const SPAN = 45; // dB from a stem's loudest window down to nothing
const SILENCE = -100; // dBFS

/** The loudest of a stem's levels, dBFS. */
export const peak = (levels) => levels.reduce((most, level) => Math.max(most, level ?? SILENCE), SILENCE);

/**
 * Draw on a canvas. levels: dBFS, null for silence. flags: [{start, end}] in seconds. loudest: of all stems, dBFS; a
 * quiet stem is drawn lower than a loud one, but never so low that its shape is lost.
 */
export function draw(canvas, { levels, step, seconds, flags, loudest, colour, mark }) {
  const ratio = devicePixelRatio || 1;
  const width = (canvas.width = Math.max(1, Math.round(canvas.clientWidth * ratio)));
  const height = (canvas.height = Math.max(1, Math.round(canvas.clientHeight * ratio)));
  const pen = canvas.getContext("2d");
  const x = (at) => (at / seconds) * width;
  pen.fillStyle = mark;
  pen.globalAlpha = 0.22;
  for (const flag of flags) pen.fillRect(x(flag.start), 0, Math.max(2 * ratio, x(flag.end) - x(flag.start)), height);
  pen.globalAlpha = 0.95;
  pen.fillStyle = colour;
  bars(pen, { levels, step, seconds, width, height, ratio, loudest });
  pen.globalAlpha = 1;
  pen.fillStyle = mark;
  for (const flag of flags) pen.fillRect(x(flag.start), 0, Math.max(2 * ratio, x(flag.end) - x(flag.start)), 3 * ratio);
}

/** One bar for every few pixels, mirrored about the middle: the loudest window within it. */
function bars(pen, { levels, step, seconds, width, height, ratio, loudest }) {
  const pitch = 3 * ratio;
  const top = peak(levels);
  const full = height * 0.92 * (1 - 0.6 * Math.min(1, (loudest - top) / SPAN));
  for (let left = 0; left < width; left += pitch) {
    const first = Math.floor(((left / width) * seconds) / step);
    const last = Math.max(first + 1, Math.ceil((((left + pitch) / width) * seconds) / step));
    const above = Math.max(0, peak(levels.slice(first, last)) - top + SPAN) / SPAN;
    const tall = top <= SILENCE ? ratio : Math.max(ratio, above ** 1.3 * full);
    pen.fillRect(left, (height - tall) / 2, pitch - ratio, tall);
  }
}

/** Seconds between two marks of a ruler that has room for `most`. */
export function spacing(seconds, most) {
  return [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600].find((each) => seconds / each <= most) ?? 7200;
}

/** 83.25 -> "1:23" or, with tenths, "1:23.2". */
export function clock(seconds, tenths = false) {
  const whole = tenths ? Math.floor(seconds * 10) / 10 : Math.floor(seconds);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
  const end = tenths ? rest.toFixed(1).padStart(4, "0") : String(rest).padStart(2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${end}` : `${minutes}:${end}`;
}
