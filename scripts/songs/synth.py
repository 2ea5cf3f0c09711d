"""A small synthesiser, for tones and drums that no sound font has. One seed is one instrument."""

from dataclasses import dataclass

import numpy as np
from scipy import signal

from songs import room
from songs.room import RATE, Sound
from songs.score import Note


@dataclass(frozen=True)
class Patch:
    """A synthesiser's settings: waveform, detuned copies, envelope in seconds, filter in Hz."""

    wave: str
    copies: int
    detune: float
    attack: float
    decay: float
    sustain: float
    cutoff: float
    index: float
    ratio: float


def draw_patch(seed: int) -> Patch:
    """Return the patch of a seed: organ-like, plucked or swelling, dull or bright."""
    dice = np.random.default_rng([seed, 1])
    sustained = dice.random() < 0.6
    return Patch(
        wave=str(dice.choice(["saw", "square", "triangle", "fm", "pulse", "partials"])),
        copies=int(dice.choice([1, 2, 3, 5])),
        detune=float(dice.uniform(0.001, 0.012)),
        attack=float(np.exp(dice.uniform(np.log(0.002), np.log(0.12 if sustained else 0.01)))),
        decay=float(np.exp(dice.uniform(np.log(0.08), np.log(1.5)))),
        sustain=float(dice.uniform(0.4, 1)) if sustained else 0.0,
        cutoff=float(np.exp(dice.uniform(np.log(500), np.log(14_000)))),
        index=float(dice.uniform(0.5, 6)),
        ratio=float(dice.choice([0.5, 1, 2, 3, 3.5, 7, 1.41])),
    )


def wave(patch: Patch, hertz: float, time: Sound) -> Sound:
    """Return one oscillator, band-limited by keeping partials below 16 kHz."""
    phase = 2 * np.pi * hertz * time
    if patch.wave == "fm":
        bell = patch.index * np.exp(-time / max(patch.decay, 0.05))
        return np.asarray(np.sin(phase + bell * np.sin(phase * patch.ratio)))
    count = int(np.clip(16_000 / hertz, 1, 40))
    number = np.arange(1, count + 1)
    weights = {
        "saw": 1 / number,
        "square": (number % 2) / number,
        "triangle": (number % 2) / number**2,
        "pulse": np.sin(number * np.pi * 0.2) / number,
        "partials": np.abs(np.sin(number * patch.ratio * 1.7)) / number**1.3,
    }[patch.wave]
    return np.asarray(sum(w * np.sin(phase * n) for n, w in zip(number, weights, strict=True) if w))


def tones(seed: int, notes: tuple[Note, ...], frames: int) -> Sound:
    """Play pitched notes, (2, frames)."""
    patch = draw_patch(seed)
    dice = np.random.default_rng([seed, 2])
    sound = np.zeros((2, frames))
    for note in notes:
        start = int(note.start * RATE)
        length = min(int((note.length + 0.15) * RATE), frames - start)
        if length <= 0:
            continue
        time = np.arange(length) / RATE
        body = patch.sustain + (1 - patch.sustain) * np.exp(-time / patch.decay)
        shape = np.minimum(time / patch.attack, 1) * body
        shape *= np.clip((note.length + 0.15 - time) / 0.15, 0, 1)
        hertz = 440 * 2 ** ((note.pitch - 69) / 12)
        for copy in range(patch.copies):
            off = hertz * (1 + patch.detune * dice.uniform(-1, 1))
            heard = wave(patch, off, time + dice.uniform(0, 1)) * shape * note.velocity / 127
            side = copy % 2 if patch.copies > 1 else slice(None)
            sound[side, start : start + length] += heard
    return room.passing(sound, "lowpass", patch.cutoff)


def drums(seed: int, notes: tuple[Note, ...], frames: int) -> Sound:
    """Play a drum computer, (2, frames): swept sines and filtered noise, every hit of a drum alike."""
    sound = np.zeros((2, frames))
    for drum in sorted({note.pitch for note in notes}):
        sample = drum_sample(seed, drum)
        for note in (note for note in notes if note.pitch == drum):
            start = int(note.start * RATE)
            length = min(sample.shape[-1], frames - start)
            if length > 0:
                sound[:, start : start + length] += sample[:, :length] * (note.velocity / 127) ** 1.5
    return sound


def drum_sample(seed: int, drum: int) -> Sound:
    """Return one hit of a General MIDI drum, (2, frames)."""
    dice = np.random.default_rng([seed, 3, drum])
    time = np.arange(int(0.9 * RATE)) / RATE
    noise = dice.standard_normal((2, len(time)))
    if drum in {35, 36}:
        sweep = dice.uniform(40, 65) + dice.uniform(80, 300) * np.exp(-time / dice.uniform(0.01, 0.05))
        body = np.sin(2 * np.pi * np.cumsum(sweep) / RATE) * np.exp(-time / dice.uniform(0.07, 0.35))
        click = noise * np.exp(-time / 0.002) * dice.uniform(0, 0.4)
        return np.asarray(1.2 * body + click)
    if drum in {41, 43, 45, 47, 48, 50, 62, 63, 64}:
        base = 60 + (drum - 40) * dice.uniform(8, 18)
        sweep = base * (1 + 0.5 * np.exp(-time / 0.03))
        body = np.sin(2 * np.pi * np.cumsum(sweep) / RATE) * np.exp(-time / dice.uniform(0.08, 0.25))
        return np.asarray(body + 0.1 * noise * np.exp(-time / 0.02))
    if drum in {37, 38, 39, 40}:
        tone = np.sin(2 * np.pi * dice.uniform(150, 260) * time) * np.exp(-time / 0.06)
        hiss = room.passing(noise, "highpass", float(dice.uniform(400, 2_500)))
        return np.asarray(0.6 * tone + 0.5 * hiss * np.exp(-time / dice.uniform(0.05, 0.18)))
    long = {46: 0.25, 49: 0.6, 51: 0.35, 53: 0.4, 55: 0.3, 57: 0.6}.get(drum, dice.uniform(0.02, 0.08))
    metal = np.sign(sum(np.sin(2 * np.pi * f * time) for f in dice.uniform(400, 7_000, size=6)))
    mixed = noise * dice.uniform(0.3, 1) + metal * dice.uniform(0, 0.7)
    sections = signal.butter(3, float(dice.uniform(4_000, 8_000)), "highpass", fs=RATE, output="sos")
    return np.asarray(0.5 * signal.sosfilt(sections, mixed, axis=-1) * np.exp(-time / (long / 2)))
