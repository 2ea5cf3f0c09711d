"""Hours, days, changes of the clock, and giving way."""

from __future__ import annotations

import itertools
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemd.model import Gpu, Headroom
from stemd.planner import Gate
from stemd.schedule import Manners, Turn, active, gate, next_change, yielding

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = [
    BERLIN,
    ZoneInfo("America/New_York"),
    ZoneInfo("Australia/Lord_Howe"),
    ZoneInfo("Asia/Kolkata"),
    ZoneInfo("UTC"),
]


def at(text: str, fold: int = 0, zone: ZoneInfo = BERLIN) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()


def wall(moment: float | None, zone: ZoneInfo = BERLIN) -> str:
    return "" if moment is None else f"{datetime.fromtimestamp(moment, zone):%a %d.%m. %H:%M %Z}"


NIGHTS = ("22:00-07:00", "sat", "sun")


@pytest.mark.parametrize(
    "moment, works, change",
    [
        ("2026-11-23 21:59", False, "Mon 23.11. 22:00 CET"),
        ("2026-11-23 22:00", True, "Tue 24.11. 07:00 CET"),
        ("2026-11-24 06:59", True, "Tue 24.11. 07:00 CET"),
        ("2026-11-24 07:00", False, "Tue 24.11. 22:00 CET"),
        ("2026-11-27 23:00", True, "Mon 30.11. 07:00 CET"),  # Friday night, the weekend, Sunday night
        ("2026-11-28 12:00", True, "Mon 30.11. 07:00 CET"),
    ],
)
def test_nights_and_weekends(moment, works, change):
    assert active(NIGHTS, at(moment), BERLIN) is works
    assert wall(next_change(NIGHTS, at(moment), BERLIN)) == change


def test_a_night_belongs_to_the_day_it_begins():
    schedule = ("fri 22:00-07:00",)
    assert not active(schedule, at("2026-11-27 06:00"), BERLIN)
    assert active(schedule, at("2026-11-28 06:00"), BERLIN)
    assert wall(next_change(schedule, at("2026-11-28 08:00"), BERLIN)) == "Fri 04.12. 22:00 CET"


@pytest.mark.parametrize("schedule", [(), ("mon-sun",), ("00:00-12:00", "12:00-24:00")])
def test_always_never_changes(schedule):
    assert active(schedule, at("2026-11-23 21:59"), BERLIN)
    assert next_change(schedule, at("2026-11-23 21:59"), BERLIN) is None


@pytest.mark.parametrize(
    "schedule, moment, change",
    [
        # 29 March 2026, 02:00 becomes 03:00: what begins at 02:30 begins at 03:00, what ends then ends at 03:00.
        (("02:30-05:00",), "2026-03-29 00:00", "Sun 29.03. 03:00 CEST"),
        (("22:00-02:30",), "2026-03-29 00:00", "Sun 29.03. 03:00 CEST"),
        (("22:00-07:00",), "2026-03-28 23:00", "Sun 29.03. 07:00 CEST"),
        # 25 October 2026, 03:00 becomes 02:00: the hour comes twice.
        (("22:00-07:00",), "2026-10-24 23:00", "Sun 25.10. 07:00 CET"),
        (("22:00-02:30",), "2026-10-24 23:00", "Sun 25.10. 02:30 CEST"),
    ],
)
def test_when_the_clock_is_changed(schedule, moment, change):
    assert wall(next_change(schedule, at(moment), BERLIN)) == change


def test_a_night_of_changed_clocks_has_the_hours_it_really_has():
    lengths = []
    for evening in ("2026-03-28 22:00", "2026-10-24 22:00", "2026-06-01 22:00"):
        end = next_change(("22:00-07:00",), at(evening), BERLIN)
        assert end is not None
        lengths.append((end - at(evening)) / 3600)
    assert lengths == [8, 10, 9]


@given(
    schedule=st.lists(
        st.sampled_from(["22:00-07:00", "sat", "mon-fri 20:00-06:00", "02:15-02:45", "01:30-03:10", "sun 00:00-02:30"]),
        min_size=1,
        max_size=3,
    ),
    day=st.sampled_from(
        ["2026-03-27", "2026-10-23", "2026-03-06", "2026-10-30", "2026-04-03", "2026-10-02", "2026-07-01"]
    ),
    zone=st.sampled_from(ZONES),
    minutes=st.integers(0, 4 * 1440),
)
@settings(max_examples=60, deadline=None)
def test_the_next_change_is_the_first_minute_at_which_it_differs(schedule, day, zone, minutes):
    """Compared with a walk through every minute, over changes of the clock of an hour and of half an hour."""
    now = at(f"{day} 00:00", zone=zone) + 60 * minutes
    change = next_change(schedule, now, zone)
    present = active(schedule, now, zone)
    walked = next(
        (now + 60 * step for step in range(1, 3 * 1440) if active(schedule, now + 60 * step, zone) != present), None
    )
    if walked is None:
        assert change is None or change > now + 60 * (3 * 1440 - 1)
    else:
        assert change == walked


def test_the_local_time_zone_is_the_default(monkeypatch):
    import time  # noqa: PLC0415 - its zone is changed here

    monkeypatch.setenv("TZ", "Australia/Lord_Howe")
    time.tzset()
    try:
        zone = ZoneInfo("Australia/Lord_Howe")
        for moment in ("2026-04-04 12:00", "2026-10-03 20:00", "2026-11-23 12:00"):  # two changes of half an hour
            now = at(moment, zone=zone)
            for schedule in (("22:00-01:45",), ("01:45-07:00",), ("sun",)):
                assert active(schedule, now) == active(schedule, now, zone)
                assert next_change(schedule, now) == next_change(schedule, now, zone)
    finally:
        monkeypatch.undo()
        time.tzset()


# ------------------------------------------------------------------------------------------------------------- manners


def run(loads: list[tuple[float, float]], limit: float = 50, before: Turn | None = None) -> list[bool]:
    """Walk through (seconds, percent)."""
    manners, given_way = Manners(before or Turn()), []
    for now, load in loads:
        manners = yielding(manners, Headroom(now, cpu_percent=load), limit, 0, now)
        given_way.append(manners.cpu.gives_way)
    return given_way


def test_a_short_burst_is_no_reason_to_give_way_and_a_lasting_load_is():
    assert run([(0, 90), (5, 90), (8, 20), (9, 90), (18, 90)]) == [False] * 5
    assert run([(0, 90), (5, 90), (10, 90)]) == [False, False, True]


def test_work_resumes_after_a_minute_of_real_calm():
    busy = Turn(gives_way=True)
    assert run([(0, 10), (59, 10), (60, 10)], before=busy) == [True, True, False]
    assert run([(0, 10), (50, 60), (61, 10), (120, 10)], before=busy) == [True] * 4
    assert run([(0, 45), (100, 45)], before=busy) == [True, True]  # under the limit, but not clearly


def test_without_a_limit_nothing_ever_gives_way():
    assert run([(0, 100), (100, 100)], limit=0, before=Turn(gives_way=True)) == [False, False]


@given(loads=st.lists(st.floats(0, 100), min_size=10, max_size=100), limit=st.floats(1, 100))
def test_it_does_not_flutter(loads, limit):
    """At one look a second, between two turns lie at least ten seconds, and sixty before work resumes."""
    states = run(list(enumerate(loads)), limit)
    turns = [second for second in range(1, len(states)) if states[second] != states[second - 1]]
    for first, second in itertools.pairwise(turns):
        assert second - first >= (10 if states[second] else 60)


def test_each_card_is_given_way_on_its_own():
    def look(now: float) -> Headroom:
        return Headroom(now, gpus=(Gpu(0, "a", "x", 1, 1, 95), Gpu(1, "b", "y", 1, 1, 3)))

    manners = Manners()
    for now in range(12):
        manners = yielding(manners, look(now), 0, 40, now)
    assert gate((), manners, 0).yielded == {"cuda:0"}
    assert gate((), manners, 0).closed == ""


def test_the_gate_says_why_it_is_closed():
    noon = at("2026-11-24 12:00")
    assert gate(("22:00-07:00",), Manners(), noon, zone=BERLIN) == Gate("outside hours, next 22:00")
    assert gate(("sat 08:00-20:00",), Manners(), noon, zone=BERLIN) == Gate("outside hours, next sat 08:00")
    assert gate(("22:00-07:00",), Manners(), noon, paused=True, zone=BERLIN) == Gate("paused", finish=False)
    assert gate(("07:00-22:00",), Manners(), noon, zone=BERLIN) == Gate()
    assert gate((), Manners(Turn(gives_way=True)), noon).closed == "gives way: other programs use the processor"
