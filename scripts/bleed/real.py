"""Real separations, labelled from the true stems: whether the score rises where the bleed does."""

import pickle
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from bleed.cases import found, read
from bleed.figures import Figure, level_of, score
from bleed.leaks import Pair, rms
from stemd.quality import decibel
from stemd.quality.bleed import EDGES_HZ
from stemd.quality.estimate import envelope_correlation, estimate
from stemd.quality.spectra import Spectra, size

DRAWS = 400


def figures(songs: Path, separated: Path, cache: Path) -> dict[str, Any]:
    """Rank correlations over all separations with their 90 % intervals, and one row a song."""
    kept = cache / "real.rows"
    rows = pickle.loads(kept.read_bytes()) if kept.exists() else _rows(songs, separated)  # noqa: S301 - our own file
    kept.write_bytes(pickle.dumps(rows))
    true = np.asarray([row["true_db"] for row in rows])
    return {
        "songs": len(rows),
        "rows": rows,
        **{name: correlation(np.asarray([row[name] for row in rows]), true) for name in ("score", "level", "envelope")},
    }


def correlation(found_values: np.ndarray, true: np.ndarray) -> Figure:
    """Spearman's rank correlation and its 90 % bootstrap interval."""
    dice = np.random.default_rng(1)
    drawn = [_spearman(found_values[part], true[part]) for part in dice.integers(len(true), size=(DRAWS, len(true)))]
    return _spearman(found_values, true), float(np.nanquantile(drawn, 0.05)), float(np.nanquantile(drawn, 0.95))


def true_bleed(vocals: np.ndarray, error: np.ndarray, rate: int) -> float:
    """Level of the true vocal in the accompaniment's error, dB relative to the vocal.

    The error is the accompaniment stem less the true accompaniment; what of it is the vocal is its least-squares
    projection on the true vocal, in blocks of half a second by a twelfth of the spectrum on a log scale.
    """
    spectra = Spectra(rate, 2, 2)
    edges = [int(each) for each in np.round(np.minimum(EDGES_HZ, 0.45 * rate) * size(rate) / rate)]
    leaked = total = 0.0
    for voice, rest in [*spectra.feed([vocals, error]), *spectra.finish()]:
        for low, high in pairwise(edges):
            v, e = (each[..., low:high].reshape(len(each), -1) for each in (voice, rest))
            power = (np.abs(v) ** 2).sum(axis=1)
            leaked += float((np.abs((e * v.conj()).sum(axis=1)) ** 2 / np.maximum(power, 1e-12)).sum())
            total += float(power.sum())
    return decibel.of_power(leaked, total)


def _rows(songs: Path, separated: Path) -> list[dict[str, Any]]:
    rows = []
    for folder in sorted(separated.iterdir()):
        seed, rate, vocals, band = read(songs / folder.name, 1000.0)
        if rms(vocals) < 1e-4:
            continue
        stem, rest = (soundfile.read(folder / f"{name}.wav", dtype="float32")[0] for name in ("vocals", "no_vocals"))
        case = found(seed, "real", "", None, Pair(stem, rest, rest - band), rate)
        told = estimate(case.fits)
        curves = (decibel.curve(case.voice), decibel.curve(_power(rest, case.voice)))
        rows.append({
            "song": seed, "true_db": true_bleed(vocals, rest - band, rate), "score": score(told),
            "level": level_of(told), "envelope": envelope_correlation(*curves) or 0.0,
        })  # fmt: skip
    return rows


def _power(sound: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Mean power in as many windows as another curve has."""
    parts = np.array_split(np.square(sound, dtype=np.float64).mean(axis=1), len(like))
    return np.asarray([part.mean() for part in parts])


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    ranks = [np.argsort(np.argsort(each)).astype(float) for each in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])
