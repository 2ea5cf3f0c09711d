// Where sound comes from: gives a stem as blocks of samples, each an AudioBuffer, so that all stems can be scheduled on
// one clock, sample by sample. Two ways: WAV is read by byte ranges, whatever its length; other formats, being small,
// are decoded whole. What is too long for that is left to <audio> elements (transport.js keeps those in step).

export const BLOCK = 4; // seconds
const HEADER = 64 * 1024; // bytes
const MOST = 700e6; // bytes of decoded sound in a tab
const PCM = 1;
const FLOAT = 3;
const EXTENSIBLE = 0xfffe;
const UNKNOWN = 0xffffffff;

/** Open a stem. Returns {rate, seconds, block(index)}, or null where it is too long to be decoded whole. */
export async function open(stem, seconds, stems) {
  if (stem.format === "wav") return openWav(stem.url);
  if (seconds * 48000 * 2 * 4 * stems > MOST) return null;
  return { rate: null, seconds, url: stem.url, block: null };
}

/** Decode a whole stem for a context that exists by now. */
export async function decode(source, context) {
  const response = await fetch(source.url);
  if (!response.ok) throw new Error(`A stem cannot be read: ${response.status}`);
  const buffer = await context.decodeAudioData(await response.arrayBuffer());
  source.seconds = buffer.duration;
  source.block = async (index) => ({ buffer, offset: index * BLOCK, seconds: BLOCK });
}

async function openWav(url) {
  const form = await header(url);
  const frame = form.channels * form.bytes;
  const frames = Math.floor(form.size / frame);
  const kept = new Map();
  const load = async (index, context) => {
    const first = Math.round(index * BLOCK * form.rate);
    const count = Math.min(Math.round((index + 1) * BLOCK * form.rate), frames) - first;
    if (count <= 0) return null;
    const view = await range(url, form.start + first * frame, count * frame);
    return { buffer: samples(view, form, count, context), offset: 0, seconds: BLOCK };
  };
  const block = (index, context) => {
    if (!kept.has(index)) {
      const loading = load(index, context);
      loading.catch(() => kept.delete(index));
      kept.set(index, loading);
      if (kept.size > 8) kept.delete(kept.keys().next().value);
    }
    return kept.get(index);
  };
  return { rate: form.rate, seconds: frames / form.rate, block };
}

async function range(url, start, length) {
  const response = await fetch(url, { headers: { Range: `bytes=${start}-${start + length - 1}` } });
  if (response.status !== 206) throw new Error(`A stem cannot be read: ${response.status}`);
  return new DataView(await response.arrayBuffer());
}

/** Walk the chunks of a RIFF or RF64 file up to its samples (EBU Tech 3306). */
async function header(url) {
  let view = await range(url, 0, HEADER);
  let base = 0;
  let at = 12;
  let large = null;
  const form = {};
  const kind = text(view, 0);
  if ((kind !== "RIFF" && kind !== "RF64") || text(view, 8) !== "WAVE") throw new Error("This is no WAV file.");
  for (;;) {
    if (at - base + 48 > view.byteLength) {
      base = at;
      view = await range(url, base, HEADER);
    }
    const id = text(view, at - base);
    const size = view.getUint32(at - base + 4, true);
    const body = at - base + 8;
    if (id === "ds64") large = Number(view.getBigUint64(body + 8, true));
    if (id === "fmt ") Object.assign(form, format(view, body));
    if (id === "data") return { ...form, start: at + 8, size: size === UNKNOWN && large ? large : size };
    at += 8 + size + (size % 2);
  }
}

function format(view, at) {
  const code = view.getUint16(at, true);
  return {
    code: code === EXTENSIBLE ? view.getUint16(at + 24, true) : code,
    channels: view.getUint16(at + 2, true),
    rate: view.getUint32(at + 4, true),
    bytes: view.getUint16(at + 14, true) / 8,
  };
}

function samples(view, form, count, context) {
  const buffer = context.createBuffer(form.channels, count, form.rate);
  const read = reader(view, form);
  for (let channel = 0; channel < form.channels; channel++) {
    const to = buffer.getChannelData(channel);
    for (let n = 0, at = channel * form.bytes; n < count; n++, at += form.channels * form.bytes) to[n] = read(at);
  }
  return buffer;
}

function reader(view, { code, bytes }) {
  if (code === FLOAT && bytes === 4) return (at) => view.getFloat32(at, true);
  if (code === PCM && bytes === 2) return (at) => view.getInt16(at, true) / 0x8000;
  if (code === PCM && bytes === 3) return (at) => (view.getInt16(at + 1, true) * 256 + view.getUint8(at)) / 0x800000;
  if (code === PCM && bytes === 4) return (at) => view.getInt32(at, true) / 0x80000000;
  throw new Error("This kind of WAV cannot be played here.");
}

function text(view, at) {
  return String.fromCharCode(...[0, 1, 2, 3].map((n) => view.getUint8(at + n)));
}
