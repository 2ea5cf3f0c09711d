"""Clicks where two segments of a separation meet, in one stem, from a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from stemd.quality import decibel

if TYPE_CHECKING:
    from stemd.quality.recording import Block

AROUND_SECONDS: Final = 0.01
CLOSE: Final = 2
"""Samples on either side of the border that belong to it."""
MOST: Final = 1000
"""Borders kept."""
AUDIBLE: Final = 1e-3
"""Linear; a smaller step is no click, whatever lies around it."""


class SeamMeter:
    """Looks at the borders of segments: starts and ends on the grid of `stride = int((1 - overlap) * length)`.

    The figure of a border is the largest second difference within CLOSE samples of it over the RMS of the second
    differences in the 10 ms on either side, dB: a step in smooth sound stands out by tens of dB, music by 10 to 15,
    rarely by more than 25.
    A limit: shifts (random offsets) move the borders off this grid, where nobody knows them, and average them out.
    """

    def __init__(self, rate: int, channels: int, segment: float, overlap: float) -> None:
        self._rate = rate
        self._length = max(1, int(segment * rate))
        self._stride = max(1, int((1.0 - overlap) * self._length))
        self._around = max(8, int(AROUND_SECONDS * rate))
        self._held: Block = np.zeros((0, channels), dtype=np.float32)
        self._start = 0
        self._next = self._stride
        self.worst = decibel.FLOOR
        self.found: list[tuple[float, float]] = []

    def feed(self, block: Block, limit: float | None) -> None:
        """Take the next (frames, channels); borders over `limit` dB are kept in `found` as (seconds, dB)."""
        self._held = np.concatenate([self._held, block])
        end = self._start + len(self._held)
        while self._next + self._around <= end:
            self._look(self._next, limit)
            self._next = self._after(self._next)
        keep = min(len(self._held), 2 * self._around + max(0, end - self._next))
        self._start, self._held = end - keep, self._held[len(self._held) - keep :]

    def _after(self, border: int) -> int:
        """The next start (k stride) or end (k stride + length) of a segment."""
        start = (border // self._stride + 1) * self._stride
        past = border - self._length
        ending = ((past // self._stride + 1) if past >= 0 else 0) * self._stride + self._length
        return min(start, ending)

    def _look(self, border: int, limit: float | None) -> None:
        place = border - self._start
        part = self._held[max(0, place - self._around) : place + self._around].astype(np.float64)
        bend = np.abs(np.diff(part, 2, axis=0)).max(axis=1, initial=0.0)
        middle = min(place, self._around) - 1  # bend[i] is centred on sample i + 1
        near = slice(max(0, middle - CLOSE), middle + CLOSE)
        peak = float(bend[near].max(initial=0.0))
        rest = np.delete(bend, near)
        if peak < AUDIBLE or not len(rest):
            return
        figure = decibel.of_power(peak**2, float(np.mean(rest**2)) + 1e-12)
        self.worst = max(self.worst, figure)
        if limit is not None and figure > limit and len(self.found) < MOST:
            self.found.append((border / self._rate, figure))
