"""Keys, modes and chords: pitches as MIDI numbers (60 is middle C). Knows no time and no sound."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

MODES: dict[str, tuple[int, ...]] = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "harmonic minor": (0, 2, 3, 5, 7, 8, 11),
}
NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
PROGRESSIONS: tuple[tuple[int, ...], ...] = (
    (0, 4, 5, 3),
    (0, 5, 3, 4),
    (5, 3, 0, 4),
    (0, 3, 4, 4),
    (1, 4, 0, 0),
    (0, 6, 3, 0),
    (0, 2, 3, 4),
    (3, 4, 2, 5),
    (0, 0, 3, 4),
    (0, 6, 5, 4),
    (0, 3, 0, 4),
    (5, 4, 3, 4),
)


@dataclass(frozen=True)
class Key:
    """A tonic (0 to 11, semitones above C) and a mode."""

    tonic: int
    mode: str

    @property
    def name(self) -> str:
        """Return the key as musicians write it: `Eb dorian`."""
        return f"{NAMES[self.tonic]} {self.mode}"

    def pitch(self, degree: int, octave: int) -> int:
        """Return the MIDI number of a scale degree (0 is the tonic; any integer) in an octave."""
        scale = MODES[self.mode]
        return 12 * (octave + 1 + degree // 7) + self.tonic + scale[degree % 7]

    def degrees_between(self, low: int, high: int) -> list[int]:
        """Return the degrees, counted from octave 0, whose pitches lie in [low, high]."""
        return [degree for degree in range(70) if low <= self.pitch(degree, 0) <= high]


class Chord(NamedTuple):
    """A root degree and how many thirds are stacked on it (3: triad, 4: seventh chord)."""

    root: int
    size: int

    def degrees(self) -> tuple[int, ...]:
        """Return the chord's scale degrees from its root upwards."""
        return tuple(self.root + 2 * third for third in range(self.size))

    def holds(self, degree: int) -> bool:
        """Tell whether a scale degree, in whatever octave, is a tone of this chord."""
        return degree % 7 in {tone % 7 for tone in self.degrees()}


def draw_key(dice: np.random.Generator) -> Key:
    """Draw a key; major and minor are the most likely modes."""
    mode = dice.choice(list(MODES), p=[0.4, 0.3, 0.1, 0.1, 0.04, 0.06])
    return Key(int(dice.integers(12)), str(mode))


def draw_chords(dice: np.random.Generator, bars: int) -> tuple[Chord, ...]:
    """Draw one chord for each bar: a known progression or a random one, changed half-way."""
    chords: list[Chord] = []
    size = 4 if dice.random() < 0.3 else 3
    while len(chords) < bars:
        if dice.random() < 0.75:
            roots = PROGRESSIONS[dice.integers(len(PROGRESSIONS))]
        else:
            roots = tuple(int(root) for root in dice.integers(0, 6, size=4))
        chords += [Chord(root, size) for root in roots] * int(dice.choice([1, 2]))
    return tuple(chords[:bars])


def voicing(key: Key, chord: Chord, centre: int) -> tuple[int, ...]:
    """Return the chord's pitches, each in the octave that lies nearest to `centre`."""
    pitches = (key.pitch(degree, 0) for degree in chord.degrees())
    near = [pitch + 12 * round((centre - pitch) / 12) for pitch in pitches]
    return tuple(sorted(set(near)))
