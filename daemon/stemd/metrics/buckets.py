"""A histogram that is added to, value by value."""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class Buckets:
    """bounds: upper ends, rising; a value above all of them is counted too. total: of all values."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = (*bounds, math.inf)
        self._counts = [0] * len(self._bounds)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, float]]:
        """Give how many values lie at or below each upper end, as Prometheus wants it."""
        told, count = [], 0
        for bound, more in zip(self._bounds, self._counts, strict=True):
            count += more
            told.append(("+Inf" if math.isinf(bound) else f"{bound:g}", float(count)))
        return told
