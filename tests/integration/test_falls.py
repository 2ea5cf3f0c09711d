"""Falls are remembered over restarts, for as long as they count, each for its own model."""

from __future__ import annotations

import pytest

from stemd import ladder
from stemd.model import Fall, Rung
from stemd.service.falls import Falls


def fall(at: float, model: str = "htdemucs", segment: float = 7.8) -> Fall:
    return Fall(Rung("cuda:0", "auto", 4, segment), "vram", 5 << 30, at, model)


def test_a_restart_forgets_nothing(tmp_path):
    falls = Falls(tmp_path / "falls.json")
    falls.add(7, fall(1.0))
    falls.add(7, fall(2.0, segment=3.9))
    falls.add(8, fall(3.0, "demo"))
    again = Falls(tmp_path / "falls.json")
    assert again.of(7) == (fall(1.0), fall(2.0, segment=3.9))
    assert again.others(9, "htdemucs") == [fall(1.0), fall(2.0, segment=3.9)]
    assert again.others(8, "demo") == []


def test_an_ended_jobs_falls_serve_later_jobs_for_some_hours(tmp_path):
    falls = Falls(tmp_path / "falls.json")
    falls.add(7, fall(10.0))
    falls.forget(7, 20.0)
    assert falls.of(7) == ()
    assert Falls(tmp_path / "falls.json").others(7, "htdemucs") == [fall(10.0)]
    late = 11.0 + ladder.REMEMBERED
    falls.add(8, fall(late))
    assert Falls(tmp_path / "falls.json").others(9, "htdemucs") == [fall(late)]


@pytest.mark.parametrize("text", ["", "{", "[1]", '[{"job": 1}]', '[{"job": 1, "rung": {}, "kind": 1}]', "null"])
def test_a_damaged_file_means_that_nothing_is_remembered(tmp_path, text):
    (tmp_path / "falls.json").write_text(text)
    falls = Falls(tmp_path / "falls.json")
    assert falls.others(0, "htdemucs") == []
    falls.add(1, fall(1.0))
    assert Falls(tmp_path / "falls.json").of(1) == (fall(1.0),)


def test_a_disk_that_takes_nothing_is_no_error(tmp_path):
    falls = Falls(tmp_path / "missing" / "falls.json")
    falls.add(1, fall(1.0))
    assert falls.of(1) == (fall(1.0),)
