"""A song on paper: form, drums, bass, accompaniment and melody as timed notes. Makes no sound."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from songs import harmony, rhythm
from songs.harmony import Chord, Key


class Note(NamedTuple):
    """A note: start and length in seconds, MIDI pitch, velocity 1 to 127."""

    start: float
    length: float
    pitch: int
    velocity: int


class Bar(NamedTuple):
    """One bar: its start in seconds, its chord, and who plays in it."""

    start: float
    chord: Chord
    drums: bool
    bass: bool
    others: tuple[bool, ...]
    singing: bool


@dataclass(frozen=True)
class Score:
    """All notes of a song. A phrase is what is sung in one breath, one note a syllable."""

    tempo: float
    beats: int
    key: Key
    bars: tuple[Bar, ...]
    drums: tuple[Note, ...]
    bass: tuple[Note, ...]
    others: tuple[tuple[Note, ...], ...]
    phrases: tuple[tuple[Note, ...], ...]

    @property
    def beat(self) -> float:
        """Return the length of a beat in seconds."""
        return 60 / self.tempo


def compose(dice: np.random.Generator, seconds: float, centre: int, *, sung: bool = True) -> Score:
    """Compose `seconds` of music whose melody lies around the MIDI pitch `centre`.

    Without `sung` nobody sings: an instrumental.
    """
    tempo = float(np.exp(dice.uniform(np.log(62), np.log(178))))
    beats = int(dice.choice([4, 4, 4, 4, 4, 3]))
    key = harmony.draw_key(dice)
    others = int(dice.choice([1, 2, 3, 4], p=[0.15, 0.35, 0.35, 0.15]))
    bars = draw_form(dice, seconds, beats * 60 / tempo, others, sung=sung)
    beat = 60 / tempo
    swing = float(dice.choice([0, 0, 0, dice.uniform(0.05, 0.33)]))
    groove = rhythm.Groove(beat, beats, swing, float(dice.uniform(0, 0.012)))
    return Score(
        tempo=round(tempo, 2),
        beats=beats,
        key=key,
        bars=bars,
        drums=drum_part(dice, bars, groove),
        bass=bass_part(dice, bars, groove, key),
        others=tuple(other_part(dice, bars, groove, key, index) for index in range(others)),
        phrases=melody(dice, bars, groove, key, centre),
    )


def draw_form(dice: np.random.Generator, seconds: float, bar: float, others: int, *, sung: bool) -> tuple[Bar, ...]:
    """Draw who plays in which bar: sections of two to four bars, each with its own set of parts."""
    count = max(int(seconds / bar), 1)
    chords = harmony.draw_chords(dice, count)
    bars: list[Bar] = []
    drummer, bassist = dice.random() < 0.93, dice.random() < 0.95
    while len(bars) < count:
        drums = drummer and dice.random() < 0.85
        bass = bassist and dice.random() < 0.88
        plays = tuple(bool(dice.random() < 0.8) for _ in range(others))
        singing = sung and dice.random() < 0.72
        if not (drums or bass or any(plays)):
            plays = (True, *plays[1:])
        for _ in range(int(dice.choice([2, 2, 3, 4]))):
            if len(bars) < count:
                start = len(bars) * bar
                bars.append(Bar(start, chords[len(bars)], drums, bass, plays, singing))
    if sung and not any(bar.singing for bar in bars):
        bars = [bar._replace(singing=True) for bar in bars]
    return tuple(bars)


def drum_part(dice: np.random.Generator, bars: tuple[Bar, ...], groove: rhythm.Groove) -> tuple[Note, ...]:
    """Write the drums: one pattern for the song, now and then varied, with fills and crashes."""
    pattern = rhythm.draw_pattern(dice)
    notes: list[Note] = []
    for index, bar in enumerate(bars):
        if not bar.drums:
            continue
        varied = rhythm.vary(dice, pattern) if dice.random() < 0.3 else pattern
        fill = dice.random() < (0.5 if index % 4 == 3 else 0.04)
        hits = rhythm.hits(dice, varied, groove, fill=fill, crash=index % 8 == 0)
        notes += [Note(bar.start + hit.at, 0.2, hit.drum, hit.velocity) for hit in hits]
    return tuple(notes)


def bass_part(dice: np.random.Generator, bars: tuple[Bar, ...], groove: rhythm.Groove, key: Key) -> tuple[Note, ...]:
    """Write the bass: roots, fifths, octaves and passing notes on one rhythm for the song."""
    steps = rhythm.draw_steps(dice, dense=dice.random() < 0.5)
    movement = dice.choice([0.05, 0.3, 0.7])
    held = dice.uniform(0.5, 1.0)
    notes: list[Note] = []
    for bar in bars:
        if not bar.bass:
            continue
        for index, (at, length) in enumerate(groove.place(dice, steps)):
            offset = 0 if index == 0 or dice.random() > movement else int(dice.choice([2, 4, 7, 1]))
            pitch = key.pitch(bar.chord.root + offset, 1)
            pitch -= 12 if pitch > 50 else 0
            notes.append(Note(bar.start + at, length * held, pitch, int(dice.integers(75, 120))))
    return tuple(notes)


def other_part(
    dice: np.random.Generator,
    bars: tuple[Bar, ...],
    groove: rhythm.Groove,
    key: Key,
    index: int,
) -> tuple[Note, ...]:
    """Write one instrument of the accompaniment: held chords, a rhythm, an arpeggio or a line."""
    kind = dice.choice(["pad", "comp", "arpeggio", "line"], p=[0.25, 0.3, 0.2, 0.25])
    centre = int(dice.integers(50, 74))
    steps = rhythm.draw_steps(dice, dense=kind == "arpeggio")
    loud = int(dice.integers(60, 100))
    held = float(dice.uniform(0.5, 1.0))
    notes: list[Note] = []
    for bar in bars:
        if not bar.others[index]:
            continue
        tones = harmony.voicing(key, bar.chord, centre)
        if kind == "pad":
            notes += [Note(bar.start, groove.bar * 0.98, pitch, loud) for pitch in tones]
            continue
        for count, (at, length) in enumerate(groove.place(dice, steps)):
            if kind == "comp":
                pitches = tones
            elif kind == "arpeggio":
                pitches = (tones[count % len(tones)] + 12 * (count // len(tones) % 2),)
            else:
                degrees = key.degrees_between(centre, centre + 14)
                pitches = (key.pitch(int(dice.choice(degrees)), 0),)
            velocity = int(np.clip(loud + dice.integers(-12, 13), 1, 127))
            notes += [Note(bar.start + at, length * held, pitch, velocity) for pitch in pitches]
    return tuple(notes)


def melody(
    dice: np.random.Generator,
    bars: tuple[Bar, ...],
    groove: rhythm.Groove,
    key: Key,
    centre: int,
) -> tuple[tuple[Note, ...], ...]:
    """Write what is sung: a walk over the scale that rests on chord tones, with breaths between."""
    degrees = key.degrees_between(centre - 8, centre + 8)
    here = len(degrees) // 2
    phrases: list[tuple[Note, ...]] = []
    phrase: list[Note] = []
    breath = dice.uniform(0.1, 0.5)
    for bar in bars:
        if bar.singing:
            steps = rhythm.draw_steps(dice, dense=dice.random() < 0.35)
            for at, length in groove.place(dice, steps):
                here = int(np.clip(here + dice.choice([-2, -1, -1, 0, 1, 1, 2]), 0, len(degrees) - 1))
                if length > groove.beat and not bar.chord.holds(degrees[here]):
                    here = max(here - 1, 0)
                pitch = key.pitch(degrees[here], 0)
                phrase.append(Note(bar.start + at, length, pitch, int(dice.integers(70, 115))))
        if phrase and (not bar.singing or dice.random() < breath):
            phrases.append(shorten_last(phrase, groove.beat))
            phrase = []
    if phrase:
        phrases.append(shorten_last(phrase, groove.beat))
    return tuple(phrases)


def shorten_last(phrase: list[Note], beat: float) -> tuple[Note, ...]:
    """Return the phrase with its last note shortened, so that there is time to breathe."""
    last = phrase[-1]
    length = max(min(last.length - 0.12, last.length * 0.85), 0.4 * beat)
    return (*phrase[:-1], last._replace(length=length))
