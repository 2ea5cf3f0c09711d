// One transport for all stems. Blocks of every stem are scheduled on the audio clock a little ahead, so that they stay in
// step to the sample, and memory does not grow with the length. Very long compressed stems play through <audio>
// elements instead, which are pulled together whenever they drift apart.

import { BLOCK, decode, open } from "./sources.js";

const AHEAD = 2; // blocks scheduled beyond the one that sounds
const SOON = 0.06; // seconds from the decision to the first sample
const LOOK = 250; // milliseconds
const DRIFT = 0.03; // seconds between elements that nobody hears in a stem
const FADE = 0.015; // seconds

export class Transport extends EventTarget {
  /** tracks: [{name, format, url, group}], all of one length. seconds: that length. */
  constructor(tracks, seconds) {
    super();
    this.seconds = seconds;
    this.tracks = tracks.map((track) => ({ ...track, level: 0, source: null, element: null }));
    this.playing = false;
    this.context = null;
    this.at = 0; // where it stands while it does not play
    this.run = 0; // counts starts: what belongs to an older one is dropped
    this.nodes = new Set();
  }

  /** Seconds from the beginning. */
  get position() {
    if (!this.playing) return this.at;
    if (this.began === null) return this.at;
    return Math.min(this.seconds, this.at + Math.max(0, this.context.currentTime - this.began));
  }

  /** Set how loud each track is, linear; 0 is silence. */
  setLevels(levels) {
    this.tracks.forEach((track, n) => {
      track.level = levels[n];
      track.gain?.gain.setTargetAtTime(levels[n], this.context.currentTime, FADE);
    });
  }

  async play(from = this.at) {
    this.halt();
    this.at = Math.max(0, Math.min(from, this.seconds));
    if (this.at >= this.seconds - 0.01) this.at = 0;
    const run = ++this.run;
    this.playing = true;
    this.began = null;
    this.tell();
    try {
      await this.ready();
      if (run === this.run) await this.start(run);
    } catch (fault) {
      if (run !== this.run) return;
      this.stop();
      this.dispatchEvent(new CustomEvent("fault", { detail: fault.message }));
    }
  }

  stop() {
    this.at = this.position;
    this.halt();
    this.tell();
  }

  seek(to) {
    const target = Math.max(0, Math.min(to, this.seconds));
    if (this.playing) return this.play(target);
    this.at = target;
    this.tell();
    return Promise.resolve();
  }

  /** Open every stem once, on the first start: browsers allow sound only then. */
  async ready() {
    this.opening ??= this.openAll();
    try {
      await this.opening;
    } catch (fault) {
      this.opening = null;
      throw fault;
    }
    await this.context.resume();
  }

  async openAll() {
    const { tracks } = this;
    const sources = await Promise.all(tracks.map((track) => open(track, this.seconds, tracks.length)));
    const rate = sources.find((source) => source?.rate)?.rate;
    this.context ??= new AudioContext({ latencyHint: "playback", ...(rate ? { sampleRate: rate } : {}) });
    const master = this.context.createGain();
    master.connect(this.context.destination);
    tracks.forEach((track, n) => {
      track.gain = new GainNode(this.context, { gain: track.level });
      track.gain.connect(master);
      track.source = sources[n];
      if (!track.source) this.attach(track);
    });
    const compressed = sources.filter((source) => source?.url);
    await Promise.all(compressed.map((source) => decode(source, this.context)));
  }

  attach(track) {
    track.element = new Audio(track.url);
    track.element.preload = "auto";
    this.context.createMediaElementSource(track.element).connect(track.gain);
  }

  async start(run) {
    const from = this.at;
    const first = Math.floor(from / BLOCK);
    const scheduled = this.tracks.filter((track) => track.source);
    const blocks = await Promise.all(scheduled.map((track) => track.source.block(first, this.context)));
    const elements = this.tracks.map((track) => track.element).filter(Boolean);
    await Promise.all(elements.map((element) => placed(element, from)));
    if (run !== this.run) return;
    this.began = this.context.currentTime + SOON;
    scheduled.forEach((track, n) => this.schedule(track, blocks[n], first));
    await Promise.all(elements.map((element) => element.play()));
    this.next = first + 1;
    this.timer = setInterval(() => this.look(run), LOOK);
    this.look(run);
    this.tell();
  }

  /** Schedule what comes next, keep elements together, and stop at the end. */
  look(run) {
    if (run !== this.run) return;
    if (this.position >= this.seconds) {
      this.stop();
      return;
    }
    const wanted = Math.floor(this.position / BLOCK) + AHEAD;
    while (this.next <= wanted && this.next * BLOCK < this.seconds) this.fetch(run, this.next++);
    for (const { element } of this.tracks) {
      if (element && Math.abs(element.currentTime - this.position) > DRIFT) element.currentTime = this.position;
    }
  }

  async fetch(run, index) {
    const scheduled = this.tracks.filter((track) => track.source);
    try {
      const blocks = await Promise.all(scheduled.map((track) => track.source.block(index, this.context)));
      if (run === this.run) scheduled.forEach((track, n) => this.schedule(track, blocks[n], index));
    } catch (fault) {
      if (run !== this.run) return;
      this.stop();
      this.dispatchEvent(new CustomEvent("fault", { detail: fault.message }));
    }
  }

  schedule(track, block, index) {
    if (!block) return;
    const late = Math.max(0, this.context.currentTime - this.began + this.at - index * BLOCK);
    const skip = Math.max(this.at - index * BLOCK, late > BLOCK ? BLOCK : late);
    if (skip >= block.seconds) return;
    const node = new AudioBufferSourceNode(this.context, { buffer: block.buffer });
    node.connect(track.gain);
    node.start(this.began + index * BLOCK + skip - this.at, block.offset + skip, block.seconds - skip);
    node.onended = () => this.nodes.delete(node);
    this.nodes.add(node);
  }

  halt() {
    this.run++;
    this.playing = false;
    clearInterval(this.timer);
    for (const node of this.nodes) node.stop();
    this.nodes.clear();
    for (const { element } of this.tracks) element?.pause();
  }

  tell() {
    this.dispatchEvent(new Event("change"));
  }
}

function placed(element, at) {
  return new Promise((done, failed) => {
    element.onerror = () => failed(new Error("A stem cannot be played by this browser."));
    element.oncanplay = done;
    element.currentTime = at;
    if (element.readyState >= HTMLMediaElement.HAVE_FUTURE_DATA) done();
  });
}
