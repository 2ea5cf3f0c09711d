"""Pairing, ranges, seams and verdicts: what is decided without listening."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemd.errors import StemdError
from stemd.quality import decibel
from stemd.quality.pairing import pair
from stemd.quality.ranges import MOST, Ranges, few, joined, runs
from stemd.quality.report import Bleed, Levels, Report, Thresholds
from stemd.quality.seams import SeamMeter
from stemd.quality.verdict import clock, judged, span

FOUR = ("drums", "bass", "other", "vocals")


def levels(name: str, **different: object) -> Levels:
    usual = Levels(name, 44100, 2, 441000, 0, -20.0, -6.0, -5.9, 0, 0, (), 0.0, False, (), 0, ())
    return replace(usual, **different)  # type: ignore[arg-type]


def report(*stems: Levels, mix: Levels | None = None, bleed: Bleed | None = None, **thresholds: float) -> Report:
    return Report(
        title="song", verdict="pass", seconds=10.0, mix=mix, stems=stems, bleed=(bleed,) if bleed else (),
        vocals="vocals", accompaniment="no_vocals", accompaniment_from="file", null_db=-30.0, null_of=("a", "b"),
        seam_db=None, thresholds=Thresholds(**thresholds), flags=(), curves={}, step=0.5,
    )  # fmt: skip


def bleeding(score: float, windows: list[float], reverse: float | None = None, share: float | None = None) -> Bleed:
    return Bleed("no_vocals", score, score, 0.5, None, None, reverse, share, 0.5, tuple(windows))


Seams = dict[str, tuple[tuple[float, float], ...]]


def flags(
    found: Report, null: np.ndarray | None = None, seams: Seams | None = None, *, lossy: bool = False
) -> list[tuple[str, str]]:
    done = judged(found, null, {"vocals": lossy}, seams or {})
    assert done.verdict == ("flagged" if done.flags else "pass")
    json.dumps(done.as_json(), allow_nan=False)
    return [(flag.metric, flag.text) for flag in done.flags]


@pytest.mark.parametrize(
    "names, vocals, accompaniment, mix, expected",
    [
        (("vocals", "no_vocals"), None, None, True, ("vocals", "no_vocals", "file")),
        (FOUR, None, None, True, ("vocals", "no_vocals", "sum of drums, bass, other")),
        (("vocals",), None, None, True, ("vocals", "no_vocals", "mix minus vocals")),
        (("vocals",), None, None, False, ("vocals", None, "")),
        (("drums", "no_drums"), None, None, True, (None, None, "")),
        (("lead", "band"), "lead", "band", True, ("lead", "band", "file")),
        (("vocals", "band"), None, "band", True, ("vocals", "band", "file")),
    ],
)
def test_what_the_vocal_is_held_against(names, vocals, accompaniment, mix, expected) -> None:
    found = pair(names, vocals, accompaniment, with_mix=mix)
    assert (found.vocals, found.accompaniment, found.made_from) == expected


@pytest.mark.parametrize(
    "names, complete",
    [
        (("vocals", "no_vocals"), ("vocals", "no_vocals")),
        (FOUR, FOUR),
        ((*FOUR, "guitar", "piano"), (*FOUR, "guitar", "piano")),
        (("drums", "no_drums"), ("drums", "no_drums")),
        (("vocals", "drums"), ()),
    ],
)
def test_which_stems_must_add_up(names, complete) -> None:
    assert pair(names, None, None, with_mix=True).complete == complete


@pytest.mark.parametrize("vocals, accompaniment", [("voice", None), (None, "band"), ("vocals", "vocals")])
def test_stems_that_are_not_there_are_refused(vocals, accompaniment) -> None:
    with pytest.raises(StemdError) as error:
        pair(("vocals", "no_vocals"), vocals, accompaniment, with_mix=False)
    assert error.value.code == "bad-request"


def test_nothing_wrong_passes_and_silence_is_nothing_wrong() -> None:
    silent = levels("vocals", silent=True, rms_db=decibel.FLOOR, peak_db=decibel.FLOOR)
    assert flags(report(silent, levels("no_vocals"))) == []


@pytest.mark.parametrize(
    "stem, mix, metric, words",
    [
        (levels("vocals", not_finite=3, not_finite_at=((1.0, 1.1),)), None, "nan", "not a number"),
        (levels("vocals", missing_frames=44100), None, "length", "1.00 s shorter"),
        (levels("vocals", missing_frames=-3), None, "length", "3 samples longer"),
        (levels("vocals", clipped=9, clipping=((62.0, 63.0),)), None, "clipping", "at 1:02 to 1:03"),
        (
            levels("vocals", clipped=9, clipping=((2.0, 3.0),)),
            levels("mix", clipping=((7.0, 8.0),)),
            "clipping",
            "crackle",
        ),
        (levels("vocals", dc=-0.05), None, "dc", "5.0% of full scale"),
        (levels("vocals", dc=-0.05), levels("mix", dc=-0.05), "dc", "the mix has it too"),
    ],
)
def test_faults_are_said_in_words(stem, mix, metric, words) -> None:
    ((found, text),) = flags(report(stem, mix=mix))
    assert found == metric
    assert words in text


def test_what_is_ignored_is_not_flagged() -> None:
    faulty = levels("vocals", dc=-0.05, missing_frames=44100)
    assert [metric for metric, _ in flags(replace(report(faulty), ignored=("dc",)))] == ["length"]
    assert flags(replace(report(faulty), ignored=("dc", "length"))) == []


def test_clipping_that_the_mix_has_is_no_flag() -> None:
    stem = levels("vocals", clipped=9, clipping=((2.0, 3.0),))
    assert flags(report(stem, mix=levels("mix", clipping=((2.5, 4.0),)))) == []


def test_a_lossy_codecs_padding_is_no_flag() -> None:
    stem = levels("vocals", missing_frames=-1105)
    assert flags(report(stem), lossy=True) == []
    assert flags(report(stem), lossy=False) != []


def test_bleed_over_the_threshold_is_flagged_with_its_range() -> None:
    curve = [decibel.FLOOR] * 4 + [-14.0] * 6 + [decibel.FLOOR] * 10
    ((metric, text),) = flags(report(bleed=bleeding(-14.0, curve)))
    assert (metric, text) == ("bleed", "vocal audible in no_vocals at 0:02 to 0:05, about -14 dB")


@pytest.mark.parametrize("score, limit, flagged", [(-19.9, -20.0, True), (-20.1, -20.0, False), (-29.0, -30.0, True)])
def test_the_score_decides_against_the_rules_threshold(score, limit, flagged) -> None:
    assert bool(flags(report(bleed=bleeding(score, [score] * 20), bleed_db=limit))) is flagged


@pytest.mark.parametrize("reverse, share, flagged", [(-20.0, 0.8, True), (-30.0, 0.8, False), (-20.0, 0.4, False)])
def test_a_vocal_stem_that_is_the_band_turned_down_is_flagged(reverse, share, flagged) -> None:
    found = flags(report(levels("vocals"), bleed=bleeding(-100.0, [decibel.FLOOR] * 20, reverse, share)))
    assert [metric for metric, _ in found] == ["reverse"] * flagged


@pytest.mark.parametrize("apart, flagged", [(decibel.FLOOR, True), (-12.1, True), (-11.9, False), (0.0, False)])
def test_two_stems_of_one_sound_are_flagged_in_words(apart, flagged) -> None:
    bleed = replace(bleeding(-100.0, [decibel.FLOOR] * 20, -0.1, 0.5), apart_db=apart)
    said = [("reverse", "vocals and no_vocals are the same sound: nothing was separated")]
    assert flags(report(levels("vocals"), bleed=bleed)) == said * flagged
    assert flags(replace(report(levels("vocals"), bleed=bleed), ignored=("reverse",))) == []


def test_a_threshold_under_everything_flags_the_whole_song_with_the_score() -> None:
    ((metric, text),) = flags(report(bleed=bleeding(-80.0, [decibel.FLOOR] * 20), bleed_db=-90.0))
    assert (metric, text) == ("bleed", "vocal audible in no_vocals at 0:00 to 0:10, about -80 dB")


def test_many_ranges_become_few_flags() -> None:
    curve = ([-10.0] * 2 + [decibel.FLOOR] * 4) * 40
    assert 1 <= len(flags(report(bleed=bleeding(-10.0, curve)))) <= 8


def test_stems_that_do_not_add_up_are_flagged_where() -> None:
    null = np.full(20, -60.0)
    null[6:10] = -3.0
    ((metric, text),) = flags(report(), null)
    assert metric == "null"
    assert "at 0:03 to 0:05" in text


def test_clicks_that_the_mix_has_are_no_seams() -> None:
    seams = {"vocals": ((5.0, 40.0), (7.0, 50.0)), "mix": ((5.0, 40.0),)}
    ((metric, text),) = flags(report(levels("vocals")), seams=seams)
    assert metric == "seam"
    assert "at 0:07, where" in text


def test_unknown_thresholds_are_refused() -> None:
    with pytest.raises(StemdError, match="unknown threshold"):
        Thresholds.read({"bleed": -20})


def test_clock_and_span() -> None:
    assert [clock(each) for each in (0, 9.9, 72, 3723)] == ["0:00", "0:09", "1:12", "1:02:03"]
    assert span(72.0, 79.5) == "at 1:12 to 1:19"
    assert span(72.0, 72.9) == "at 1:12"


@given(st.lists(st.booleans(), max_size=60), st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_runs_give_the_mask_back_and_joined_closes_gaps(values: list[bool], gap: int) -> None:
    mask = np.array(values, dtype=bool)
    again = np.zeros_like(mask)
    for start, end in runs(mask):
        again[start:end] = True
    assert (again == mask).all()
    ends = list(runs(joined(mask, gap)))
    assert all(after[0] - before[1] > gap for before, after in pairwise(ends))
    assert (joined(mask, gap) >= mask).all()
    assert len(few(mask, gap, 3)) <= 3


def test_ranges_stay_few() -> None:
    ranges = Ranges(gap=0)
    for start in range(0, 100_000, 10):
        ranges.add(start, start + 5)
    found = ranges.seconds(10)
    assert len(found) <= MOST
    assert found[0][0] == 0.0
    assert found[-1][1] == pytest.approx(9999.5)


def seams_of(sound: np.ndarray, blocks: int) -> SeamMeter:
    meter = SeamMeter(8000, 1, segment=1.0, overlap=0.25)
    for start in range(0, len(sound), blocks):
        meter.feed(sound[start : start + blocks], 26.0)
    return meter


@pytest.mark.parametrize("blocks", [100, 1111, 8000, 50000])
def test_a_step_where_segments_meet_is_found_and_elsewhere_is_not(blocks: int) -> None:
    smooth = (0.3 * np.sin(2 * np.pi * 200 * np.arange(40000) / 8000)).astype(np.float32)[:, None]
    assert seams_of(smooth, blocks).found == []
    at_border, elsewhere = smooth.copy(), smooth.copy()
    at_border[6000 * 3 :] += 0.3  # the fourth segment starts
    elsewhere[6000 * 3 + 700 :] += 0.3
    assert [round(when, 4) for when, _ in seams_of(at_border, blocks).found] == [2.25]
    assert seams_of(elsewhere, blocks).found == []


def test_the_end_of_a_segment_is_a_border_too() -> None:
    smooth = np.zeros((40000, 1), dtype=np.float32)
    smooth[14000:] += 0.1  # the second segment, from 6000 on, ends
    assert [when for when, _ in seams_of(smooth, 3000).found] == [1.75]
