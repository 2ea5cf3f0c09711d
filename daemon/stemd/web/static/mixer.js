// What is heard of which stem: solo, mute, gain, the mix, and which of several results.

/** The group of the track that is the mix. Without such a track, all stems together stand for it. */
export const MIX = -1;

export class Mixer {
  /** transport: its tracks carry `group`, the index of their result. */
  constructor(transport) {
    this.transport = transport;
    this.group = 0;
    this.mixed = false;
    for (const track of transport.tracks) Object.assign(track, { soloed: false, muted: false, gainDb: 0 });
  }

  /** The tracks of one result. */
  tracks(group) {
    return this.transport.tracks.filter((track) => track.group === group);
  }

  /** Hear another result; what is solo or mute there stays as it is here, stem by stem. */
  hear(group) {
    const before = this.tracks(this.group);
    for (const track of this.tracks(group)) {
      const twin = before.find((each) => each.name === track.name);
      if (twin) Object.assign(track, { soloed: twin.soloed, muted: twin.muted, gainDb: twin.gainDb });
    }
    this.group = group;
    this.apply();
  }

  solo(group, n) {
    this.change(group, n, (track) => { track.soloed = !track.soloed; });
  }

  mute(group, n) {
    this.change(group, n, (track) => { track.muted = !track.muted; });
  }

  setGain(group, n, decibel) {
    this.change(group, n, (track) => { track.gainDb = decibel; });
  }

  toggleMix() {
    this.mixed = !this.mixed;
    this.apply();
  }

  /** How loud a track is now, linear. */
  level(track) {
    if (track.group === MIX) return this.mixed ? 10 ** (track.gain_db / 20) : 0;
    if (track.group !== this.group) return 0;
    if (this.mixed) return this.tracks(MIX).length ? 0 : 1;
    const soloing = this.tracks(this.group).some((each) => each.soloed);
    return (soloing ? track.soloed : !track.muted) ? 10 ** (track.gainDb / 20) : 0;
  }

  change(group, n, act) {
    const track = this.tracks(group)[n];
    if (!track) return;
    act(track);
    this.mixed = false;
    this.apply();
  }

  apply() {
    this.transport.setLevels(this.transport.tracks.map((track) => this.level(track)));
    this.transport.tell();
  }
}
