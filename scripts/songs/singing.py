"""Singing: spoken words stretched onto a melody's notes and given its pitch, in one or more layers."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyworld
from numpy.typing import NDArray
from scipy import signal

from songs import lyrics, room
from songs.harmony import Key
from songs.room import RATE, Sound
from songs.score import Note, Score
from songs.voice import BINS, FRAME, Spoken, Voice, speak

HARMONIES = ((2,), (-3,), (2, 4), (-7,), (7,), (-3, 2))
"""Scale steps from the melody, of which one is sung."""


class Line(NamedTuple):
    """A phrase and its words, one note a syllable."""

    notes: tuple[Note, ...]
    words: tuple[lyrics.Word, ...]


@dataclass(frozen=True)
class Layer:
    """One take of the melody: scale steps above it, cents beside it, seconds late, place, level."""

    steps: int = 0
    cents: float = 0.0
    late: float = 0.0
    position: float = 0.0
    decibels: float = 0.0


def draw_lines(dice: np.random.Generator, voice: Voice, score: Score) -> tuple[Line, ...]:
    """Draw the words of every phrase."""
    return tuple(Line(notes, lyrics.draw_words(dice, voice.language, len(notes))) for notes in score.phrases)


def draw_layers(dice: np.random.Generator) -> tuple[Layer, ...]:
    """Draw the takes: the lead, perhaps doubled, perhaps with harmonies above or below."""
    layers = [Layer(position=float(dice.choice([0, 0, 0, dice.uniform(-0.5, 0.5)])))]
    if dice.random() < 0.3:
        cents, late = dice.uniform(5, 16), dice.uniform(0.008, 0.03)
        spread, under = dice.uniform(0.3, 1), dice.uniform(-12, -3)
        layers += [Layer(0, side * cents, late * (1.5 + side / 2), side * spread, under) for side in (-1, 1)]
    if dice.random() < 0.3:
        steps = int(dice.choice(HARMONIES[dice.integers(len(HARMONIES))]))
        place, under = dice.uniform(-0.8, 0.8), dice.uniform(-10, -4)
        layers.append(Layer(steps, 4.0, 0.012, float(place), float(under)))
    return tuple(layers)


def sing(dice: np.random.Generator, voice: Voice, score: Score, lines: tuple[Line, ...], frames: int) -> Sound:
    """Sing a score's lines in all drawn layers, (2, frames)."""
    words = written(voice, lines, frames)
    total = np.zeros((2, frames))
    for layer in draw_layers(dice):
        pitch = contour(dice, voice, score.key, lines, layer, len(words.pitch))
        pitch[words.pitch == 0] = 0
        take = pyworld.synthesize(pitch, words.spectrum, words.breath, RATE, 1000 * FRAME)
        late = int(layer.late * RATE)
        take = np.pad(take, (late, frames))[:frames]
        total += room.pan(take, layer.position) * 10 ** (layer.decibels / 20)
    return total


def say(voice: Voice, lines: tuple[Line, ...], frames: int) -> Sound:
    """Speak the lines instead of singing them, each word where its first note starts, (2, frames)."""
    words = silence(frames)
    for line in lines:
        at = frame(line.notes[0].start)
        spoken = speak(voice, " ".join(word.text for word in line.words))
        length = min(len(spoken.pitch), len(words.pitch) - at)
        for into, part in zip(words, spoken, strict=True):
            into[at : at + length] = part[:length]
    take = pyworld.synthesize(*words, RATE, 1000 * FRAME)
    return room.pan(np.pad(take, (0, frames))[:frames], 0.0)


def frame(seconds: float) -> int:
    """Return the number of the 5 ms frame at a time."""
    return round(seconds / FRAME)


def silence(frames: int) -> Spoken:
    """Return a silent voice for so many samples."""
    count = frame(frames / RATE)
    return Spoken(np.zeros(count), np.full((count, BINS), 1e-14), np.ones((count, BINS)))


def written(voice: Voice, lines: tuple[Line, ...], frames: int) -> Spoken:
    """Place every word on its notes; pitch is 1 where the word is voiced, 0 where it is not."""
    words = silence(frames)
    for line in lines:
        first = 0
        for word in line.words:
            notes = line.notes[first : first + word.syllables]
            first += word.syllables
            start = frame(notes[0].start)
            end = min(frame(notes[-1].start + notes[-1].length), len(words.pitch))
            if end - start < 6:
                continue
            stretched = stretch(speak(voice, word.text), end - start)
            level = (notes[0].velocity / 100) ** 2 * fade(end - start)
            words.pitch[start:end] = stretched.pitch > 0
            words.spectrum[start:end] = stretched.spectrum * level[:, None] + 1e-14
            words.breath[start:end] = stretched.breath
    return words


def stretch(spoken: Spoken, length: int) -> Spoken:
    """Fit a word into so many frames: vowels give way, consonants keep their length if they can."""
    power = np.sqrt(spoken.spectrum.sum(axis=1))
    voiced = spoken.pitch > 0
    firm = int((~voiced).sum())
    ease = np.where(voiced, 0.15 + power / power.max(), 0.0)
    room_left = max(length - firm, 0.5 * length)
    weight = np.where(voiced, room_left * ease / max(ease.sum(), 1e-9), 1.0)
    if not voiced.any():
        weight = np.ones(len(voiced))
    ends = np.cumsum(weight)
    place = np.interp((np.arange(length) + 0.5) * ends[-1] / length, ends, np.arange(len(ends)))
    low = place.astype(int)
    high, part = np.minimum(low + 1, len(ends) - 1), (place - low)[:, None]
    spectrum = spoken.spectrum[low] ** (1 - part) * spoken.spectrum[high] ** part
    breath = spoken.breath[low] * (1 - part) + spoken.breath[high] * part
    return Spoken(spoken.pitch[np.round(place).astype(int)], spectrum, breath)


def fade(length: int) -> NDArray[np.float64]:
    """Return a word's power over its frames: a soft start of 15 ms and an end of 40 ms."""
    count = np.arange(length)
    return np.asarray(np.clip((count + 1) / 3, 0, 1) * np.clip((length - count) / 8, 0, 1))


def contour(
    dice: np.random.Generator,
    voice: Voice,
    key: Key,
    lines: tuple[Line, ...],
    layer: Layer,
    count: int,
) -> NDArray[np.float64]:
    """Return a take's pitch in Hz for every frame: glides, vibrato on held notes, and drift."""
    semitones = np.full(count, 57.0)
    depth = np.zeros(count)
    for line in lines:
        for note in line.notes:
            start, end = frame(note.start), frame(note.start + note.length)
            semitones[start:] = move(key, note.pitch, layer.steps)
            held = np.arange(end - start) * FRAME
            depth[start:end] = np.clip((held - 0.18) / 0.25, 0, 1)[: max(count - start, 0)]
    pole = np.exp(-FRAME / (voice.glide / 2.5))
    smooth = signal.lfilter([1 - pole], [1, -pole], semitones, zi=[semitones[0] * pole])[0]
    wander = signal.lfilter([0.04], [1, -0.96], dice.standard_normal(count)) * 7
    hertz, cents = voice.vibrato
    phase = 2 * np.pi * hertz * np.arange(count) * FRAME + dice.uniform(0, 6)
    bend = cents * depth * np.sin(phase) + voice.drift * wander + layer.cents
    return np.asarray(440 * 2 ** ((smooth - 69 + bend / 100) / 12))


def move(key: Key, pitch: int, steps: int) -> int:
    """Return the pitch some scale steps above (below, if negative) a pitch of the key."""
    if not steps:
        return pitch
    degrees = [degree for degree in range(80) if key.pitch(degree, -1) <= pitch]
    return key.pitch(degrees[-1] + steps, -1)
