"""The labelled cases of one song, and what the quality check finds in each."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from bleed.leaks import KINDS, Pair, Sound, at, doubled, leaked, reverberated, reversed_leak, rms
from stemd.quality.bleed import Fits
from stemd.quality.compare import Comparison
from stemd.quality.estimate import Estimate, estimate, with_heavy
from stemd.quality.pairing import pair
from stemd.quality.windows import length

LEVELS = (-35, -30, -25, -20, -15, -10, -5)
HARD = ("doubled melody", "long reverberation", "mono", "very quiet", "clipped", "quiet vocal", "a cappella")
HARD_LEVELS = (None, -20)
KINDS_EACH = 2
REVERSES = (None, -30, -25, -20, -15)


@dataclass(frozen=True)
class Case:
    """A labelled pair and what was found: level in dB relative to the vocal, None: no leak.

    leak, voice: true power of the leak and of the vocal in each window. fits, lag, clarity, lift (level and windows):
    of the quality check.
    """

    song: int
    kind: str
    hard: str
    level: float | None
    leak: np.ndarray
    voice: np.ndarray
    fits: Fits
    lag: int
    clarity: float
    lift: tuple[float | None, np.ndarray] = (None, np.zeros(0))


def of_song(folder: Path, seconds: float) -> list[Case]:
    """Make all cases of a song from the first seconds of its stems."""
    seed, rate, vocals, band = read(folder, seconds)
    manner = json.loads((folder / "song.json").read_text())["manner"]
    if rms(vocals) < 1e-4:
        return [found(seed, "", "instrumental", None, each, rate) for each in _instrumental(band, rate, seed)]
    hard = "spoken" if manner == "spoken" else ""
    cases = [found(seed, kind, hard, level, each, rate) for kind, level, each in _plain(vocals, band, rate, seed)]
    cases += [found(seed, kind, name, level, each, rate) for kind, name, level, each in _hard(vocals, band, rate, seed)]
    return cases


def read(folder: Path, seconds: float) -> tuple[int, int, Sound, Sound]:
    """Read the first seconds of a song: seed, rate, vocals, accompaniment."""
    rate = soundfile.info(folder / "vocals.wav").samplerate
    names = ("vocals", "drums", "bass", "other")
    parts = [soundfile.read(folder / f"{name}.wav", int(seconds * rate), dtype="float32")[0] for name in names]
    return int(folder.name), rate, parts[0], parts[1] + parts[2] + parts[3]


def found(song: int, kind: str, hard: str, level: float | None, each: Pair, rate: int) -> Case:
    """Let the quality check look at a pair, a second time where it finds the leak late, as `measure` does."""
    looked = _compared(each, rate, 0)
    lag = looked.lag
    if lag:
        looked = _compared(each, rate, lag)
    return Case(song, kind, hard, level, windows(each.leak, rate), windows(each.vocals, rate),
                looked.fits(0), lag, looked.clarity, (looked.lift.db, looked.lift.windows))  # fmt: skip


def heard(case: Case) -> Estimate:
    """Tell level, score and curve, as `measure` does."""
    return with_heavy(estimate(case.fits), *case.lift)


def windows(sound: Sound, rate: int) -> np.ndarray:
    """Mean power in each window of the check."""
    size = length(rate)
    power = np.square(sound, dtype=np.float64).mean(axis=1)
    whole = np.pad(power, (0, -len(power) % size))
    return whole.reshape(-1, size).mean(axis=1)


def _compared(each: Pair, rate: int, lag: int) -> Comparison:
    pairing = pair(("vocals", "no_vocals"), "vocals", "no_vocals", with_mix=False)
    comparison = Comparison(rate, 2, pairing, ["no_vocals"], lag)
    for start in range(0, len(each.vocals), 2 * rate):
        part = slice(start, start + 2 * rate)
        comparison.feed({"vocals": each.vocals[part], "no_vocals": each.accompaniment[part]}, None)
    comparison.finish()
    return comparison


def _plain(vocals: Sound, band: Sound, rate: int, seed: int) -> Iterator[tuple[str, float | None, Pair]]:
    """Clean pairs with every reverse leak, and leaks of KINDS_EACH kinds at every level."""
    for number, reverse in enumerate(REVERSES):
        yield "", None, _pair(vocals, band, np.zeros_like(band), reverse, rate, [seed, number])
    for number, level in enumerate(LEVELS):
        for turn in range(KINDS_EACH):
            kind = KINDS[(seed + number + 3 * turn) % len(KINDS)]
            dice = np.random.default_rng([seed, 10 + number, turn])
            leak = leaked(vocals, kind, level, rate, dice)
            yield kind, level, _pair(vocals, band, leak, REVERSES[dice.integers(5)], rate, [seed, 20 + number, turn])


def _hard(vocals: Sound, band: Sound, rate: int, seed: int) -> Iterator[tuple[str, str, float | None, Pair]]:
    """Hard cases, without a leak and with one."""
    for place, name in enumerate(HARD):
        for number, level in enumerate(HARD_LEVELS):
            dice = np.random.default_rng([seed, 100 + place, number])
            kind = "" if level is None else KINDS[dice.integers(len(KINDS))]
            voice, others = _made_hard(name, vocals, band, rate, dice)
            leak = np.zeros_like(others) if level is None else leaked(voice, kind, level, rate, dice)
            each = _pair(voice, others, leak, -25 if dice.random() < 0.5 else None, rate, [seed, 200 + place, number])
            yield kind, name, level, _finished(name, each)


def _made_hard(name: str, vocals: Sound, band: Sound, rate: int, dice: np.random.Generator) -> tuple[Sound, Sound]:
    if name == "doubled melody":
        return vocals, band + doubled(vocals, rate, dice)
    if name == "long reverberation":
        return reverberated(vocals, rate, dice.uniform(2, 4), dice), reverberated(band, rate, 2.0, dice)
    if name == "a cappella":
        return vocals, at(dice.standard_normal(band.shape).astype(np.float32), vocals, -70.0)
    if name == "quiet vocal":
        return at(vocals, band, -15.0), band
    if name == "mono":
        return tuple(np.repeat(each.mean(axis=1, keepdims=True), 2, axis=1) for each in (vocals, band))
    return vocals, band


def _finished(name: str, each: Pair) -> Pair:
    if name == "very quiet":
        scale = np.float32(10 ** (-45 / 20))
        return Pair(each.vocals * scale, each.accompaniment * scale, each.leak * scale)
    if name == "clipped":
        top = np.float32(0.5 * np.abs(each.accompaniment).max())
        return Pair(np.clip(each.vocals, -top, top), np.clip(each.accompaniment, -top, top), each.leak)
    return each


def _instrumental(band: Sound, rate: int, seed: int) -> Iterator[Pair]:
    """No vocal at all: the vocal stem holds only what the separator took from the band."""
    for number, reverse in enumerate((-50, -40, -30, -20)):
        yield _pair(np.zeros_like(band), band, np.zeros_like(band), reverse, rate, [seed, 300 + number])


def _pair(vocals: Sound, band: Sound, leak: Sound, reverse: float | None, rate: int, seed: list[int]) -> Pair:
    dice = np.random.default_rng(seed)
    stem = vocals if reverse is None else vocals + reversed_leak(band, reverse, rate, dice)
    return Pair(stem, band + leak, leak)
