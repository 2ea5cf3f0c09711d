"""Leaks of known level and shape, and other ways to disturb a pair of clean stems. All (frames, 2) float32."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from scipy.signal import butter, fftconvolve, sosfilt

Sound: TypeAlias = NDArray[np.float32]
Dice: TypeAlias = np.random.Generator

KINDS = ("plain", "filtered", "delayed", "varying", "in parts", "filtered in parts")


@dataclass(frozen=True)
class Pair:
    """What a separation left: a vocal stem, an accompaniment, and the vocal that is in the latter."""

    vocals: Sound
    accompaniment: Sound
    leak: Sound


def rms(sound: Sound) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.mean(np.square(sound, dtype=np.float64))))


def at(sound: Sound, reference: Sound, decibels: float) -> Sound:
    """Scale a sound to a level relative to another's."""
    level = rms(sound)
    return sound * np.float32(rms(reference) * 10 ** (decibels / 20) / level) if level > 1e-9 else sound * 0


def leaked(vocals: Sound, kind: str, decibels: float, rate: int, dice: Dice) -> Sound:
    """Make the leak of a kind at a level, relative to the vocal over the whole file."""
    leak = vocals
    if "filtered" in kind:
        leak = filtered(leak, rate, dice)
    if kind == "delayed":
        lag = int(dice.uniform(0.001, 0.03) * rate)
        leak = np.concatenate([np.zeros_like(leak[:lag]), leak[:-lag]])
    if kind == "varying":
        swing = dice.uniform(3, 8) * np.sin(2 * np.pi * dice.uniform(0.05, 0.5) * np.arange(len(leak)) / rate)
        leak = leak * (10 ** (swing / 20))[:, None].astype(np.float32)
    if "in parts" in kind:
        leak = leak * gate(vocals, rate, dice.uniform(0.2, 0.6), dice)[:, None]
    return at(leak, vocals, decibels)


def filtered(sound: Sound, rate: int, dice: Dice) -> Sound:
    """Low-pass, high-pass, band-pass or band-stop of second order, anywhere where voices are."""
    low = dice.uniform(200, 1500)
    edges, shape = [
        (dice.uniform(400, 4000), "low"),
        (dice.uniform(300, 3000), "high"),
        ([low, low * dice.uniform(2, 5)], "band"),
        ([low, low * 2.5], "bandstop"),
    ][dice.integers(4)]
    return sosfilt(butter(2, edges, shape, fs=rate, output="sos"), sound, axis=0).astype(np.float32)


def gate(vocals: Sound, rate: int, share: float, dice: Dice) -> Sound:
    """Smooth 0 to 1 over pieces of 1 to 5 s that hold about a share of the singing, (frames,)."""
    sung = np.convolve(np.square(vocals).sum(axis=1), np.ones(rate // 10) / (rate // 10), "same") if len(vocals) else 0
    sung = sung > 1e-3 * np.max(sung)
    mask = np.zeros(len(vocals), dtype=np.float32)
    for _ in range(200):
        if (mask * sung).sum() >= share * sung.sum():
            break
        start = dice.integers(len(mask))
        mask[start : start + int(dice.uniform(1, 5) * rate)] = 1
    edge = np.hanning(rate // 20)
    return fftconvolve(mask, edge / edge.sum(), "same").astype(np.float32)


def reversed_leak(accompaniment: Sound, decibels: float, rate: int, dice: Dice) -> Sound:
    """Make what a separator leaves of the band in the vocal stem: filtered or not, in parts or not."""
    leak = filtered(accompaniment, rate, dice) if dice.random() < 0.7 else accompaniment
    if dice.random() < 0.4:
        leak = leak * gate(accompaniment, rate, dice.uniform(0.3, 0.8), dice)[:, None]
    return at(leak, accompaniment, decibels)


def reverberated(sound: Sound, rate: int, seconds: float, dice: Dice) -> Sound:
    """Add reverberation of a decay time to the dry sound, as loud as it."""
    time = np.arange(int(rate * seconds)) / rate
    echo = dice.standard_normal((len(time), 2)) * np.exp(-6.9 * time / seconds)[:, None]
    wet = np.stack([fftconvolve(sound[:, c], echo[:, c])[: len(sound)] for c in (0, 1)], axis=1).astype(np.float32)
    return sound + at(wet, sound, 0.0)


def doubled(vocals: Sound, rate: int, dice: Dice) -> Sound:
    """Play the singer's melody on an instrument: a saw-like tone on the notes sung, as loud as the voice."""
    mono = vocals.mean(axis=1)
    hop, size = rate // 100, rate // 20
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(mono, (size // 2, size)), size)[::hop][: len(mono) // hop]
    spectrum = np.fft.rfft(frames * np.hanning(size), 2 * size)
    lags = np.fft.irfft(np.abs(spectrum) ** 2)[:, : size // 2]
    low, high = rate // 800, rate // 80
    pitch = rate / (low + np.argmax(lags[:, low:high], axis=1))
    voiced = lags[:, low:high].max(axis=1) > 0.4 * np.maximum(lags[:, 0], 1e-9)
    pitch = np.interp(np.arange(len(pitch)), np.flatnonzero(voiced), pitch[voiced]) if voiced.any() else pitch
    steps = 12 * np.log2(median_filter(pitch, 15) / 440)
    pitch = 440 * 2 ** (np.round(steps) / 12)
    when = np.arange(len(mono)) / hop
    phase = 2 * np.pi * np.cumsum(np.interp(when, np.arange(len(pitch)), pitch)) / rate + dice.uniform(0, 6)
    tone = sum(np.sin(k * phase) / k for k in range(1, 9))
    loud = np.interp(when, np.arange(len(pitch)), np.sqrt(np.maximum(lags[:, 0], 0)) * voiced)
    return at(np.repeat((tone * loud)[:, None], 2, axis=1).astype(np.float32), vocals, -3.0)
