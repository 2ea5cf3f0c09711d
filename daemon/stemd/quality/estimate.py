"""From block fits to the bleed figures: level, score, curve, reverse leak. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from stemd.quality import decibel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stemd.quality.bleed import Fits

NOTHING: Final = -100.0
"""dB; the score where there is no vocal, or nothing of it."""
LEAKS: Final = 0.7
"""Gain (-3 dB) from which on a fit says that the vocal stem holds the band there, not the band's stem the vocal."""
EVIDENT: Final = (0.05, 0.10)
"""Evidence from where on a block's leak counts, and from where on it counts in full."""
CHANCE: Final = np.array(
    [0.0101, 0.027, 0.0332, 0.0136, 0.0067, 0.0043, 0.0019, 0.0009, 0.0007, 0.0006, 0.0005, 0.0004]
)
"""Evidence that clean stems show in each band, low to high: few bins, and instruments on the singer's notes. Means over
the calibration half of the songs of scripts/bench-quality."""
LEAST_CHANCE: Final = 0.003
LEAST_SHARE: Final = 1e-5
"""Of the vocal's power; a band with less holds noise or a codec's leftovers, and is not asked."""
DOUBT: Final = (0.008, -30.0, 45.0)
"""Song-wide evidence at the border of chance, the level that a song with so little may have at most (dB), and by how
many dB a tenfold evidence raises it. See scripts/bench-quality."""
SILENT_DB: Final = -70.0
FEWEST: Final = 8
"""Windows; fewer correlate by accident."""


def power(fits: Fits) -> NDArray[np.float64]:
    """Leaked power of each block in the units of `fits.voice`, (windows, bands)."""
    counts = np.clip((fits.evidence - EVIDENT[0]) / (EVIDENT[1] - EVIDENT[0]), 0.0, 1.0) * (fits.gain < LEAKS)
    return np.asarray(fits.gain.astype(np.float64) ** 2 * fits.voice * counts)


def evidence(fits: Fits) -> float | None:
    """Song-wide evidence of a leak, 0 to 1; None without vocal.

    In each band the blocks' mean, weighted by the vocal's amplitude; over the bands the mean weighted by how much more
    a leak says there than chance does, and mildly by the vocal.
    """
    weight = np.sqrt(fits.voice.astype(np.float64))
    amount = weight.sum(axis=0)
    if not amount.sum() > 0:
        return None
    found = (weight * fits.evidence * (fits.gain < LEAKS)).sum(axis=0) / np.maximum(amount, 1e-30)
    share = fits.voice.sum(axis=0, dtype=np.float64)
    asked = (share > LEAST_SHARE * share.sum()) * (amount / amount.sum()) ** 0.3 / (CHANCE + LEAST_CHANCE)
    return float((asked * found).sum() / asked.sum())


def level(fits: Fits) -> float | None:
    """Leaked power over everything relative to the vocal's, dB, at most what the evidence allows; None without vocal."""
    sure = evidence(fits)
    if sure is None:
        return None
    found = decibel.of_power(float(power(fits).sum()), float(fits.voice.sum(dtype=np.float64)))
    border, most, slope = DOUBT
    return min(found, most + slope * float(np.log10(max(sure, 1e-6) / border)))


def windowed(fits: Fits) -> NDArray[np.float64]:
    """Leaked power of each window relative to the vocal's mean power over the windows where it sounds, dB.

    FLOOR where the vocal is silent, 25 dB under its mean.
    """
    leak, voice = power(fits).sum(axis=1), fits.voice.sum(axis=1, dtype=np.float64)
    sounding = voice > 10**-2.5 * voice.mean() if len(voice) else np.zeros(0, dtype=bool)
    if not sounding.any():
        return np.full(len(voice), decibel.FLOOR)
    return np.where(sounding, decibel.curve(leak / voice[sounding].mean()), decibel.FLOOR)


def envelope_correlation(voice: NDArray[np.float64], other: NDArray[np.float64]) -> float | None:
    """Pearson correlation of two RMS curves in dB, over windows where both sound; None under FEWEST such windows.

    Near chance for leaks under -20 dB, since singers and bands get loud together: it decides nothing.
    """
    both = (voice > SILENT_DB) & (other > SILENT_DB)
    if np.count_nonzero(both) < FEWEST:
        return None
    a, b = voice[both] - voice[both].mean(), other[both] - other[both].mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum() / scale) if scale > 0 else None


def reverse(fits: Fits, voice: NDArray[np.float64], other: NDArray[np.float64]) -> float | None:
    """Power of the vocal stem in its pauses relative to the other stem's there, dB; None where there is no pause.

    voice, other: mean power of each window. A pause is a window where the other stem sounds and either the vocal stem
    is 25 dB under its mean, or most of what it holds (by amplitude) is explained as the other stem, turned down.
    """
    count = min(len(voice), len(other), len(fits.voice))
    if not count or voice.max() <= 0:
        return None
    voice, other, weight = voice[:count], other[:count], np.sqrt(fits.voice[:count])
    theirs = (weight * ((fits.gain[:count] > 1.0) & (fits.evidence[:count] > 0.3))).sum(axis=1)
    quiet = (voice < voice.mean() * 10**-2.5) | (theirs > 0.5 * weight.sum(axis=1))
    pause = quiet & (other > other.mean() * 1e-2)
    if not pause.any():
        return None
    return decibel.of_power(float(voice[pause].sum()), float(other[pause].sum()))
