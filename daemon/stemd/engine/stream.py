"""Where segments lie and how their outputs become one signal: Demucs's overlap-add, as a stream.

demucs.apply.apply_model, which this equals: L = int(segment * rate) frames a segment, stride = int((1 - overlap) * L);
each segment is padded to the network's length with real context on both sides, as far as the recording reaches, and
zeros beyond; outputs are added with a triangular weight and divided by the sum of the weights. With shifts, lane j
starts int(rate / 2) - offset[j] frames before the recording, and the lanes are averaged.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Lane:
    """One run of one member over the recording. index: among all lanes. start: first frame, zero or negative.

    segment, stride: frames. window: length of a segment -> frames that the network takes.
    """

    index: int
    member: int
    start: int
    segment: int
    stride: int
    window: Callable[[int], int]

    def chunks(self, frames: int) -> Iterator[Chunk]:
        """Yield the lane's segments in order over a recording of that many frames, without those that lie before it."""
        for start in range(self.start, frames, self.stride):
            length = min(self.segment, frames - start)
            if start + length > 0:
                window = self.window(length)
                yield Chunk(self, start, length, start - (window - length) // 2, window)


@dataclass(frozen=True, slots=True)
class Chunk:
    """One segment: length frames from start on, computed on window frames from window_start on, in the recording."""

    lane: Lane
    start: int
    length: int
    window_start: int
    window: int

    @property
    def trim(self) -> slice:
        """The segment's own part of the network's output."""
        left = self.start - self.window_start
        return slice(left, left + self.length)


def stride_of(segment: int, overlap: float) -> int:
    """Return the distance of segments in frames. overlap: share of a segment, 0 <= overlap < 1."""
    return max(1, int((1 - overlap) * segment))


def draw_offsets(seed: int, lanes: Sequence[tuple[int, int, int]], frames: int, shifts: int) -> list[list[int]]:
    """Draw every member's shift offsets: those that `random.seed(seed)` followed by stock Demucs gives.

    lanes: for each member of the bag, needed or not: (rate, stride, draws), where draws is how many values its
    network takes from Python's random generator in one forward pass (demucs.transformer draws one for its embedding).
    Returns `shifts` offsets a member, each 0..int(rate / 2) frames.
    """
    source = random.Random(seed)  # noqa: S311 - reproducible on purpose
    offsets = []
    for rate, stride, draws in lanes:
        furthest, own = int(0.5 * rate), []
        for _ in range(shifts):
            own.append(source.randint(0, furthest))
            for _ in range(draws * len(range(own[-1] - furthest, frames, stride))):
                source.randrange(1)
        offsets.append(own)
    return offsets


def triangle(length: int, device: torch.device) -> Tensor:
    """Return the weight of a segment's frames: (length,) float32, rising to 1 in the middle (demucs.apply)."""
    rise = torch.arange(1, length // 2 + 1, device=device)
    fall = torch.arange(length - length // 2, 0, -1, device=device)
    weight = torch.cat([rise, fall])
    return weight / weight.max()


class OverlapAdd:
    """Sums one lane's segments and hands out what no later segment can change.

    Holds the frames from the first not handed out to the last written: about one segment, whatever the length.
    """

    def __init__(self, stems: int, channels: int, segment: int, device: torch.device) -> None:
        self._weight = triangle(segment, device)
        self._sum = torch.zeros(stems, channels, segment, device=device)
        self._total = torch.zeros(segment, device=device)
        self._base = 0  # the recording's frame at position 0 of both buffers
        self._end = 0  # behind the last frame written

    def add(self, chunk: Chunk, output: Tensor | None) -> None:
        """Add a segment's output: (stems, channels, chunk.length), or None for silence."""
        skip = max(0, -chunk.start)
        weight = self._weight[skip : chunk.length]
        at = chunk.start + skip - self._base
        self._reserve(at + len(weight))
        if output is not None:
            self._sum[..., at : at + len(weight)] += weight * output[..., skip:]
        self._total[at : at + len(weight)] += weight
        self._end = max(self._end, self._base + at + len(weight))

    def take(self, stop: int) -> Tensor:
        """Return the frames from the last stop to this one: (stems, channels, n) float32, and forget them."""
        count, left = stop - self._base, self._end - stop
        done = self._sum[..., :count] / self._total[:count]
        for buffer in (self._sum, self._total):
            if left > 0:
                buffer[..., :left] = buffer[..., count : count + left].clone()
            buffer[..., max(left, 0) : count + max(left, 0)] = 0
        self._base = stop
        return done

    def _reserve(self, frames: int) -> None:
        missing = frames - self._total.shape[-1]
        if missing > 0:
            self._sum = torch.nn.functional.pad(self._sum, (0, missing))
            self._total = torch.nn.functional.pad(self._total, (0, missing))
