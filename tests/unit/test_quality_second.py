"""The second look: which seconds are looked at again, and what becomes of a flag."""

from __future__ import annotations

import json

import pytest

from stemd.quality import decibel
from stemd.quality.report import Bleed, Flag, Levels, Report, Thresholds
from stemd.quality.second import LESS_DB, Looked, SecondLook, confirmed
from stemd.quality.suspects import CONTEXT, LONGEST, Suspect, Suspects, suspects

VOCALS = Levels("vocals", 44100, 2, 44100 * 600, 0, -20.0, -6.0, -5.9, 0, 0, (), 0.0, False, (), 0, ())


def report(*ranges: tuple[float, float], curve: tuple[float, ...] = (), seconds: float = 600.0) -> Report:
    flags = tuple(Flag("bleed", start, end, -14.0, -20.0, f"vocal audible at {start:g}") for start, end in ranges)
    bleed = Bleed("no_vocals", -14.0, -14.0, 0.5, None, None, None, None, 0.5, curve or (-14.0,) * int(seconds * 2))
    return Report(
        title="song", verdict="flagged", seconds=seconds, mix=None, stems=(VOCALS,), bleed=(bleed,), vocals="vocals",
        accompaniment="no_vocals", accompaniment_from="file", null_db=None, null_of=(), seam_db=None,
        thresholds=Thresholds(), flags=flags, curves={}, step=0.5,
    )  # fmt: skip


def test_a_range_is_looked_at_with_context_and_ranges_that_touch_share_it():
    found = suspects(report((100.0, 102.0), (107.0, 110.0), (300.0, 301.0)))
    assert found.spans == ((100 - CONTEXT, 110 + CONTEXT), (300 - CONTEXT, 301 + CONTEXT))
    assert [(each.first, each.last) for each in found.ranges] == [(100, 102), (107, 110), (300, 301)]


def test_nothing_before_the_beginning_nor_behind_the_end():
    found = suspects(report((1.0, 3.0), (598.0, 600.0)))
    assert found.spans == ((0.0, 3 + CONTEXT), (598 - CONTEXT, 600.0))


def test_of_a_long_range_only_the_loudest_seconds_are_looked_at():
    curve = tuple(-10.0 if 400 <= n / 2 < 430 else -18.0 for n in range(1200))
    found = suspects(report((0.0, 600.0), curve=curve))
    assert found.ranges == (Suspect(0, 600, 400, 400 + LONGEST),)
    assert found.spans == ((400 - CONTEXT, 430 + CONTEXT),)


def test_other_flags_are_not_looked_at():
    clipped = Flag("clipping", 1.0, 2.0, 0.0, 0.0, "clipped")
    told = report((5.0, 6.0))
    mixed = type(told)(**{name: getattr(told, name) for name in told.__slots__} | {"flags": (clipped,)})
    assert suspects(mixed) == Suspects((), ())


def test_a_flag_says_whether_it_was_found_again_and_always_stays():
    told = confirmed(report((5.0, 6.0), (20.0, 22.0)), {(5.0, 6.0): -16.2, (20.0, 22.0): -20.0 - LESS_DB - 3})
    again, missed = told.flags
    assert told.verdict == "flagged"
    assert again.text == "vocal audible at 5; heard again by the second look, about -16 dB"
    assert again.as_json()["second_look_db"] == -16.2
    assert missed.text == "vocal audible at 20; the second look does not confirm it"
    shown = json.loads(json.dumps(told.as_json(), allow_nan=False))["second_look"]
    assert [each["confirmed"] for each in shown["ranges"]] == [True, False]
    assert (
        shown["text"] == "the second look does not confirm a vocal at 0:20 to 0:22 (first look -14 dB, second -33 dB)"
    )


def test_nothing_at_all_is_said_as_such():
    told = confirmed(report((5.0, 6.0)), {(5.0, 6.0): decibel.FLOOR})
    assert told.flags[0].as_json()["second_look_db"] is None
    assert told.second is not None
    assert told.second.as_json()["ranges"][0]["found_db"] is None
    assert "second nothing" in told.second.text


def test_a_range_that_was_not_looked_at_stays_flagged():
    told = confirmed(report((5.0, 6.0)), {(7.0, 8.0): -60.0})
    assert [flag.second for flag in told.flags] == [None]
    assert told.verdict == "flagged"


@pytest.mark.parametrize("found, stands", [(-20.0 - LESS_DB, False), (-20.0 - LESS_DB + 0.01, True)])
def test_the_border(found, stands):
    assert SecondLook(-20.0 - LESS_DB, (Looked(0, 1, -14.0, found),)).as_json()["ranges"][0]["confirmed"] is stands
    assert ("heard again" in confirmed(report((5.0, 6.0)), {(5.0, 6.0): found}).flags[0].text) is stands
