"""Level and faults of one stem, from a stream: RMS, peaks, clipping, DC, silence, numbers that are none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from stemd.model.sound import LOUDEST
from stemd.quality import decibel
from stemd.quality.ranges import Ranges, runs
from stemd.quality.report import Levels
from stemd.quality.truepeak import TruePeak
from stemd.quality.windows import Windows, power

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stemd.quality.recording import Block

FULL_SCALE: Final = 0.9995
"""Linear. 16-bit full scale is 0.99997; a stem rescaled to just under 1 counts too."""
FLAT: Final = 1e-4
"""Two neighbours closer than this, both at full scale, are a flat top."""
CLIPPED_RUN: Final = 3
"""Samples of a flat top that count as clipping; one or two at full scale are an ordinary peak."""
SILENT_DB: Final = -70.0
"""dBFS RMS; below it a window is silence (16-bit noise floor with dither is about -93, tape about -65)."""
SILENT_SECONDS: Final = 1.0
OUTLINE: Final = 1200
"""Points of the waveform picture."""


def sound(block: Block) -> NDArray[np.bool_]:
    """Tell which samples are sound: finite, and at most LOUDEST."""
    return np.abs(block) <= np.float32(LOUDEST)


def _magnitude(block: Block) -> NDArray[np.float32]:
    """The loudest channel of each frame. Column by column: numpy is slow along an axis of two."""
    found: NDArray[np.float32] = np.zeros(len(block), dtype=np.float32)
    for channel in range(block.shape[1]):
        np.maximum(found, np.abs(block[:, channel]), out=found)
    return found


class LevelMeter:
    """Takes a stem block by block and tells its `Levels` at the end. Memory: two figures a second."""

    def __init__(self, name: str, rate: int, channels: int, frames: int) -> None:
        self._name, self.rate, self._channels = name, rate, channels
        self._peak = TruePeak(channels)
        self._flat = FlatTops(rate, channels)
        self._sum = np.zeros(channels)
        self._bad = 0
        self._bad_ranges = Ranges(gap=rate // 10)
        self._over = 0
        self.frames = 0
        self._outline = np.zeros(OUTLINE, dtype=np.float32)
        self._outline_step = max(1, -(-frames // OUTLINE))
        self.windows = Windows(rate)

    def feed(self, block: Block) -> Block:
        """Take the next (frames, channels) float32; returns it with 0 in place of NaN and infinity."""
        block = self._finite(block)
        self._peak.feed(block)
        self._flat.feed(block)
        self._sum += block.sum(axis=0, dtype=np.float64)
        magnitude = _magnitude(block)
        self._over += int(np.count_nonzero(magnitude > 1.0))
        self._draw(magnitude)
        self.windows.feed(power(block))
        self.frames += len(block)
        return block

    def finish(self, source_frames: int | None) -> Levels:
        """Return what was found; `source_frames`: the mix's length at this stem's rate, if known."""
        self._peak.finish()
        mean = self._sum / max(1, self.frames)
        rms = decibel.of_power(self.windows.mean)
        return Levels(
            name=self._name,
            rate=self.rate,
            channels=self._channels,
            frames=self.frames,
            missing_frames=None if source_frames is None else source_frames - self.frames,
            rms_db=rms,
            peak_db=decibel.of_amplitude(self._peak.sample),
            true_peak_db=decibel.of_amplitude(self._peak.value),
            over_full_scale=self._over,
            clipped=self._flat.samples,
            clipping=self._flat.ranges.seconds(self.rate),
            dc=float(mean[np.argmax(np.abs(mean))]) if self._channels else 0.0,
            silent=self.silent,
            silence=self._silence(),
            not_finite=self._bad,
            not_finite_at=self._bad_ranges.seconds(self.rate),
        )

    @property
    def silent(self) -> bool:
        """Whether all of it so far is under SILENT_DB."""
        return decibel.of_power(self.windows.mean) < SILENT_DB

    @property
    def outline(self) -> NDArray[np.float32]:
        """Peak magnitude over OUTLINE equal parts of the declared length."""
        return self._outline

    def _finite(self, block: Block) -> Block:
        good = sound(block)
        if good.all():
            return block
        self._bad += int(good.size - np.count_nonzero(good))
        for start, end in runs(np.asarray(~good.all(axis=1))):
            self._bad_ranges.add(self.frames + start, self.frames + end)
        return np.where(good, block, np.float32(0.0))

    def _draw(self, magnitude: NDArray[np.float32]) -> None:
        if not len(magnitude):
            return
        place = np.minimum((self.frames + np.arange(len(magnitude))) // self._outline_step, OUTLINE - 1)
        starts = np.flatnonzero(np.diff(place, prepend=-1))
        np.maximum.at(self._outline, place[starts], np.maximum.reduceat(magnitude, starts))

    def _silence(self) -> tuple[tuple[float, float], ...]:
        quiet = decibel.curve(self.windows.power) < SILENT_DB
        end = self.frames / self.rate
        found = ((a * self.windows.step, min(b * self.windows.step, end)) for a, b in runs(quiet))
        return tuple((a, b) for a, b in found if b - a >= min(SILENT_SECONDS, end))


class FlatTops:
    """Finds clipping: at least CLIPPED_RUN neighbours at full scale or over it that are flat within FLAT.

    A limit: what was turned down after clipping, or went through a lossy codec, is not flat at full scale any more.
    """

    def __init__(self, rate: int, channels: int) -> None:
        self.samples = 0
        self.ranges = Ranges(gap=rate // 10)
        self._at = 0
        self._tail: Block = np.zeros((CLIPPED_RUN, channels), dtype=np.float32)

    def feed(self, block: Block) -> None:
        """Take the next (frames, channels) float32, finite."""
        joined = np.concatenate([self._tail, block])
        offset = self._at - len(self._tail)
        self._at += len(block)
        self._tail = joined[len(joined) - CLIPPED_RUN :]
        if np.abs(joined).max(initial=0.0) >= FULL_SCALE:
            self._find(joined, offset)

    def _find(self, joined: Block, offset: int) -> None:
        """Count samples that complete a run within this block; a run's first samples count with its third."""
        high = np.abs(joined) >= FULL_SCALE
        flat = high[1:] & high[:-1] & (np.abs(np.diff(joined, axis=0)) <= FLAT)
        third = flat[1:] & flat[:-1]  # third[i]: samples i, i+1, i+2 are one flat top
        fresh = third[1:]  # third[0] belongs to the block before
        opened = fresh & ~third[:-1]
        self.samples += int(np.count_nonzero(fresh)) + (CLIPPED_RUN - 1) * int(np.count_nonzero(opened))
        for start, end in runs(np.asarray(fresh.any(axis=1))):
            first = max(0, offset + 1 + start)
            self.ranges.add(first, offset + 1 + end + CLIPPED_RUN - 1)
