"""How late a leak is against the vocal stem: an echo, a codec's delay, a stem that was moved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from stemd.quality.spectra import size

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stemd.quality.spectra import Spectrum

MOST_SECONDS: Final = 0.05
CLEAR: Final = 12.0
"""How far the peak must stand out of the rest of the correlation (times its RMS) to be believed."""
OWN: Final = 0.5
"""Only bins where the other stem has less than this much of the vocal's amplitude count: the others hold the band, and
where the band leaked into the vocal stem they would tell of that."""
AHEAD: Final = 1.5
"""And by how much it must pass the correlation at no lag at all."""


class LagMeter:
    """Adds up the phase between two stems over everything, loud bins of the vocal first.

    The inverse transform of that sum is the generalised cross-correlation with phase transform (Knapp and Carter, IEEE
    Trans. ASSP 24, 1976), weighted by the root of the vocal's amplitude: its peak is the leak's lag.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._size = size(rate)
        self._sum = np.zeros(self._size // 2 + 1, dtype=np.complex128)

    def feed(self, vocal: Spectrum, other: Spectrum) -> None:
        """Take a batch of windows of both spectra."""
        cross = other * vocal.conj()
        loud = np.abs(vocal)
        weight = (np.abs(other) < OWN * loud) * np.sqrt(loud) / (np.abs(cross) + np.float32(1e-18))
        self._sum += (cross * weight).sum(axis=(0, 1, 2), dtype=np.complex128)

    @property
    def samples(self) -> int:
        """Lag in samples, positive: the leak comes later; 0 where none is clear."""
        near, rest = self._correlation()
        none = len(near) // 2
        place = int(np.argmax(near))
        clear = near[place] > 0 and near[place] >= CLEAR * rest and near[place] >= AHEAD * near[none]
        return place - none if clear else 0

    @property
    def clarity(self) -> float:
        """How far the correlation's peak stands out of its RMS: a leak has one phase, an instrument has its own."""
        near, rest = self._correlation()
        return float(near.max() / rest) if rest > 0 else 0.0

    def _correlation(self) -> tuple[NDArray[np.float64], float]:
        """The correlation from the largest lag before to the largest after, and the RMS of all of it."""
        whole = np.abs(np.fft.irfft(self._sum, self._size))
        most = min(self._size // 2 - 1, int(MOST_SECONDS * self._rate))
        return np.concatenate([whole[-most:], whole[: most + 1]]), float(np.sqrt(np.mean(whole**2)))
