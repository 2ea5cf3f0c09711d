"""From block statistics to the bleed figure: level, score, curve. Pure."""

from __future__ import annotations

from typing import Final, TYPE_CHECKING

import numpy as np

from stemd.quality import decibel

if TYPE_CHECKING:
    from numpy.typing import NDArray

NOTHING: Final = -100.0
"""dB; the score where there is no vocal, or nothing of it."""


def coherent_power(
    vv: NDArray[np.float64], aa: NDArray[np.float64], va: NDArray[np.complex128], degrees: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Power of the part of A coherent with V, and the coherence, per block; both corrected for chance.

    Unrelated signals have an expected coherence of 1 / N over N independent bins (Carter, Coherence and time delay
    estimation, 1987); frames overlap by three quarters, so that about a third of the bins are independent.
    """
    coherence = np.abs(va) ** 2 / np.maximum(vv * aa, 1e-30)
    chance = np.minimum(0.9, 3.0 / degrees)
    fair = np.clip((coherence - chance) / (1.0 - chance), 0.0, 1.0)
    return fair * aa, fair


def windowed(power: NDArray[np.float64], vv: NDArray[np.float64]) -> NDArray[np.float64]:
    """Leaked power of each window relative to the vocal's mean power over the windows where it sounds, dB.

    power, vv: (windows, bands). FLOOR where the vocal is silent.
    """
    leak, voice = power.sum(axis=1), vv.sum(axis=1)
    sounding = voice > 1e-3 * voice.max(initial=0.0)
    if not sounding.any():
        return np.full(len(voice), decibel.FLOOR)
    return np.where(sounding, decibel.curve(leak / voice[sounding].mean()), decibel.FLOOR)


def overall(power: NDArray[np.float64], vv: NDArray[np.float64]) -> float | None:
    """Leaked power over everything relative to the vocal's, dB; None where there is no vocal."""
    voice = float(vv.sum())
    return decibel.of_power(float(power.sum()), voice) if voice > 0 else None


def envelope_correlation(voice: NDArray[np.float64], other: NDArray[np.float64]) -> float | None:
    """Pearson correlation of two RMS curves in dB, over windows where both sound; None under eight such windows.

    Near chance for leaks under -20 dB, since singers and bands get loud together: it decides nothing.
    """
    both = (voice > -70.0) & (other > -70.0)
    if np.count_nonzero(both) < 8:
        return None
    a, b = voice[both] - voice[both].mean(), other[both] - other[both].mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum() / scale) if scale > 0 else None


def reverse(voice: NDArray[np.float64], other: NDArray[np.float64]) -> float | None:
    """Power of the vocal stem in its pauses relative to the other stem's there, dB; None where there is no pause.

    voice, other: mean power of each window. A pause is a window 25 dB under the vocal's mean while the other sounds.
    """
    if not len(voice) or voice.max() <= 0:
        return None
    pause = (voice < voice.mean() * 10**-2.5) & (other > other.mean() * 1e-2)
    if not pause.any():
        return None
    return decibel.of_power(float(voice[pause].sum()), float(other[pause].sum()))
