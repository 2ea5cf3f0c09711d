"""One song, from a seed to its stems: plays, sings, mixes, and writes the folder."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from songs import instruments, room, score, singing, voice
from songs.instruments import Instrument
from songs.room import RATE, Sound
from songs.score import Score
from songs.seeds import Purpose, dice, purpose
from songs.singing import Line
from songs.voice import Voice

STEMS = ("drums", "bass", "other", "vocals")
Stems = dict[str, NDArray[np.float32]]
MANNERS = ("sung", "spoken", "instrumental")


@dataclass(frozen=True)
class Plan:
    """All that is decided about a song before anything sounds."""

    seed: int
    purpose: Purpose
    manner: str
    voice: Voice
    score: Score
    lines: tuple[Line, ...]
    kit: Instrument
    bass: Instrument
    others: tuple[Instrument, ...]


def plan(seed: int, seconds: float) -> Plan:
    """Decide everything about the song of a seed."""
    kind = purpose(seed)
    throw = dice(seed, "plan")
    manner = str(throw.choice(MANNERS, p=[0.86, 0.04, 0.10]))
    singer = voice.draw_voice(dice(seed, "voice"), kind)
    centre = int(np.clip(voice.speaking_pitch(singer) + throw.integers(0, 10), 43, 76))
    paper = score.compose(dice(seed, "score"), seconds, centre, sung=manner != "instrumental")
    players = dice(seed, "players")
    return Plan(
        seed=seed,
        purpose=kind,
        manner=manner,
        voice=singer,
        score=paper,
        lines=singing.draw_lines(dice(seed, "lyrics"), singer, paper),
        kit=instruments.draw_kit(players, kind),
        bass=instruments.draw_bass(players, kind),
        others=tuple(instruments.draw_other(players, kind) for _ in paper.others),
    )


def render(song: Plan, frames: int) -> Stems:
    """Render the stems, each (2, frames) float32; their float32 sum peaks between 0.4 and 0.97."""
    throw = dice(song.seed, "mix")
    stems = {
        "drums": played(throw, song.kit, song.score.drums, frames, drums=True),
        "bass": played(throw, song.bass, song.score.bass, frames, drums=False),
        "other": accompaniment(throw, song, frames),
        "vocals": vocals(throw, song, frames),
    }
    levels = {"drums": -19.0, "bass": -21.0, "other": -20.0, "vocals": -18.0}
    for stem, sound in stems.items():
        stems[stem] = room.to_level(sound, levels[stem] + float(throw.normal(0, 3)))
    return mastered(throw, stems)


def played(
    throw: np.random.Generator,
    player: Instrument,
    notes: tuple[score.Note, ...],
    frames: int,
    *,
    drums: bool,
) -> Sound:
    """Play one part and treat it as a studio would: equaliser, compressor, room."""
    sound = room.colour(throw, instruments.play(player, notes, frames, drums=drums))
    if throw.random() < 0.4:
        sound = room.compress(sound, float(throw.uniform(6, 18)), float(throw.uniform(1.5, 6)))
    if throw.random() < 0.15:
        sound = room.saturate(sound, float(throw.uniform(1, 5)))
    return room.any_room(throw, 0.35 if drums else 0.15).around(sound)


def accompaniment(throw: np.random.Generator, song: Plan, frames: int) -> Sound:
    """Play the other instruments, each at its place and level, in a common room."""
    total = np.zeros((2, frames))
    for player, notes in zip(song.others, song.score.others, strict=True):
        sound = instruments.play(player, notes, frames, drums=False)
        if throw.random() < 0.3:
            sound = sound.mean(axis=0, keepdims=True)
        sound = room.pan(room.colour(throw, sound), float(throw.uniform(-0.9, 0.9)))
        if throw.random() < 0.12:
            sound = room.saturate(sound, float(throw.uniform(1, 8)))
        total += room.to_level(sound, float(throw.normal(0, 4)))
    return room.any_room(throw, 0.5).around(total)


def vocals(throw: np.random.Generator, song: Plan, frames: int) -> Sound:
    """Sing or speak, then equalise, compress, echo and place in a room."""
    if not song.lines:
        return np.zeros((2, frames))
    if song.manner == "spoken":
        sound = singing.say(song.voice, song.lines, frames)
    else:
        take = dice(song.seed, "take")
        sound = singing.sing(take, song.voice, song.score, song.lines, frames)
    sound = room.passing(sound, "highpass", float(throw.uniform(50, 160)))
    sound = room.colour(throw, sound)
    if throw.random() < 0.7:
        sound = room.compress(sound, float(throw.uniform(6, 24)), float(throw.uniform(1.5, 6)))
    if throw.random() < 0.1:
        sound = room.saturate(sound, float(throw.uniform(1, 4)))
    if throw.random() < 0.25:
        beats = float(throw.choice([0.5, 0.75, 1]))
        wet, back = float(throw.uniform(0.1, 0.35)), float(throw.uniform(0.3, 0.6))
        sound = room.echo(sound, beats * song.score.beat, back, wet)
    return room.any_room(throw, 0.5).around(sound)


def mastered(throw: np.random.Generator, stems: dict[str, Sound]) -> Stems:
    """Compress and scale the sum by one common gain for all stems, so that they still add up."""
    mixture = sum(stems.values(), np.zeros(1))
    if throw.random() < 0.5:
        gain = room.gain_reduction(mixture, float(throw.uniform(3, 12)), float(throw.uniform(1.3, 4)))
        stems = {name: sound * gain for name, sound in stems.items()}
        mixture = mixture * gain
    scale = float(throw.uniform(0.4, 0.97)) / max(float(np.abs(mixture).max()), 1e-9)
    return {name: (sound * scale).astype(np.float32) for name, sound in stems.items()}


def mix(stems: Stems) -> NDArray[np.float32]:
    """Return the mixture: the float32 sum ((drums + bass) + other) + vocals, in this order."""
    return ((stems["drums"] + stems["bass"]) + stems["other"]) + stems["vocals"]


def gaps(song: Plan, seconds: float) -> list[tuple[float, float]]:
    """Return the times, (start, end) in seconds, of at least 0.5 s in which nobody sings a note."""
    edges = [0.0]
    for line in song.lines:
        last = line.notes[-1]
        edges += [line.notes[0].start, last.start + last.length]
    edges.append(seconds)
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return [(round(start, 2), round(end, 2)) for start, end in pairs if end - start >= 0.5]


def describe(song: Plan, seconds: float) -> dict[str, object]:
    """Return what song.json says."""
    return {
        "seed": song.seed,
        "purpose": song.purpose.value,
        "seconds": seconds,
        "rate": RATE,
        "manner": song.manner,
        "tempo": song.score.tempo,
        "beats": song.score.beats,
        "key": song.score.key.name,
        "voice": song.voice.as_json(),
        "lyrics": [" ".join(word.text for word in line.words) for line in song.lines],
        "gaps": gaps(song, seconds),
        "instruments": {
            "drums": song.kit.as_json(),
            "bass": song.bass.as_json(),
            "other": [player.as_json() for player in song.others],
        },
    }


def write(seed: int, seconds: float, folder: Path) -> None:
    """Render the song of a seed into a folder: mixture.wav, a file for each stem, song.json.

    The folder appears complete or not at all; one that exists is kept as it is.
    A seed gives the same samples every time; the files' bytes differ in libsndfile's PEAK chunk, which holds the time.
    """
    if folder.exists():
        return
    song = plan(seed, seconds)
    stems = render(song, round(seconds * RATE))
    partial = folder.with_name(f".{folder.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    for name, sound in {**stems, "mixture": mix(stems)}.items():
        soundfile.write(partial / f"{name}.wav", sound.T, RATE, subtype="FLOAT")
    (partial / "song.json").write_text(json.dumps(describe(song, seconds), indent=1) + "\n")
    partial.rename(folder)
