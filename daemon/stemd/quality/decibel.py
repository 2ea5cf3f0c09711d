"""Decibels of powers and amplitudes, with a floor in place of minus infinity."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FLOOR: Final = -200.0
"""dB; stands for nothing at all. In JSON it becomes null."""


def of_power(power: float, reference: float = 1.0) -> float:
    """10 log10(power / reference), FLOOR where either is nothing."""
    if power <= 0.0 or reference <= 0.0 or not math.isfinite(power):
        return FLOOR
    return max(FLOOR, 10.0 * math.log10(power / reference))


def of_amplitude(amplitude: float) -> float:
    """20 log10(amplitude): dBFS where full scale is 1.0."""
    return of_power(amplitude * amplitude)


def curve(power: NDArray[np.float64], reference: float = 1.0) -> NDArray[np.float64]:
    """10 log10 of each power, FLOOR at least."""
    return np.asarray(10.0 * np.log10(np.maximum(power / reference, 10.0 ** (FLOOR / 10.0))), dtype=np.float64)


def or_none(decibels: float | None, digits: int = 2) -> float | None:
    """Round for JSON; None for nothing at all or for no figure."""
    if decibels is None or not math.isfinite(decibels) or decibels <= FLOOR:
        return None
    return round(decibels, digits)
