"""Short-time spectra of several signals in step, from streams, grouped into the windows of `windows`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stemd.quality.windows import FRAMES, hop, length

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stemd.quality.recording import Block

Spectrum: TypeAlias = NDArray[np.complex64]
"""(windows, FRAMES, channels, bins) complex64."""

SIZE_SECONDS: Final = 0.093
"""Of one STFT frame: 4,096 samples at 44,100 Hz, enough to part the partials of a voice from 80 Hz on."""


def size(rate: int) -> int:
    """Return samples of one STFT frame: the power of two nearest to SIZE_SECONDS, at least 16."""
    return int(max(16, 2 ** round(np.log2(SIZE_SECONDS * rate))))


class Spectra:
    """Cuts signals into Hann-windowed frames centred on multiples of the hop and transforms them in batches."""

    def __init__(self, rate: int, channels: int, signals: int, batch: int = 8) -> None:
        self._size, self._hop = size(rate), hop(rate)
        self._batch = length(rate) * batch
        self._window = np.hanning(self._size + 1)[:-1].astype(np.float32)[:, None]
        lead = np.zeros((self._size // 2, channels), dtype=np.float32)
        self._held = [lead.copy() for _ in range(signals)]
        self._frames = 0
        self._length = length(rate)

    def feed(self, blocks: Sequence[Block]) -> Iterator[list[Spectrum]]:
        """Take the next frames of each signal, all (frames, channels); gives whole batches of windows."""
        self._held = [np.concatenate([held, block]) for held, block in zip(self._held, blocks, strict=True)]
        self._frames += len(blocks[0])
        while len(self._held[0]) >= self._batch + self._size:
            yield self._taken(self._batch)

    def finish(self) -> Iterator[list[Spectrum]]:
        """Give the rest, padded with silence to whole windows."""
        rest = len(self._held[0]) - self._size // 2
        while rest > 0:
            amount = min(self._batch, -(-rest // self._length) * self._length)
            short = amount + self._size - len(self._held[0])
            if short > 0:
                self._held = [np.pad(held, ((0, short), (0, 0))) for held in self._held]
            yield self._taken(amount)
            rest -= amount

    def _taken(self, samples: int) -> list[Spectrum]:
        spectra = [self._spectrum(held, samples) for held in self._held]
        self._held = [held[samples:] for held in self._held]
        return spectra

    def _spectrum(self, held: Block, samples: int) -> Spectrum:
        view = np.lib.stride_tricks.sliding_window_view(held[: samples + self._size - 1], self._size, axis=0)
        frames = view[:: self._hop][: samples // self._hop] * self._window[:, 0]
        spectrum = np.fft.rfft(frames, axis=-1).astype(np.complex64, copy=False)
        return spectrum.reshape(-1, FRAMES, *spectrum.shape[1:])
