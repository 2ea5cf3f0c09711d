"""Bleed too heavy for the fits of `bleed`: how loud another stem is where the vocal dominates, and whether in phase.

A vocal that leaked at -6 dB is nearly as loud in the accompaniment as in its own stem, and both hold some of all there
is: no bin is the vocal alone, and the fits tell too little, or the reverse. Then the bins that the vocal dominates say
it. A leak has the vocal's phase there; a band has its own, and so has an instrument on the singer's notes: the mean
cosine between both stems is within 0.15 of none for clean stems, and 0.6 to 0.85 for those of a weak network. Lift, the
other stem's power over the vocal's in these bins, less what is out of phase, is the leak's level.

Limits: below HEAVY the band's share of these bins weighs as much as the leak's, and short leaks do not reach LEAST;
both are for the fits. Where the vocal stem dominates next to nothing, nobody sings, or the separation missed who does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from stemd.quality import decibel
from stemd.quality.bleed import EDGES_HZ
from stemd.quality.spectra import size

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stemd.quality.spectra import Spectrum

LEAST: Final = 0.4
"""Mean cosine from which on it is a leak."""
HEAVY: Final = -15.0
"""dB; the faintest leak that is told."""
LEAST_SHARE: Final = 0.1
"""Of the vocal stem's power that has to lie in the bins that it dominates; less where nobody sings."""


class LiftMeter:
    """Adds up both stems' power and product in the bins that the vocal dominates; keeps two figures a window.

    Bins where both are equal belong to them: two halves of one mix hold no others.
    """

    def __init__(self, rate: int) -> None:
        self._bins = slice(*(round(hertz * size(rate) / rate) for hertz in (EDGES_HZ[0], EDGES_HZ[-1])))
        self._all = self._together = self._most = 0.0
        self._voice: list[NDArray[np.float32]] = []
        self._other: list[NDArray[np.float32]] = []

    def feed(self, vocal: Spectrum, other: Spectrum) -> None:
        """Take a batch of windows of both spectra."""
        a, v = (each[..., self._bins].reshape(len(each), -1) for each in (other, vocal))
        theirs, ours = (each.real**2 + each.imag**2 for each in (a, v))
        louder = ours >= theirs
        self._all += float(ours.sum(dtype=np.float64))
        self._together += float(((a.real * v.real + a.imag * v.imag) * louder).sum(dtype=np.float64))
        self._most += float((np.sqrt(theirs * ours) * louder).sum(dtype=np.float64))
        self._voice.append((ours * louder).sum(axis=1))
        self._other.append((theirs * louder).sum(axis=1))

    @property
    def agreement(self) -> float:
        """Mean cosine of the phase between both stems in these bins, -1 to 1, the loud ones first."""
        return self._together / self._most if self._most > 0 else 0.0

    @property
    def db(self) -> float | None:
        """The leak's level relative to the vocal; None where there is none to be told."""
        voice, other = self._sums
        if self.agreement < LEAST or float(voice.sum()) <= LEAST_SHARE * self._all:
            return None
        level = decibel.of_power(self.agreement**2 * float(other.sum()), float(voice.sum()))
        return level if level >= HEAVY else None

    @property
    def windows(self) -> NDArray[np.float64]:
        """The same of each window, dB relative to the mean window's vocal."""
        voice, other = self._sums
        return decibel.curve(self.agreement**2 * other, max(float(voice.mean()) if len(voice) else 0.0, 1e-20))

    @property
    def _sums(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        none = [np.zeros(0, dtype=np.float32)]
        voice, other = (np.concatenate(each or none).astype(np.float64) for each in (self._voice, self._other))
        return voice, other
