"""What the network hears in training: short pieces of songs, mixed and changed anew every time."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.network import RATE, SOURCES

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Changes:
    """How often and how far crops are changed. sung: how often vocals without singing are drawn anew."""

    remix: float = 0.35
    quietest: float = 0.5
    loudest: float = 1.25
    mute: float = 0.05
    mute_vocals: float = 0.12
    sung: float = 0.85
    speed: float = 0.12
    tilt_db: float = 3.0


def songs_in(folder: Path) -> list[Path]:
    """Return the folders of finished songs, sorted."""
    return sorted(song.parent for song in folder.glob("[0-9]*/song.json"))


def length(song: Path) -> int:
    """Return a song's frames."""
    return int(soundfile.info(song / "vocals.wav").frames)


def read(song: Path, stem: str, start: int, frames: int) -> Samples:
    """Return a piece of a stem, (2, frames) float32."""
    sound, _ = soundfile.read(song / f"{stem}.wav", frames=frames, start=start, dtype="float32", always_2d=True)
    return np.ascontiguousarray(sound.T)


def draw(dice: np.random.Generator, songs: list[Path], frames: int, changes: Changes) -> Tensor:
    """Draw one crop: (4, 2, frames), the stems in the order of SOURCES."""
    remix = dice.random() < changes.remix
    song, place = sung_place(dice, songs, changes)
    speed = np.exp(dice.uniform(-changes.speed, changes.speed))
    stems = []
    for stem in SOURCES:
        if remix:
            song, place = sung_place(dice, songs, changes) if stem == "vocals" else any_place(dice, songs)
            speed = np.exp(dice.uniform(-changes.speed, changes.speed))
        needed = min(int(frames * speed) + 1, length(song))
        sound = read(song, stem, int(place * (length(song) - needed)), needed)
        stems.append(vary(dice, resampled(torch.from_numpy(sound), frames), stem, changes))
    return torch.stack(stems)


def any_place(dice: np.random.Generator, songs: list[Path]) -> tuple[Path, float]:
    """Draw a song and a place in it, 0 (its beginning) to 1."""
    return songs[dice.integers(len(songs))], float(dice.random())


def sung_place(dice: np.random.Generator, songs: list[Path], changes: Changes) -> tuple[Path, float]:
    """Draw a song and a place where somebody sings; now and then one where nobody does."""
    song, place = any_place(dice, songs)
    while dice.random() < changes.sung and any(start <= place <= end for start, end in gaps(song)):
        song, place = any_place(dice, songs)
    return song, place


@cache
def gaps(song: Path) -> list[tuple[float, float]]:
    """Return where nobody sings, as parts of the song from 0 to 1."""
    told = json.loads((song / "song.json").read_text())
    return [(start / told["seconds"], end / told["seconds"]) for start, end in told["gaps"]]


def resampled(sound: Tensor, frames: int) -> Tensor:
    """Return a sound played faster or slower, pitch and tempo alike, so that it fills the frames."""
    return torch.nn.functional.interpolate(sound[None], size=frames, mode="linear", align_corners=True)[0]


def vary(dice: np.random.Generator, sound: Tensor, stem: str, changes: Changes) -> Tensor:
    """Change a stem's level, sign, sides and colour; now and then mute it."""
    if dice.random() < (changes.mute_vocals if stem == "vocals" else changes.mute):
        return torch.zeros_like(sound)
    sound = tilted(sound, float(dice.normal(0, changes.tilt_db)), float(dice.uniform(0, 1)))
    gain = float(np.exp(dice.uniform(np.log(changes.quietest), np.log(changes.loudest))))
    sides = sound.flip(0) if dice.random() < 0.5 else sound
    return sides * gain * float(dice.choice([-1.0, 1.0]))


def tilted(sound: Tensor, decibels: float, centre: float) -> Tensor:
    """Raise the highs and lower the lows, or the other way, by `decibels` around a pivot (0 to 1: 0.2 to 5 kHz)."""
    spectrum = torch.fft.rfft(sound)
    hertz = torch.arange(spectrum.shape[-1]) * (RATE / sound.shape[-1])
    pivot = 200 * 25**centre
    gain = 10 ** (decibels / 20 * torch.tanh(torch.log2((hertz + 20) / pivot) / 2))
    changed: Tensor = torch.fft.irfft(spectrum * gain, n=sound.shape[-1])
    return changed


def batch(dice: np.random.Generator, songs: list[Path], size: int, frames: int, changes: Changes) -> Tensor:
    """Return `size` crops whose mixtures have no offset and unit deviation: (size, 4, 2, frames)."""
    stems = torch.stack([draw(dice, songs, frames, changes) for _ in range(size)])
    deviation = stems.sum(dim=1).std(dim=(1, 2))
    return stems / deviation.clamp_min(1e-3)[:, None, None, None]
