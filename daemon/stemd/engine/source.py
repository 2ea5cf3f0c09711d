"""Where the mix comes from: a file or an array, seen as (channels, frames) float32 that can be read anywhere."""

from __future__ import annotations

import math
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import soundfile
import torch
from demucs.audio import convert_audio

from stemd import wav
from stemd.errors import StemdError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from stemd.engine.models import Model
    from stemd.wav import Block

_BLOCK = 1 << 17  # frames read at a time while measuring


class Source(Protocol):
    """A recording. read(start, stop) returns (channels, stop - start) float32, 0 <= start <= stop <= frames."""

    @property
    def frames(self) -> int: ...  # noqa: D102
    @property
    def channels(self) -> int: ...  # noqa: D102
    def read(self, start: int, stop: int) -> Block: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Array:
    """A recording in memory: mix is (channels, frames) float32."""

    mix: Block

    @property
    def frames(self) -> int:
        """Frames per channel."""
        return int(self.mix.shape[1])

    @property
    def channels(self) -> int:
        """Number of channels."""
        return int(self.mix.shape[0])

    def read(self, start: int, stop: int) -> Block:
        """Return frames start..stop."""
        return self.mix[:, start:stop]


@dataclass(frozen=True, slots=True)
class Remixed:
    """A recording with another number of channels: mono is repeated, several are averaged to mono (demucs.audio)."""

    origin: Source
    channels: int

    @property
    def frames(self) -> int:
        """Frames per channel."""
        return self.origin.frames

    def read(self, start: int, stop: int) -> Block:
        """Return frames start..stop."""
        block = self.origin.read(start, stop)
        mono = block if len(block) == 1 else block.mean(axis=0, keepdims=True, dtype=np.float32)
        return np.repeat(mono, self.channels, axis=0)


@contextmanager
def opened(path: Path | str, model: Model, *, convert: bool) -> Iterator[Source]:
    """Open a recording as a source with the model's rate and channels.

    WAV and RF64 at the model's rate are read in blocks. convert: whatever else libsndfile reads is decoded and
    resampled in memory, as demucs.audio does; False refuses it. Errors: as `fit`, "not-a-wav", "not-audio".
    """
    try:
        reader = wav.Reader(path)
    except StemdError:
        if not convert:
            raise
        yield converted(path, model)
        return
    with reader:
        if convert and (reader.sample_rate != model.sample_rate or not _fits(reader.channels, model.channels)):
            yield converted(path, model)
        else:
            yield fit(reader, model)


def converted(path: Path | str, model: Model) -> Source:
    """Decode a whole file with libsndfile and convert its rate and channels. Errors: StemdError "not-audio"."""
    try:
        samples, rate = soundfile.read(os.fsencode(path), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise StemdError(
            "not-audio", f"{os.fspath(path)} cannot be read: {error.error_string}", "convert it to WAV or FLAC first"
        ) from error
    tensor = convert_audio(torch.from_numpy(samples.T.copy()), rate, model.sample_rate, model.channels)
    return Array(np.ascontiguousarray(tensor.numpy()))


def _fits(channels: int, wanted: int) -> bool:
    return channels == wanted or 1 in (channels, wanted)


def fit(reader: wav.Reader, model: Model) -> Source:
    """Return the file as a source with the model's channels.

    Errors: StemdError "wrong-rate" where the file has another sample rate, "wrong-channels" where its channels cannot
    be mapped without a choice (more than one to more than one).
    """
    name = os.fspath(reader.path)
    if reader.sample_rate != model.sample_rate:
        raise StemdError(
            "wrong-rate",
            f"{name} has {reader.sample_rate} Hz, the model works at {model.sample_rate} Hz",
            "convert it first; `stemd separate` and the daemon do that by themselves",
        )
    return fit_channels(reader, model.channels, name)


def fit_channels(source: Source, channels: int, name: str) -> Source:
    """Return source with that many channels. Errors: StemdError "wrong-channels"."""
    if source.channels == channels:
        return source
    if _fits(source.channels, channels):
        return Remixed(source, channels)
    raise StemdError(
        "wrong-channels",
        f"{name} has {source.channels} channels, the model works on {channels}",
        "mix it down first; `stemd separate` and the daemon do that by themselves",
    )


@dataclass(frozen=True, slots=True)
class Level:
    """What the network's input is normalised by, linear: (mix - mean) / scale, as demucs.api does.

    mean: of the mono average over the whole recording. scale: its standard deviation (n - 1) plus 1e-8.
    """

    mean: float
    scale: float


AS_IT_IS = Level(0.0, 1.0)


def measure(source: Source, rate: int) -> Level:
    """Measure a recording in one pass, in float64, joining blocks by the formulas of Chan, Golub and LeVeque (1979).

    One frame alone has no deviation: 0, where demucs.api gets not-a-number. rate: Hz, for the message.
    Errors: StemdError "invalid-samples" where the recording holds what is no number.
    """
    count, mean, squares = 0, 0.0, 0.0
    for start in range(0, source.frames, _BLOCK):
        mono = source.read(start, min(start + _BLOCK, source.frames)).mean(axis=0, dtype=np.float64)
        own, delta = float(mono.mean()), float(mono.mean()) - mean
        if not math.isfinite(own):
            raise _invalid((start + int(np.isfinite(mono).argmin())) / rate)
        total = count + len(mono)
        squares += float(np.square(mono - own).sum()) + delta * delta * count * len(mono) / total
        mean += delta * len(mono) / total
        count = total
    deviation = math.sqrt(squares / (count - 1)) if count > 1 else 0.0
    return Level(mean, deviation + 1e-8)


def _invalid(second: float) -> StemdError:
    return StemdError(
        "invalid-samples",
        f"the recording holds samples that are no numbers, the first at {second:.3f} s",
        "export it again; the daemon and `stemd separate` put silence in the place of such samples",
    )


def window(source: Source, start: int, length: int) -> Block:
    """Return length frames from start on, zeros where the recording does not reach."""
    first, last = max(0, start), min(source.frames, start + length)
    block = np.zeros((source.channels, length), dtype=np.float32)
    if last > first:
        block[:, first - start : last - start] = source.read(first, last)
    return block
