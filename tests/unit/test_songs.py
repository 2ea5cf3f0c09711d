"""Songs on paper: seeds, harmony, rhythm, scores and lyrics, without making a sound."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from songs import harmony, lyrics, rhythm, score
from songs.harmony import Chord, Key
from songs.seeds import RANGES, Purpose, dice, purpose


@pytest.mark.parametrize(
    "seed,kind",
    [
        (0, Purpose.TRAINING),
        (9_999, Purpose.TRAINING),
        (10_000, Purpose.HELD_OUT),
        (19_999, Purpose.HELD_OUT),
        (20_038, Purpose.SHOWN),
        (30_000, Purpose.BENCH),
        (39_999, Purpose.BENCH),
    ],
)
def test_a_seed_has_one_purpose(seed: int, kind: Purpose) -> None:
    assert purpose(seed) is kind
    assert [seed in seeds for seeds in RANGES.values()].count(True) == 1


@pytest.mark.parametrize("seed", [-1, 40_000])
def test_a_seed_outside_all_ranges_is_refused(seed: int) -> None:
    with pytest.raises(ValueError, match="in no range; use 0 to 39999"):
        purpose(seed)


def test_dice_repeat_themselves_and_differ_between_parts_and_songs() -> None:
    assert dice(7, "score").random() == dice(7, "score").random()
    assert len({dice(7, "score").random(), dice(7, "voice").random(), dice(8, "score").random()}) == 3


def test_dice_are_the_same_on_every_machine_and_in_every_version() -> None:
    assert dice(20_038, "plan").integers(1_000_000, size=3).tolist() == [511218, 2424, 826162]


@pytest.mark.parametrize(
    "key,degree,octave,pitch",
    [
        (Key(0, "major"), 0, 4, 60),
        (Key(0, "major"), 7, 4, 72),
        (Key(9, "minor"), 2, 3, 60),
        (Key(0, "major"), -1, 4, 59),
        (Key(3, "dorian"), 5, 4, 72),
    ],
)
def test_degrees_are_pitches(key: Key, degree: int, octave: int, pitch: int) -> None:
    assert key.pitch(degree, octave) == pitch


def test_a_voicing_lies_around_its_centre_and_holds_the_chord() -> None:
    key = Key(0, "major")
    pitches = harmony.voicing(key, Chord(4, 4), 60)
    assert {pitch % 12 for pitch in pitches} == {7, 11, 2, 5}
    assert all(abs(pitch - 60) <= 6 for pitch in pitches)


@pytest.mark.parametrize("seed", range(20))
def test_a_score_stays_inside_its_time_key_and_range(seed: int) -> None:
    paper = score.compose(dice(seed, "score"), 30.0, 60)
    scale = {paper.key.pitch(degree, 0) % 12 for degree in range(7)}
    sung = [note for phrase in paper.phrases for note in phrase]
    assert sung
    assert all(note.pitch % 12 in scale and abs(note.pitch - 60) <= 8 for note in sung)
    parts = (paper.drums, paper.bass, *paper.others, *paper.phrases)
    notes = [note for part in parts for note in part]
    assert all(note.start >= 0 and note.length > 0 and 1 <= note.velocity <= 127 for note in notes)
    assert max(note.start for note in notes) <= 31


@pytest.mark.parametrize("seed", range(20))
def test_phrases_are_in_order_and_hardly_overlap(seed: int) -> None:
    paper = score.compose(dice(seed, "score"), 30.0, 60)
    for before, after in zip(paper.phrases, paper.phrases[1:], strict=False):
        assert before[-1].start + before[-1].length <= after[0].start + 0.4 * paper.beat


def test_an_instrumental_has_no_phrases() -> None:
    assert score.compose(dice(1, "score"), 30.0, 60, sung=False).phrases == ()


def test_the_same_seed_writes_the_same_score() -> None:
    assert score.compose(dice(5, "score"), 30.0, 60) == score.compose(dice(5, "score"), 30.0, 60)


def test_notes_of_a_bar_last_until_the_next() -> None:
    groove = rhythm.Groove(beat=0.5, beats=4, swing=0.0, looseness=0.0)
    assert groove.place(dice(0, "steps"), (0, 4, 12)) == [(0.0, 0.5), (0.5, 1.0), (1.5, 0.5)]


def test_a_fill_takes_the_last_beat() -> None:
    groove = rhythm.Groove(beat=0.5, beats=4, swing=0.0, looseness=0.0)
    played = rhythm.hits(dice(0, "drums"), {"hat": "x" * 16}, groove, fill=True, crash=False)
    assert {hit.drum for hit in played if hit.at >= 1.5} <= {*rhythm.TOMS, 38}
    assert all(hit.drum in rhythm.HATS for hit in played if hit.at < 1.5)


@pytest.mark.parametrize("language", ["en", "de", "sv"])
@pytest.mark.parametrize("syllables", [1, 2, 17])
def test_words_fill_a_phrase_exactly(language: str, syllables: int) -> None:
    throw = np.random.default_rng(3)
    for _ in range(30):
        words = lyrics.draw_words(throw, language, syllables)
        assert sum(word.syllables for word in words) == syllables
