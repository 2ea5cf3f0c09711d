"""True peak: the highest value between samples, by four-times oversampling (ITU-R BS.1770-4, annex 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
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
_PART: Final = 1024


class TruePeak:
    """The largest absolute value of a stream and of its oversampled form. Exact: parts that cannot matter are skipped."""

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
        """Filter the parts loud enough to raise the peak, loudest first."""
        self.value = max(self.value, self.sample)
        starts = np.arange(0, len(joined) - (_TAPS - 1), _PART)
        peaks = np.maximum.reduceat(np.abs(joined).max(axis=1), starts) if len(starts) else np.zeros(0)
        reach = np.maximum(peaks, np.append(peaks[1:], np.abs(joined[-(_TAPS - 1) :]).max(initial=0.0)))
        for place in np.argsort(reach)[::-1].tolist():
            if reach[place] * _GAIN <= self.value:
                break
            part = joined[starts[place] : starts[place] + _PART + _TAPS - 1]
            frames = np.lib.stride_tricks.sliding_window_view(part, _TAPS, axis=0)
            self.value = max(self.value, float(np.abs(frames @ _PHASES[:, ::-1].T).max(initial=0.0)))
