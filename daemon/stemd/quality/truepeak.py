"""True peak: the highest value between samples, by four-times oversampling (ITU-R BS.1770-4, annex 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stemd.quality.recording import Block

_PHASES: Final = np.array(
    [
        [0.0017089843750, 0.0109863281250, -0.0196533203125, 0.0332031250000, -0.0594482421875, 0.1373291015625,
         0.9721679687500, -0.1022949218750, 0.0476074218750, -0.0266113281250, 0.0148925781250, -0.0083007812500],
        [-0.0291748046875, 0.0292968750000, -0.0517578125000, 0.0891113281250, -0.1665039062500, 0.4650878906250,
         0.7797851562500, -0.2003173828125, 0.1015625000000, -0.0582275390625, 0.0330810546875, -0.0189208984375],
        [-0.0189208984375, 0.0330810546875, -0.0582275390625, 0.1015625000000, -0.2003173828125, 0.7797851562500,
         0.4650878906250, -0.1665039062500, 0.0891113281250, -0.0517578125000, 0.0292968750000, -0.0291748046875],
        [-0.0083007812500, 0.0148925781250, -0.0266113281250, 0.0476074218750, -0.1022949218750, 0.9721679687500,
         0.1373291015625, -0.0594482421875, 0.0332031250000, -0.0196533203125, 0.0109863281250, 0.0017089843750],
    ],
    dtype=np.float32,
)  # fmt: skip
"""The 48-tap filter of BS.1770-4 annex 2, table 1: (phase, tap)."""

_TAPS: Final = _PHASES.shape[1]
_GAIN: Final = float(np.abs(_PHASES).sum(axis=1).max())
"""No output of the filter passes this many times the highest sample it sees."""
_PART: Final = 256
_GROUP: Final = 64
"""Parts filtered at a time: they stay in the processor's cache."""


class TruePeak:
    """The largest absolute value of a stream and of its oversampled form; skips only what cannot matter."""

    def __init__(self, channels: int) -> None:
        self.sample = 0.0
        self.value = 0.0
        self._tail: Block = np.zeros((_TAPS - 1, channels), dtype=np.float32)

    def feed(self, block: Block) -> None:
        """Take the next (frames, channels) float32, finite."""
        joined = np.concatenate([self._tail, block])
        self._tail = joined[len(joined) - (_TAPS - 1) :]
        self.sample = max(self.sample, float(np.abs(block).max(initial=0.0)))
        self._oversample(joined)

    def finish(self) -> None:
        """Let the filter ring out after the last block."""
        self._oversample(np.concatenate([self._tail, np.zeros_like(self._tail)]))
        self.value = max(self.value, self.sample)

    def _oversample(self, joined: Block) -> None:
        """Filter the parts loud enough to raise the peak."""
        self.value = max(self.value, self.sample)
        whole = (len(joined) - (_TAPS - 1)) // _PART
        body = np.abs(joined[_TAPS - 1 : _TAPS - 1 + whole * _PART])
        peaks = body.reshape(whole, _PART * joined.shape[1]).max(axis=1, initial=0.0)
        before = np.concatenate([[np.abs(joined[: _TAPS - 1]).max(initial=0.0)], peaks])
        loud = np.flatnonzero(np.maximum(peaks, before[:-1]) * _GAIN > self.value)
        for group in np.array_split(loud, -(-len(loud) // _GROUP)) if len(loud) else ():
            places = group[:, None] * _PART + np.arange(_PART + _TAPS - 1)
            self.value = max(self.value, _highest(joined[places]))
        rest = joined[whole * _PART :]
        if len(rest) >= _TAPS and np.abs(rest).max() * _GAIN > self.value:
            self.value = max(self.value, _highest(rest[None]))


def _highest(parts: NDArray[np.float32]) -> float:
    """Filter (parts, _PART + _TAPS - 1, channels) by every phase; return the largest magnitude."""
    highest = 0.0
    for phase in _PHASES:
        total = phase[0] * parts[:, _TAPS - 1 :]
        for tap in range(1, _TAPS):
            total += phase[tap] * parts[:, _TAPS - 1 - tap : parts.shape[1] - tap]
        highest = max(highest, float(np.abs(total, out=total).max(initial=0.0)))
    return highest
