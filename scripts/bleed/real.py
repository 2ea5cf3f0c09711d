"""Real separations, labelled from the true stems: whether the score rises where the bleed does.

FOLDER/SEED holds vocals.wav, no_vocals.wav and again.wav, the vocals that the network finds in no_vocals.wav: the
second look, at the whole song.
"""

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from bleed.cases import found, heard, read
from bleed.figures import Figure, level_of, score
from bleed.leaks import Pair, Sound, rms
from stemd.quality import decibel
from stemd.quality.bleed import EDGES_HZ
from stemd.quality.estimate import envelope_correlation, estimate
from stemd.quality.spectra import Spectra, size

DRAWS = 400


RANKED = ("score", "level", "second", "both", "envelope")


def figures(songs: Path, separated: Path) -> dict[str, Any]:
    """Rank correlations over all separations with their 90 % intervals, and one row a song."""
    rows = []
    for folder in sorted(each for each in separated.iterdir() if (each / "again.wav").exists()):
        kept = folder / "row.json"
        if not kept.exists():
            kept.write_text(json.dumps(_row(songs / folder.name, folder)))
        rows += [row] if (row := json.loads(kept.read_text())) else []
    true = np.asarray([row["true_db"] for row in rows])
    ranked = {name: correlation(np.asarray([row[name] for row in rows]), true) for name in RANKED}
    return {"songs": len(rows), "rows": rows, **ranked}


def separate(songs: Sequence[Path], folder: Path, model: str, seconds: float) -> None:
    """Separate the first seconds of songs that are not separated yet, and their accompaniment once more."""
    from stemd.engine import Separator  # noqa: PLC0415 - torch only where it is asked for

    separator = Separator(model, device="cpu")
    for song in songs:
        if not (folder / song.name / "again.wav").exists():
            _, rate, vocals, band = read(song, seconds)
            stem = _vocals(separator, vocals + band)
            rest = vocals + band - stem
            made = {"vocals": stem, "no_vocals": rest, "again": _vocals(separator, rest)}
            (folder / song.name).mkdir(parents=True, exist_ok=True)
            for name, sound in made.items():
                soundfile.write(folder / song.name / f"{name}.wav", sound, rate, "FLOAT")


def _vocals(separator: Any, sound: Sound) -> Sound:
    return np.asarray(separator.separate_array(np.ascontiguousarray(sound.T), stems=["vocals"], shifts=0)["vocals"].T)


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


def _row(song: Path, folder: Path) -> dict[str, Any]:
    """One song's true and found bleed, dB; {} for an instrumental."""
    seed, rate, vocals, band = read(song, soundfile.info(folder / "again.wav").duration)
    if rms(vocals) < 1e-4:
        return {}
    names = ("vocals", "no_vocals", "again")
    stem, rest, again = (soundfile.read(folder / f"{name}.wav", dtype="float32")[0] for name in names)
    case = found(seed, "real", "", None, Pair(stem, rest, rest - band), rate)
    first = heard(case)
    second = level_of(estimate(found(seed, "again", "", None, Pair(stem, again, again), rate).fits))
    curves = (decibel.curve(case.voice), decibel.curve(_power(rest, case.voice)))
    return {
        "song": seed, "true_db": true_bleed(vocals, rest - band, rate), "score": score(first), "level": level_of(first),
        "evidence": first.evidence, "clarity": case.clarity, "second": second, "both": max(score(first), second),
        "envelope": envelope_correlation(*curves) or 0.0,
    }  # fmt: skip


def _power(sound: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Mean power in as many windows as another curve has."""
    parts = np.array_split(np.square(sound, dtype=np.float64).mean(axis=1), len(like))
    return np.asarray([part.mean() for part in parts])


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    ranks = [np.argsort(np.argsort(each)).astype(float) for each in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])
