"""From cases to figures: thresholds on the songs below FRESH, everything that is told on those from there on."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bleed.cases import HARD, LEVELS, Case, heard
from stemd.quality import decibel, ranges
from stemd.quality.bleed import Fits, joined
from stemd.quality.estimate import NOTHING, Estimate, estimate

FRESH = 31_000
"""The first seed of songs that no rule of the measure and no threshold was chosen on."""
LIMIT = -20.0
"""The rule's default threshold, dB."""
FALSE_ALARMS = 0.05
DRAWS = 400
LONG = 12
"""Cases of 20 s in a song of four minutes."""

Figure = tuple[float, float, float]
"""A figure and the ends of its 90 % bootstrap interval, over songs."""


def figures(cases: Sequence[Case]) -> dict[str, Any]:
    """Compute all figures that the injected leaks give."""
    told = [(case, heard(case)) for case in cases]
    plain = [(case, found) for case, found in told if not case.hard or case.hard == "spoken"]
    border = float(np.quantile([score(f) for c, f in plain if c.level is None and c.song < FRESH], 1 - FALSE_ALARMS))
    fresh = [(case, found) for case, found in plain if case.song >= FRESH]
    clean = [each for each in fresh if each[0].level is None]
    return {
        "songs": {
            "calibration": len({c.song for c in cases if c.song < FRESH}),
            "told": len({c.song for c in cases if c.song >= FRESH}),
        },
        "border_db": border,
        "false_alarms_at_border": interval(clean, lambda part: np.mean([score(f) > border for _, f in part])),
        "false_alarms_at_limit": interval(clean, lambda part: np.mean([score(f) > LIMIT for _, f in part])),
        "levels": {level: _of_level(level, fresh, border) for level in LEVELS},
        "level_within_2_db": interval(
            [each for each in fresh if each[0].level is not None and each[0].level >= LIMIT],
            lambda part: np.mean([abs(level_of(f) - c.level) <= 2 for c, f in part]),
        ),
        "ranges": interval(
            [e for e in fresh if e[0].level is not None and e[0].level >= LIMIT and "in parts" in e[0].kind],
            lambda part: np.mean([overlap(c, f) for c, f in part]),
        ),
        "in_long_songs": {level: _in_long_songs(level, fresh, clean) for level in (-20, -15, -10)},
        "hard": {name: _of_hard(name, told, border) for name in (*HARD, "spoken", "instrumental")},
        "combined": combined(fresh, [each for each in plain if each[0].song < FRESH]),
    }


def score(found: Estimate) -> float:
    """What decides, as `measure` reports it."""
    return NOTHING if found.score is None else max(NOTHING, found.score)


def level_of(found: Estimate) -> float:
    """The level, as `measure` reports it."""
    return decibel.FLOOR if found.level is None else found.level


def overlap(case: Case, found: Estimate) -> float:
    """Intersection over union of the windows found and those where the leak is within 15 dB of its mean."""
    peak = float(found.curve.max(initial=decibel.FLOOR))
    heard = ranges.joined(found.curve > max(decibel.FLOOR, min(LIMIT, peak) - 6.0), 2)
    loud = case.leak[case.leak > 1e-3 * case.leak.max(initial=0.0)]
    true = case.leak > 0.03 * loud.mean() if len(loud) else np.zeros(len(case.leak), dtype=bool)
    count = min(len(heard), len(true))
    heard, true = heard[:count], true[:count]
    return float((heard & true).sum() / max(1, (heard | true).sum()))


def area(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Area under the ROC curve: how often a leak scores over a clean pair (ties count half)."""
    a, b = np.asarray(positive)[:, None], np.asarray(negative)[None]
    return float(np.mean((a > b) + 0.5 * (a == b)))


def interval(
    told: Sequence[tuple[Case, Estimate]], figure: Callable[[Sequence[tuple[Case, Estimate]]], float]
) -> Figure:
    """Compute a figure and its 90 % interval, drawing whole songs with replacement."""
    by_song: dict[int, list[tuple[Case, Estimate]]] = {}
    for each in told:
        by_song.setdefault(each[0].song, []).append(each)
    if not by_song:
        return (float("nan"),) * 3
    dice, songs = np.random.default_rng(1), list(by_song)
    drawn = []
    for _ in range(DRAWS):
        part = [each for song in dice.choice(songs, len(songs)) for each in by_song[song]]
        drawn.append(figure(part))
    drawn = [value for value in drawn if np.isfinite(value)]
    return float(figure(told)), float(np.quantile(drawn, 0.05)), float(np.quantile(drawn, 0.95))


def _of_level(level: float, fresh: Sequence[tuple[Case, Estimate]], border: float) -> dict[str, Figure]:
    mine = [each for each in fresh if each[0].level in {None, level}]

    def areas(part: Sequence[tuple[Case, Estimate]]) -> float:
        positive = [score(f) for c, f in part if c.level is not None]
        negative = [score(f) for c, f in part if c.level is None]
        return area(positive, negative) if positive and negative else float("nan")

    leaks = [each for each in mine if each[0].level is not None]
    return {
        "area": interval(mine, areas),
        "recall": interval(leaks, lambda part: np.mean([score(f) > border for _, f in part])),
        "bias": interval(leaks, lambda part: np.median([level_of(f) - level for _, f in part])),
        "within_2_db": interval(leaks, lambda part: np.mean([abs(level_of(f) - level) <= 2 for _, f in part])),
        "ranges": interval(
            [e for e in leaks if "in parts" in e[0].kind], lambda p: np.mean([overlap(c, f) for c, f in p])
        ),
    }


def _in_long_songs(
    level: float, fresh: Sequence[tuple[Case, Estimate]], clean: Sequence[tuple[Case, Estimate]]
) -> Figure:
    """How often the fits put a leak as long as a case over LIMIT, in the middle of LONG cases of the same song."""
    pieces: dict[int, list[Fits]] = {}
    for case, _ in clean:
        pieces.setdefault(case.song, []).append(case.fits)
    told = []
    for case, _ in fresh:
        if case.level == level and case.song in pieces:
            around = (pieces[case.song] * LONG)[: LONG - 1]
            whole = joined([*around[: LONG // 2], case.fits, *around[LONG // 2 :]])
            told.append((case, estimate(whole)))
    return interval(told, lambda part: np.mean([score(found) > LIMIT for _, found in part]))


def _of_hard(name: str, told: Sequence[tuple[Case, Estimate]], border: float) -> dict[str, Figure]:
    """Of the fresh songs."""
    mine = [each for each in told if each[0].hard == name and each[0].song >= FRESH]
    clean = [each for each in mine if each[0].level is None]
    leaks = [each for each in mine if each[0].level == LIMIT]
    return {
        "false_alarms": interval(clean, lambda part: np.mean([score(f) > border for _, f in part])),
        "false_alarms_at_limit": interval(clean, lambda part: np.mean([score(f) > LIMIT for _, f in part])),
        "recall": interval(leaks, lambda part: np.mean([score(f) > border for _, f in part])),
    }


def combined(fresh: Sequence[tuple[Case, Estimate]], known: Sequence[tuple[Case, Estimate]]) -> dict[str, Any]:
    """One look at logistic regression over the features, fitted on known songs, told on fresh ones."""

    def features(part: Sequence[tuple[Case, Estimate]]) -> np.ndarray:
        rows = [
            (score(f), max(-60.0, level_of(f)), np.log(1e-4 + (f.evidence or 0.0)), np.log(c.clarity)) for c, f in part
        ]
        return np.asarray(rows)

    faint = [[e for e in part if e[0].level is None or e[0].level <= -25] for part in (known, fresh)]
    truth = [np.asarray([c.level is not None for c, _ in part], dtype=float) for part in faint]
    mean, spread = features(faint[0]).mean(axis=0), features(faint[0]).std(axis=0) + 1e-9
    learned, asked = ((features(part) - mean) / spread for part in faint)
    weights, offset = np.zeros(learned.shape[1]), 0.0
    for _ in range(5000):
        error = 1 / (1 + np.exp(-(learned @ weights + offset))) - truth[0]
        weights -= 0.1 * (learned.T @ error / len(error) + 1e-3 * weights)
        offset -= 0.1 * error.mean()
    both = asked @ weights + offset
    alone = asked[:, 0]
    yes = truth[1] > 0
    return {
        "features": ["score", "level", "log evidence", "log clarity"],
        "weights": [round(float(each), 3) for each in weights],
        "area_combined": area(both[yes], both[~yes]),
        "area_score": area(alone[yes], alone[~yes]),
    }
