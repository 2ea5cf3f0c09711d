"""A computed song: a voice with vibrato, vowels and pauses over a band. For tests that need to know what bled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RATE = 44100
Sound = NDArray[np.float32]


def voice(seconds: float, seed: int = 0, rate: int = RATE) -> Sound:
    """(frames, 2): phrases of about two seconds with vibrato, two formants, breath and consonants, and pauses."""
    dice = np.random.default_rng([1, seed])
    time = np.arange(int(seconds * rate)) / rate
    notes = dice.choice([196.0, 220.0, 246.9, 261.6, 293.7], size=int(seconds * 2) + 2)
    pitch = notes[(time * 2).astype(int)] * 2 ** (0.03 * np.sin(2 * np.pi * 5.5 * time))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    formant = 600 + 250 * np.sin(2 * np.pi * 0.7 * time + dice.uniform(0, 6))
    sung = np.zeros(len(time))
    for partial in range(1, 30):
        near = np.exp(-(((partial * pitch - formant) / 250) ** 2)) + 0.4 * np.exp(
            -(((partial * pitch - 2500) / 700) ** 2)
        )
        sung += (near + 0.05) / partial**0.5 * np.sin(partial * phase)
    hiss = np.diff(dice.standard_normal(len(time) + 1)) * (np.sin(2 * np.pi * 2 * time) > 0.93)
    on = np.convolve(np.sin(2 * np.pi * 0.22 * time + 0.6) > -0.25, np.hanning(rate // 50) / (rate // 100), "same")
    return _stereo((sung + 0.5 * hiss) * on, 0.1)


def band(seconds: float, seed: int = 0, rate: int = RATE) -> Sound:
    """(frames, 2): chords of plucked partials, a bass and drums of noise."""
    dice = np.random.default_rng([2, seed])
    time = np.arange(int(seconds * rate)) / rate
    total = np.zeros(len(time))
    for beat in range(int(seconds * 2) + 1):
        start, stop = beat * rate // 2, min(len(time), beat * rate // 2 + rate)
        part = time[: max(0, stop - start)]
        root = dice.choice([98.0, 110.0, 130.8, 146.8])
        for note in (root, root * 2, root * 2.5, root * 3):
            for partial in range(1, 9):
                total[start:stop] += (
                    np.sin(2 * np.pi * note * partial * part + dice.uniform(0, 6)) * np.exp(-4 * part) / partial
                )
        total[start:stop] += 3 * dice.standard_normal(len(part)) * np.exp(-40 * part)
    return _stereo(total, 0.1)


def rms(sound: Sound) -> float:
    return float(np.sqrt(np.mean(np.square(sound, dtype=np.float64))))


def at(sound: Sound, reference: Sound, decibels: float) -> Sound:
    """Scale a sound to a level relative to another's."""
    return (sound * (rms(reference) / rms(sound) * 10 ** (decibels / 20))).astype(np.float32)


def _stereo(mono: NDArray[np.float64], level: float) -> Sound:
    sound = np.stack([mono, mono * 0.9], axis=1)
    return (sound * level / max(1e-9, float(np.sqrt(np.mean(sound**2))))).astype(np.float32)
