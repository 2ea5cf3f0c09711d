"""Grooves and drum patterns on a grid of sixteenths. Knows no pitch but the General MIDI drums."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

Pattern = dict[str, str]
Steps = tuple[int, ...]

KICKS, SNARES, HATS = (36, 35), (38, 40, 37, 39), (42, 42, 44)
TOMS = (50, 48, 47, 45, 43, 41)
CRASHES = (49, 57, 55)
COLOURS = (54, 56, 69, 70, 62, 63, 64, 75, 82, 76)

# x: hit, o: soft hit or ghost note, .: rest; one bar of sixteen steps
PATTERNS: tuple[Pattern, ...] = (
    {"kick": "x.......x.x.....", "snare": "....x.......x...", "hat": "x.x.x.x.x.x.x.x."},
    {"kick": "x.....x.x.......", "snare": "....x..o.o..x...", "hat": "xoxoxoxoxoxoxoxo"},
    {"kick": "x...x...x...x...", "snare": "....x.......x...", "open": "..x...x...x...x."},
    {"kick": "x...x...x...x...", "snare": "................", "hat": "..x...x...x...x."},
    {"kick": "x.........x.....", "snare": "........x.......", "hat": "x.x.x.x.x.x.x.x."},
    {"kick": "x..x..x.....x...", "snare": "....x.......x...", "ride": "x...x...x...x..."},
    {"kick": "x.x.......x..x..", "snare": "....x..o.o..x..o", "hat": "x.x.x.x.x.x.x.x."},
    {"kick": "x..x....x..x....", "snare": "...x..x....x..x.", "colour": "x.xxx.xxx.xxx.xx"},
    {"kick": "x...............", "snare": "........o.......", "ride": "x...x.x.x...x.x."},
    {"kick": "x.......x.......", "snare": "....x.......x...", "hat": "x...x...x...x..."},
    {"kick": "x.......x.......", "colour": "x.x.x.x.x.x.x.x."},
    {"kick": "x..x..x..x..x.x.", "snare": "....x.......x...", "hat": "xxxxxxxxxxxxxxxx"},
)
STEPS: tuple[Steps, ...] = (
    (0, 8),
    (0, 4, 8, 12),
    (0, 6, 8, 14),
    (0, 4, 6, 8, 12),
    (0, 3, 6, 8, 12),
    (0, 4, 10, 12),
    (2, 6, 10, 14),
    (0, 8, 12, 14),
)
DENSE: tuple[Steps, ...] = (
    (0, 2, 4, 6, 8, 10, 12, 14),
    (0, 3, 6, 8, 11, 14),
    (0, 2, 4, 6, 8, 12, 14),
    (0, 2, 3, 6, 8, 10, 11, 14),
    (0, 4, 6, 8, 10, 12),
    tuple(range(16)),
)


class Hit(NamedTuple):
    """One drum: seconds from the bar's start, General MIDI drum number, velocity."""

    at: float
    drum: int
    velocity: int


@dataclass(frozen=True)
class Groove:
    """How time feels: beat in seconds, beats in a bar, swing (0 to 0.33), deviation in seconds."""

    beat: float
    beats: int
    swing: float
    looseness: float

    @property
    def bar(self) -> float:
        """Return the length of a bar in seconds."""
        return self.beat * self.beats

    def time(self, dice: np.random.Generator, step: int) -> float:
        """Return when a sixteenth sounds, seconds from the bar's start, swung and a little loose."""
        swung = step + (self.swing * 2 if step % 4 == 2 else 0.0)
        return max(float(swung * self.beat / 4 + dice.normal(0, self.looseness)), 0.0)

    def place(self, dice: np.random.Generator, steps: Steps) -> list[tuple[float, float]]:
        """Return (start, length) in seconds of notes on these steps, each until the next."""
        inside = [step for step in steps if step < 4 * self.beats]
        starts = [self.time(dice, step) for step in inside]
        ends = [*starts[1:], self.bar]
        pairs = zip(starts, ends, strict=True)
        return [(start, max(end - start, 0.06)) for start, end in pairs]


def draw_steps(dice: np.random.Generator, *, dense: bool) -> Steps:
    """Draw the steps of a bar on which notes begin."""
    known = DENSE if dense else STEPS
    return known[dice.integers(len(known))]


def draw_pattern(dice: np.random.Generator) -> Pattern:
    """Draw a drum pattern, sometimes with the parts of two."""
    pattern = dict(PATTERNS[dice.integers(len(PATTERNS))])
    if dice.random() < 0.4:
        pattern |= {"hat": PATTERNS[dice.integers(len(PATTERNS))].get("hat", "x" * 16)}
    return pattern if dice.random() < 0.8 else vary(dice, pattern)


def vary(dice: np.random.Generator, pattern: Pattern) -> Pattern:
    """Return the pattern with about one step in ten changed."""
    return {
        part: "".join(str(dice.choice(list("x.."))) if dice.random() < 0.1 else step for step in row)
        for part, row in pattern.items()
    }


def drum(dice: np.random.Generator, part: str, step: int) -> int:
    """Return the General MIDI number of a part of the kit."""
    if part == "open":
        return 46
    if part == "ride":
        return 51 if step else 53
    known = {"kick": KICKS, "snare": SNARES, "hat": HATS, "colour": COLOURS}[part]
    return known[0] if dice.random() < 0.85 else int(dice.choice(known))


def hits(dice: np.random.Generator, pattern: Pattern, groove: Groove, *, fill: bool, crash: bool) -> list[Hit]:
    """Play one bar of a pattern; a fill takes its last beat, a crash its first step."""
    last = 4 * groove.beats - (4 if fill else 0)
    played: list[Hit] = []
    for part, row in pattern.items():
        kinds = {step: drum(dice, part, step) for step in range(0, 16, 4)}
        for step, mark in enumerate(row[:last]):
            if mark != ".":
                velocity = dice.integers(85, 122) if mark == "x" else dice.integers(30, 60)
                played.append(Hit(groove.time(dice, step), kinds[step // 4 * 4], int(velocity)))
    if crash and dice.random() < 0.6:
        played.append(Hit(0.0, int(dice.choice(CRASHES)), int(dice.integers(80, 115))))
    if fill:
        drums = np.sort(dice.choice((*TOMS, 38), size=4))[::-1]
        played += [
            Hit(groove.time(dice, last + step), int(drum_), int(dice.integers(80, 120)))
            for step, drum_ in enumerate(drums)
        ]
    return played
