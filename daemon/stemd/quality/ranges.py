"""Time ranges that stay few: neighbours merge, and more so when there are too many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

MOST: Final = 512
"""Ranges kept at most; past that, gaps up to twice as long are closed."""


class Ranges:
    """Frames [start, end) in rising order, merged where the gap is at most `gap` frames. Memory is bounded by MOST."""

    def __init__(self, gap: int) -> None:
        self._gap = gap
        self._found: list[tuple[int, int]] = []

    def add(self, start: int, end: int) -> None:
        """Add one range; it may start no earlier than the last one did."""
        if self._found and start - self._found[-1][1] <= self._gap:
            before = self._found[-1]
            self._found[-1] = (before[0], max(before[1], end))
            return
        self._found.append((start, end))
        while len(self._found) > MOST:
            self._widen()

    def seconds(self, rate: int) -> tuple[tuple[float, float], ...]:
        """Return the ranges in seconds."""
        return tuple((start / rate, end / rate) for start, end in self._found)

    def _widen(self) -> None:
        self._gap = max(1, self._gap * 2)
        old, self._found = self._found, []
        for start, end in old:
            self.add(start, end)


def runs(mask: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Give [start, end) of every run of True in a one-dimensional mask."""
    edges = np.flatnonzero(np.diff(mask.astype(np.int8), prepend=0, append=0))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def joined(mask: NDArray[np.bool_], gap: int) -> NDArray[np.bool_]:
    """Close gaps of at most `gap` False between two runs of True."""
    closed = mask.copy()
    before = None
    for start, end in runs(mask):
        if before is not None and start - before <= gap:
            closed[before:start] = True
        before = end
    return closed


def few(mask: NDArray[np.bool_], gap: int, most: int) -> list[tuple[int, int]]:
    """The runs of True, joined over gaps of `gap`, and over longer ones while there are more than `most`."""
    found = list(runs(joined(mask, gap)))
    while len(found) > most:
        gap = max(1, gap * 2)
        found = list(runs(joined(mask, gap)))
    return found
