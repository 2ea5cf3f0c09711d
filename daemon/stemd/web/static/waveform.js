// Draws a stem's level over time, from the half-second levels that the check has measured, with what was flagged.

const FLOOR = -60; // dBFS that count as silence

/** Draw on a canvas. levels: dBFS, null for silence. flags: [{start, end}] in seconds. */
export function draw(canvas, { levels, step, seconds, flags, colour, mark }) {
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
  bars(pen, { levels, step, seconds, width, height, ratio });
  pen.globalAlpha = 1;
  pen.fillStyle = mark;
  for (const flag of flags) pen.fillRect(x(flag.start), 0, Math.max(2 * ratio, x(flag.end) - x(flag.start)), 3 * ratio);
}

/** One bar for every few pixels, mirrored about the middle: the loudest window within it. */
function bars(pen, { levels, step, seconds, width, height, ratio }) {
  const pitch = 3 * ratio;
  for (let left = 0; left < width; left += pitch) {
    const first = Math.floor(((left / width) * seconds) / step);
    const last = Math.max(first + 1, Math.ceil((((left + pitch) / width) * seconds) / step));
    const loudest = Math.max(FLOOR, ...levels.slice(first, last).map((level) => level ?? FLOOR));
    const tall = Math.max(ratio, ((loudest - FLOOR) / -FLOOR) ** 1.6 * height * 0.92);
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
