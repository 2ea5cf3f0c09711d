"""From block fits to the bleed figures: level, score, curve, reverse leak. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from stemd.quality import decibel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stemd.quality.bleed import Fits

NOTHING: Final = -100.0
"""dB; the score where there is no vocal."""
UNHEARD: Final = -80.0
"""dB; level and score where there is a vocal, and nothing of it was found."""
REVERSE: Final = 1.0
"""Gain from which on a fit says that the vocal stem holds the band there, not the band's stem the vocal."""
UNCLEAR: Final = 0.8
"""Gain (-2 dB) from which on it may be either: other bands at the same time decide."""
NEIGHBOURS: Final = 9
"""Windows (4.5 s): a block's leak counts up to twice (3 dB over) the median around it. A leak lasts; a chord that lies
on the singer's note by chance does not."""
SOUNDS: Final = 0.01
"""Power relative to a band's mean (-20 dB) from which on the vocal sounds in a block."""
CHANCE: Final = np.array(
    [0.0100, 0.0258, 0.0337, 0.0147, 0.0073, 0.0044, 0.0020, 0.0007, 0.0005, 0.0006, 0.0005, 0.0003]
)
"""Evidence that clean stems show in each band, low to high: few bins, and instruments on the singer's notes. Means over
the calibration half of the songs of scripts/bench-quality."""
LEAST_CHANCE: Final = 0.003
LEAST_SHARE: Final = 1e-5
"""Of the vocal's power; a band with less holds noise or a codec's leftovers, and is not asked."""
MILDLY: Final = 0.3
POSSIBLE: Final = 0.01
"""Evidence in a window under which nothing of it counts as leaked."""
HEARD: Final = 0.02
"""Evidence in a window from which on the vocal is there: clean songs reach it in 2 of 100 windows."""
DOUBT: Final = (0.008, -30.0, 30.0)
"""Evidence over 20 s at the border of chance, the level that sound with so little may have at most (dB), and by how
many dB a tenfold evidence raises it. See scripts/bench-quality."""
SPAN: Final = 40
"""Windows (20 s, as the songs of scripts/bench-quality) whose evidence allows a stretch its level: that of a whole
song would hide 20 s of leak in 4 minutes."""
STRETCH: Final = 6
"""Windows (3 s): the leak's loudest stretch of this length decides where the leak is louder there than on the whole."""
SURE: Final = 0.3
"""Evidence from which on a single block alone is believed."""
PAUSE: Final = 10**-2.5
"""Power relative to the vocal's mean (-25 dB) under which a window of the vocal stem is a pause."""
SILENT_DB: Final = -70.0
FEWEST: Final = 8
"""Windows; fewer correlate by accident."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the fits say. level, score: dB relative to the vocal, None without one. evidence: 0 to 1.

    curve: each window's leak relative to the vocal's mean, dB; FLOOR in pauses and where nothing is heard.
    """

    level: float | None
    score: float | None
    evidence: float | None
    curve: NDArray[np.float64]


def estimate(fits: Fits) -> Estimate:
    """Tell level, score and curve.

    level: the leaked power over everything against the vocal's, at most what the song-wide evidence allows. score: the
    same, or that of the loudest STRETCH against the vocal there (or its mean, if that is louder) where the leak comes
    in parts, at most what the evidence of the SPAN around it allows.
    """
    sure = evidence(fits)
    if sure is None:
        return Estimate(None, None, None, np.full(len(fits.voice), decibel.FLOOR))
    leak = (steady(fits) * fits.voice).sum(axis=1)
    voice = fits.voice.sum(axis=1, dtype=np.float64)
    singing = voice > PAUSE * voice.mean()
    mean = float(voice[singing].mean())
    heard = window_evidence(fits)
    possible = leak * (heard > POSSIBLE)
    level = max(UNHEARD, min(_allowed(sure), decibel.of_power(float(possible.sum()), float(voice.sum()))))
    surely = leak * (heard > HEARD)
    score = max(level, *(_in_parts(fits, part, surely, voice, mean) for part in _spans(len(voice))))
    curve = np.where(singing & (heard > HEARD), decibel.curve(leak / mean), decibel.FLOOR)
    return Estimate(level, score, sure, curve)


def with_heavy(found: Estimate, lift: float | None, windows: NDArray[np.float64]) -> Estimate:
    """Raise level, score and curve where the leak is heavier than fits can tell; lift, windows: of `lift.LiftMeter`."""
    if lift is None or found.level is None or found.score is None:
        return found
    curve = np.where(found.curve > decibel.FLOOR, np.maximum(found.curve, windows), windows)
    return replace(found, level=max(found.level, lift), score=max(found.score, lift), curve=curve)


def leaks(fits: Fits) -> NDArray[np.bool_]:
    """Tell in which blocks the fit is a leak of the vocal, and not the band in the vocal stem.

    Where the gain is UNCLEAR, the window decides: whether the evidence of its reverse bands outweighs all the others'.
    """
    weight = fits.evidence / (CHANCE + LEAST_CHANCE)
    reverse = fits.gain >= REVERSE
    mostly = (weight * reverse).sum(axis=1) > (weight * ~reverse).sum(axis=1)
    return np.asarray(~reverse & ~((fits.gain >= UNCLEAR) & mostly[:, None]))


def steady(fits: Fits) -> NDArray[np.float64]:
    """Square of each gain, at most twice the median of the NEIGHBOURS where the vocal sounds in the band."""
    gain = np.where(leaks(fits), fits.gain.astype(np.float64) ** 2, 0.0)
    sounds = fits.voice > SOUNDS * fits.voice.mean(axis=0)
    half = NEIGHBOURS // 2
    padded = np.pad(np.where(sounds, gain, np.nan), ((half, half), (0, 0)), constant_values=np.nan)
    around = np.sort(np.lib.stride_tricks.sliding_window_view(padded, NEIGHBOURS, axis=0), axis=-1)
    count = np.count_nonzero(~np.isnan(around), axis=-1)
    low = np.take_along_axis(around, np.maximum(0, (count - 1) // 2)[..., None], -1)[..., 0]
    high = np.take_along_axis(around, (count // 2)[..., None].clip(max=NEIGHBOURS - 1), -1)[..., 0]
    median = np.where(count > 0, (np.nan_to_num(low) + np.nan_to_num(high)) / 2, 0.0)
    return np.minimum(gain, 2.0 * median)


def evidence(fits: Fits) -> float | None:
    """Song-wide evidence of a leak, 0 to 1; None without vocal.

    In each band the blocks' mean, weighted by the vocal's amplitude; over the bands, that mean by `_asked`.
    """
    weight = np.sqrt(fits.voice.astype(np.float64))
    amount = weight.sum(axis=0)
    if not amount.sum() > 0:
        return None
    found = (weight * fits.evidence * leaks(fits)).sum(axis=0) / np.maximum(amount, 1e-30)
    asked = _asked(fits, amount)
    return float((asked * found).sum() / asked.sum())


def window_evidence(fits: Fits) -> NDArray[np.float64]:
    """Evidence of a leak in each window, 0 to 1, over bands that are about as loud as they mostly are."""
    weight = np.sqrt(fits.voice.astype(np.float64))
    amount = weight.sum(axis=0)
    usual = weight / np.maximum(weight.mean(axis=0), 1e-30)
    asked = _asked(fits, amount) * usual
    total = asked.sum(axis=1)
    found = (asked * fits.evidence * leaks(fits)).sum(axis=1)
    return np.asarray(found / np.maximum(total, max(0.15 * total.mean(), 1e-30)))


def _asked(fits: Fits, amount: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights of the bands: how much more a leak says there than chance does, and mildly the vocal's amplitude."""
    share = fits.voice.sum(axis=0, dtype=np.float64)
    present = share > LEAST_SHARE * share.sum()
    return np.asarray(present * (amount / amount.sum()) ** MILDLY / (CHANCE + LEAST_CHANCE))


def _allowed(found: float) -> float:
    """The level, dB, that so much evidence allows."""
    return DOUBT[1] + DOUBT[2] * float(np.log10(max(found, 1e-6) / DOUBT[0]))


def _spans(windows: int) -> list[slice]:
    """SPANs that overlap by half, the last one up to the end; all at once where there are no more windows."""
    last = max(0, windows - SPAN)
    return [slice(start, start + SPAN) for start in [*range(0, last, SPAN // 2), last]]


def _in_parts(fits: Fits, span: slice, leak: NDArray[np.float64], voice: NDArray[np.float64], mean: float) -> float:
    """The level of the loudest STRETCH of a span, dB, as far as the evidence in the span allows it."""
    sure = evidence(fits.part(span))
    return decibel.FLOOR if sure is None else min(_allowed(sure), _loudest_stretch(leak[span], voice[span], mean))


def _loudest_stretch(leak: NDArray[np.float64], voice: NDArray[np.float64], mean: float) -> float:
    """The leak's level over the STRETCH where it is highest, dB; FLOOR for songs that are shorter."""
    if len(leak) < STRETCH:
        return decibel.FLOOR
    ones = np.ones(STRETCH) / STRETCH
    against = np.maximum(np.convolve(voice, ones, "valid"), mean)
    return float(decibel.curve(np.convolve(leak, ones, "valid") / against).max())


def reverse_share(fits: Fits) -> float | None:
    """Share of the vocal stem, by amplitude, that is surely the other stem turned down; None for a silent one.

    Songs with a singer reach 0.5 at most, stems without any voice of their own pass it.
    """
    weight = np.sqrt(fits.voice.astype(np.float64))
    total = float(weight.sum())
    sure = (fits.gain >= REVERSE) & (fits.evidence > SURE)
    return float((weight * sure).sum()) / total if total > 0 else None


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


def coherence(fits: Fits) -> float | None:
    """Mean coherence of the blocks, weighted by the vocal's power, 0 to 1; None without vocal. It decides nothing.

    Loud bins of the band decide about a least-squares projection, so that faint leaks do not show; see `bleed`.
    """
    total = float(fits.voice.sum(dtype=np.float64))
    return float((fits.voice * fits.coherence).sum(dtype=np.float64)) / total if total > 0 else None


def reverse(fits: Fits, voice: NDArray[np.float64], other: NDArray[np.float64]) -> float | None:
    """Power of the vocal stem in its pauses relative to the other stem's there, dB; None where there is no pause.

    voice, other: mean power of each window. A pause is a window where the other stem sounds and either the vocal stem
    is under PAUSE, or most of what it holds (by amplitude) is explained as the other stem, turned down.
    """
    count = min(len(voice), len(other), len(fits.voice))
    if not count or voice.max() <= 0:
        return None
    voice, other, weight = voice[:count], other[:count], np.sqrt(fits.voice[:count])
    theirs = (weight * ((fits.gain[:count] > 1.0) & (fits.evidence[:count] > SURE))).sum(axis=1)
    quiet = (voice < voice.mean() * PAUSE) | (theirs > 0.5 * weight.sum(axis=1))
    pause = quiet & (other > other.mean() * 1e-2)
    if not pause.any():
        return None
    return decibel.of_power(float(voice[pause].sum()), float(other[pause].sum()))
