"""What happens to sound between source and mixture: equalisers, compressors, rooms, panning.

Everything here takes and returns (2, frames) or (frames,) arrays of float64 at 44,100 Hz.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import signal

Sound = NDArray[np.float64]
RATE = 44_100


def peaking(sound: Sound, hertz: float, gain_db: float, width: float = 0.9) -> Sound:
    """Raise or lower a band (R. Bristow-Johnson's cookbook, peaking equaliser; `width` is its Q)."""
    amplitude = 10 ** (gain_db / 40)
    omega = 2 * np.pi * hertz / RATE
    alpha = np.sin(omega) / (2 * width)
    above = [1 + alpha * amplitude, -2 * np.cos(omega), 1 - alpha * amplitude]
    below = [1 + alpha / amplitude, -2 * np.cos(omega), 1 - alpha / amplitude]
    return np.asarray(signal.lfilter(above, below, sound, axis=-1))


def passing(sound: Sound, kind: Literal["highpass", "lowpass"], hertz: float, order: int = 2) -> Sound:
    """Keep what lies above (`highpass`) or below (`lowpass`) a frequency (Butterworth)."""
    sections = signal.butter(order, hertz, kind, fs=RATE, output="sos")
    return np.asarray(signal.sosfilt(sections, sound, axis=-1))


def colour(dice: np.random.Generator, sound: Sound, strength_db: float = 5.0) -> Sound:
    """Equalise at random: two to four bands, each up to about `strength_db` up or down."""
    for _ in range(int(dice.integers(2, 5))):
        hertz = float(np.exp(dice.uniform(np.log(90), np.log(12_000))))
        gain = float(dice.normal(0, strength_db / 2))
        sound = peaking(sound, hertz, gain, float(dice.uniform(0.4, 1.6)))
    return sound


def envelope(sound: Sound, seconds: float) -> Sound:
    """Return the smoothed level of a sound, (frames,), linear amplitude."""
    power = np.square(np.atleast_2d(sound)).mean(axis=0)
    pole = float(np.exp(-1 / (seconds * RATE)))
    smooth = np.asarray(signal.lfilter([1 - pole], [1, -pole], power))
    return np.asarray(np.sqrt(np.maximum(smooth, 1e-12)))


def gain_reduction(sound: Sound, below_peak_db: float, ratio: float) -> Sound:
    """Return the gain, (frames,) in (0, 1], of a compressor set below the sound's loudest level."""
    level = 20 * np.log10(envelope(sound, 0.03))
    over = np.maximum(level - (level.max() - below_peak_db), 0)
    return np.asarray(10 ** (-over * (1 - 1 / ratio) / 20))


def compress(sound: Sound, below_peak_db: float, ratio: float) -> Sound:
    """Compress a sound."""
    return sound * gain_reduction(sound, below_peak_db, ratio)


def saturate(sound: Sound, drive: float) -> Sound:
    """Distort softly; `drive` 1 is nearly clean, 8 is a fuzz. The level stays about the same."""
    peak = float(np.abs(sound).max()) or 1.0
    return np.asarray(np.tanh(sound / peak * drive) / np.tanh(drive) * peak)


@dataclass(frozen=True)
class Room:
    """An impulse response, (2, frames) with unit energy, and how much of it is heard (0 to 1)."""

    response: Sound
    wet: float

    def around(self, sound: Sound) -> Sound:
        """Return a sound, (2, frames), as heard in this room; tails past the end are cut."""
        if not self.wet:
            return sound
        frames = sound.shape[-1]
        wet = signal.fftconvolve(sound, self.response, axes=-1)[..., :frames]
        return np.asarray(sound + self.wet * wet)


def draw_room(dice: np.random.Generator, seconds: float, wet: float) -> Room:
    """Draw a room: early reflections, then noise that decays 60 dB in `seconds`, darker with time."""
    frames = int(seconds * RATE)
    time = np.arange(frames) / RATE
    dark = passing(dice.standard_normal((2, frames)), "lowpass", float(dice.uniform(1_500, 5_000)))
    bright = dice.standard_normal((2, frames)) * 10 ** (-6 * time / seconds)
    tail = (dark * 2 + bright * float(dice.uniform(0.2, 1))) * 10 ** (-3 * time / seconds)
    delay = int(dice.uniform(0, 0.04) * RATE)
    tail = np.pad(tail, ((0, 0), (delay, 0)))[:, :frames]
    for _ in range(int(dice.integers(3, 9))):
        tail[dice.integers(2), int(dice.uniform(0.002, 0.06) * RATE) % frames] += dice.normal(0, 12)
    tail = passing(tail, "highpass", float(dice.uniform(60, 350)))
    return Room(tail / np.sqrt(np.square(tail).sum(axis=-1).mean()), wet)


def any_room(dice: np.random.Generator, most_wet: float) -> Room:
    """Draw a room of any size, dry ones included."""
    if dice.random() < 0.2:
        return Room(np.ones((2, 1)), 0.0)
    seconds = float(np.exp(dice.uniform(np.log(0.2), np.log(3.2))))
    return draw_room(dice, seconds, float(dice.uniform(0.05, most_wet)))


def echo(sound: Sound, seconds: float, feedback: float, wet: float) -> Sound:
    """Add repetitions every `seconds`, each `feedback` times the last, alternating left and right."""
    result = sound.copy()
    repeat = sound * wet
    step = int(seconds * RATE)
    for _ in range(4):
        repeat = np.pad(repeat[::-1] * feedback, ((0, 0), (step, 0)))[:, : sound.shape[-1]]
        result += repeat
    return result


def pan(sound: Sound, position: float) -> Sound:
    """Place a sound between left (-1) and right (1) at constant power; mono becomes stereo."""
    angle = (position + 1) * np.pi / 4
    gains = np.array([[np.cos(angle)], [np.sin(angle)]]) * np.sqrt(2)
    return np.asarray(np.atleast_2d(sound) * gains)


def to_level(sound: Sound, decibels: float) -> Sound:
    """Scale a sound so that its loud parts (95th percentile of 50 ms levels) lie at this level."""
    levels = envelope(sound, 0.05)[::441]
    loud = float(np.percentile(levels[levels > levels.max() * 0.03], 95)) if levels.max() else 0.0
    return sound * (10 ** (decibels / 20) / loud) if loud > 1e-6 else sound
