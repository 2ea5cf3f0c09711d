"""Bleed of the vocal into another stem: statistics of the part that is coherent with the vocal, block by block.

A block is half a second by a twelfth of the spectrum on a log scale. Within it only those STFT bins count where the
vocal is above its own median: there a leak is loudest against what else the stem holds. Over these bins
    S_vv = mean |V|^2, S_aa = mean |A|^2, S_va = mean A conj(V);
the least-squares projection of A on V is g = S_va / S_vv, its power |S_va|^2 / S_vv, and the magnitude-squared
coherence is |S_va|^2 / (S_vv S_aa), from 0 to 1 (Bendat and Piersol, Random Data, chapter 6).
"""

from __future__ import annotations

from typing import Final, TYPE_CHECKING

import numpy as np

from stemd.quality.spectra import Spectrum, size

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from collections.abc import Sequence

BANDS: Final = 12
LOW_HZ: Final = 80.0
HIGH_HZ: Final = 16_000.0


class BleedMeter:
    """Collects the block statistics of a vocal against other stems; two rows of BANDS figures a second are kept."""

    def __init__(self, rate: int, others: int) -> None:
        self._edges = _edges(rate)
        self._vv: list[NDArray[np.float32]] = []
        self._aa: list[list[NDArray[np.float32]]] = [[] for _ in range(others)]
        self._va: list[list[NDArray[np.complex64]]] = [[] for _ in range(others)]
        self.degrees = [1.0] * (len(self._edges) - 1)

    def feed(self, vocal: Spectrum, others: Sequence[Spectrum]) -> None:
        """Take a batch of windows of the vocal's spectrum and of each other stem's."""
        power = vocal.real**2 + vocal.imag**2
        cross = [other * vocal.conj() for other in others]
        theirs = [other.real**2 + other.imag**2 for other in others]
        vv = np.zeros((len(vocal), len(self._edges) - 1), dtype=np.float32)
        aa = [np.zeros_like(vv) for _ in others]
        va = [np.zeros(vv.shape, dtype=np.complex64) for _ in others]
        for band, (low, high) in enumerate(zip(self._edges[:-1], self._edges[1:], strict=True)):
            part = power[..., low:high].reshape(len(vocal), -1)
            mask = part > np.median(part, axis=1, keepdims=True)
            count = np.maximum(1, mask.sum(axis=1))
            vv[:, band] = (part * mask).sum(axis=1) / count
            for place in range(len(others)):
                aa[place][:, band] = (theirs[place][..., low:high].reshape(part.shape) * mask).sum(axis=1) / count
                va[place][:, band] = (cross[place][..., low:high].reshape(part.shape) * mask).sum(axis=1) / count
            self.degrees[band] = part.shape[1] / 2
        self._vv.append(vv)
        for place in range(len(others)):
            self._aa[place].append(aa[place])
            self._va[place].append(va[place])

    def blocks(self, place: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.complex128]]:
        """S_vv, S_aa and S_va against the stem at `place`: (windows, bands) each."""
        if not self._vv:
            none = np.zeros((0, len(self._edges) - 1))
            return none, none, none.astype(np.complex128)
        return (
            np.concatenate(self._vv).astype(np.float64),
            np.concatenate(self._aa[place]).astype(np.float64),
            np.concatenate(self._va[place]).astype(np.complex128),
        )


def _edges(rate: int) -> list[int]:
    """First bins of the bands and the last one's end, strictly rising; at least one band."""
    count = size(rate)
    top = min(HIGH_HZ, 0.45 * rate)
    hertz = np.geomspace(min(LOW_HZ, top / 2), top, BANDS + 1)
    bins = np.unique(np.round(hertz * count / rate).astype(int))
    return [int(each) for each in bins] if len(bins) > 1 else [0, count // 2 + 1]
