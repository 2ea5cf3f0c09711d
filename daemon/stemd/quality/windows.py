"""Mean power over windows of half a second, from a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stemd.quality.recording import Block


FRAMES: Final = 21
"""STFT frames of one window (see `spectra`); 22,050 samples at 44,100 Hz are 21 hops of 1,050."""


def hop(rate: int) -> int:
    """Return samples from one STFT frame to the next, at least 1."""
    return max(1, round(rate / (2 * FRAMES)))


def length(rate: int) -> int:
    """Return samples of one window: half a second, to a multiple of the hop."""
    return FRAMES * hop(rate)


def power(block: Block) -> NDArray[np.float64]:
    """Mean power of each frame over the channels, (frames,). Column by column: numpy is slow along an axis of two."""
    total = np.zeros(len(block), dtype=np.float64)
    for channel in range(block.shape[1]):
        total += np.square(block[:, channel], dtype=np.float64)
    return np.asarray(total / max(1, block.shape[1]))


class Windows:
    """Sums power per window; the last window may be shorter and is averaged over what it holds."""

    def __init__(self, rate: int) -> None:
        self._length = length(rate)
        self.step = self._length / rate
        self._done: list[float] = []
        self._open = 0.0
        self._held = 0
        self._total = 0.0
        self._frames = 0

    def feed(self, power: NDArray[np.floating]) -> None:
        """Take the power of the next frames, (frames,)."""
        at = 0
        while at < len(power):
            part = power[at : at + self._length - self._held]
            amount = float(part.sum(dtype=np.float64))
            self._open += amount
            self._total += amount
            self._held += len(part)
            at += len(part)
            if self._held == self._length:
                self._done.append(self._open / self._length)
                self._open, self._held = 0.0, 0
        self._frames += len(power)

    @property
    def power(self) -> NDArray[np.float64]:
        """Mean power of each window."""
        rest = [self._open / self._held] if self._held else []
        return np.asarray(self._done + rest, dtype=np.float64)

    @property
    def mean(self) -> float:
        """Mean power of everything."""
        return self._total / self._frames if self._frames else 0.0
