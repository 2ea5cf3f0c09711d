"""The null test: what is left when the stems are taken from the mix, over the file and over windows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stemd.quality import decibel
from stemd.quality.windows import Windows, power

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stemd.quality.recording import Block


class NullTest:
    """Power of mix minus the sum of the stems, in dB relative to the mix's power."""

    def __init__(self, rate: int) -> None:
        self._rest = Windows(rate)
        self._mix = Windows(rate)

    def feed(self, mix: Block, total: Block) -> None:
        """Take the next frames of the mix and of the stems' sum, (frames, channels) each."""
        rest = mix - total
        self._rest.feed(power(rest))
        self._mix.feed(power(mix))

    @property
    def db(self) -> float | None:
        """Over everything; None where the mix is silent."""
        return decibel.of_power(self._rest.mean, self._mix.mean) if self._mix.mean > 0 else None

    @property
    def windows(self) -> NDArray[np.float64]:
        """Each window's rest relative to the mix of that window or the mix's mean, whichever is louder."""
        reference = np.maximum(self._mix.power, self._mix.mean)
        return decibel.curve(self._rest.power / np.maximum(reference, 1e-20))
