"""The planner: tables of single decisions, then properties over random machines and histories."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from stemd.model import Disk, Gpu, Headroom, Need, Option, Rung, Stage, Use
from stemd.planner import QUALITY, Candidate, Gate, Limits, Plan, Promise, Warm, choose

GIB = 1 << 30
STATE, OUT = Path("/state"), Path("/out")
NOW = 1_000_000.0


def machine(ram: float = 16, cards: tuple[float, ...] = (), state: float = 100, out: float = 100) -> Headroom:
    return Headroom(
        at=NOW,
        ram=round(ram * GIB),
        ram_total=32 * GIB,
        gpus=tuple(
            Gpu(index, f"uuid-{index}", "card", 24 * GIB, round(free * GIB)) for index, free in enumerate(cards)
        ),
        disks=(Disk(STATE, 1, 500 * GIB, round(state * GIB)), Disk(OUT, 2, 500 * GIB, round(out * GIB))),
    )


def rung(device: str, batch: int = 1, segment: float = 7.8) -> Rung:
    return Rung(device, "auto", batch, segment)


def cpu(ram: float = 2, segment: float = 7.8) -> Option:
    return Option(rung("cpu", segment=segment), Need(round(ram * GIB)))


def card(index: int = 0, vram: float = 5.1, batch: int = 1, seconds: float | None = None) -> Option:
    return Option(rung(f"cuda:{index}", batch), Need(2 * GIB, round(vram * GIB)), seconds)


def job(number: int, stage: Stage = Stage.SEPARATE, rule: str = "a", **more: object) -> Candidate:
    more.setdefault("options", (cpu(),) if stage in {Stage.SEPARATE, Stage.RECHECK} else ())
    return Candidate(number, rule, stage, float(number), **more)  # type: ignore[arg-type]


def started(plan: Plan) -> list[int]:
    return [start.job for start in plan.starts]


# --------------------------------------------------------------------------------------------------- one decision each


def test_the_largest_rung_that_fits_is_taken():
    options = (card(vram=11, batch=4), card(vram=6, batch=2), card(vram=3.5), cpu())
    assert choose([job(1, options=options)], [], machine(cards=(6.5,)), NOW).starts[0].rung == rung("cuda:0", 2)


def test_what_waits_for_a_card_says_so_with_both_figures():
    plan = choose([job(1, options=(card(vram=5.1),))], [], machine(cards=(3.2,)), NOW)
    assert plan.waits == {1: "needs 5.1 GiB GPU, 3.2 free"}
    assert not plan.starts


@pytest.mark.parametrize(
    "headroom, reason",
    [
        (machine(ram=1.04), "needs 2.0 GiB RAM, 1.0 free"),
        (machine(state=2.49), "needs 2.5 GiB disk in /state, 2.4 free"),
        (machine(out=0), "needs 1.0 GiB disk in /out, 0.0 free"),
    ],
)
def test_what_is_missing_is_named(headroom, reason):
    disk = {STATE: round(2.5 * GIB), OUT: GIB}
    assert choose([job(1, need=Need(disk=disk))], [], headroom, NOW).waits == {1: reason}


def test_folders_on_one_file_system_add_up():
    headroom = replace(machine(), disks=(Disk(STATE, 7, 9 * GIB, 3 * GIB), Disk(OUT, 7, 9 * GIB, 3 * GIB)))
    plan = choose([job(1, need=Need(disk={STATE: 2 * GIB, OUT: 2 * GIB}))], [], headroom, NOW)
    assert plan.waits == {1: "needs 4.0 GiB disk in /out, 3.0 free"}
    assert plan.full == {OUT: "needs 4.0 GiB disk in /out, 3.0 free"}


def test_what_the_machine_can_never_offer_is_impossible_and_not_merely_late():
    plan = choose([job(1, options=(cpu(ram=40),))], [], machine(ram=1), NOW)
    assert plan.impossible == {1: "needs 40.0 GiB RAM, 32.0 at most on this machine"}


def test_a_running_jobs_unused_promise_is_kept_for_it():
    running = [Promise(1, "a", Stage.NORMALISE, Need(6 * GIB))]
    assert choose([job(2, options=(cpu(ram=4),))], running, machine(ram=8), NOW).waits == {
        2: "needs 4.0 GiB RAM, 2.0 free"
    }


def test_what_a_running_job_already_uses_is_not_subtracted_twice():
    running = [Promise(1, "a", Stage.NORMALISE, Need(6 * GIB), pid=77)]
    headroom = replace(machine(ram=8), own={77: Use(ram=5 * GIB)})
    assert started(choose([job(2, options=(cpu(ram=4),))], running, headroom, NOW)) == [2]


def test_an_idle_engines_memory_is_free_for_the_next_job_on_its_device():
    options = (card(vram=5.1),)
    headroom = machine(cards=(0.5,))
    assert not started(choose([job(1, options=options)], [], headroom, NOW))
    assert started(choose([job(1, options=options)], [], headroom, NOW, warm=[Warm("cuda:0", Use(GIB, 5 * GIB))])) == [
        1
    ]


def test_idle_engines_are_dropped_for_a_job_that_lacks_memory():
    plan = choose([job(1, options=(cpu(ram=6),))], [], machine(ram=4), NOW, warm=[Warm("cuda:0", Use(3 * GIB, 0))])
    assert plan.drops == ("cuda:0",)
    assert not choose([job(1)], [], machine(), NOW, warm=[Warm("cuda:0", Use(3 * GIB, 0))]).drops


def test_the_idle_checkers_memory_is_free_for_the_next_check_and_dropped_for_a_separation():
    checker, small = Warm(QUALITY, Use(ram=GIB)), machine(ram=0.5)
    check = job(1, Stage.CHECK, need=Need(GIB))
    assert choose([check], [], small, NOW).waits == {1: "needs 1.0 GiB RAM, 0.5 free"}
    assert started(choose([check], [], small, NOW, warm=[checker])) == [1]
    assert choose([job(2)], [], small, NOW, warm=[checker]).drops == (QUALITY,)


def test_what_a_stage_takes_beside_its_engine_is_promised_with_it():
    again = job(1, Stage.RECHECK, options=(cpu(ram=2),), need=Need(GIB))
    assert choose([again], [], machine(ram=2.5), NOW).waits == {1: "needs 3.0 GiB RAM, 2.5 free"}
    assert choose([again], [], machine(ram=3.5), NOW).starts[0].need.ram == 3 * GIB


def test_a_check_and_an_engine_are_not_promised_the_same_memory():
    waiting = [job(1, Stage.CHECK, need=Need(GIB)), job(2, options=(cpu(ram=2),))]
    plan = choose(waiting, [], machine(ram=2.5), NOW)
    assert started(plan) == [1]
    assert plan.waits == {2: "needs 2.0 GiB RAM, 1.5 free"}
    running = [start.promise(77) for start in plan.starts]
    used = replace(machine(ram=2.1), own={77: Use(ram=round(0.4 * GIB))})
    assert choose(waiting[1:], running, used, NOW).waits == {2: "needs 2.0 GiB RAM, 1.5 free"}


def test_one_engine_a_device_and_several_devices_at_once():
    options = (card(0), card(1))
    plan = choose([job(n, options=options) for n in (1, 2, 3)], [], machine(cards=(8, 16)), NOW)
    assert [(start.job, start.rung.device) for start in plan.starts if start.rung] == [(1, "cuda:1"), (2, "cuda:0")]
    assert plan.waits == {3: "2 jobs before it"}


def test_cards_of_different_size_each_take_what_fits():
    options = (card(0, 11, batch=4), card(1, 11, batch=4), card(0, 4), card(1, 4))
    plan = choose([job(n, options=options) for n in (1, 2)], [], machine(cards=(5, 20)), NOW)
    assert [start.rung for start in plan.starts] == [rung("cuda:1", 4), rung("cuda:0")]


def test_the_quicker_card_is_preferred_where_speeds_are_known():
    options = (card(0, seconds=90), card(1, seconds=30))
    assert choose([job(1, options=options)], [], machine(cards=(20, 8)), NOW).starts[0].rung == rung("cuda:1")


def test_a_job_waits_for_a_busy_card_and_does_not_take_the_processor():
    running = [Promise(1, "a", Stage.SEPARATE, Need(2 * GIB, 5 * GIB), rung("cuda:0"))]
    plan = choose([job(2, options=(card(), cpu()))], running, machine(cards=(8,)), NOW)
    assert plan.waits == {2: "1 job before it"}


def test_a_job_moves_to_the_processor_when_its_card_is_gone():
    assert choose([job(1, options=(card(), cpu()))], [], machine(), NOW).starts[0].rung == rung("cpu")
    assert choose([job(1, options=(card(),))], [], machine(), NOW).waits == {1: "needs a GPU, none is there"}


def test_a_card_taken_by_others_is_waited_for_a_while_and_then_the_processor_serves():
    waiting, headroom = [job(1, options=(card(), cpu()))], machine(cards=(3.2,))
    plan = choose(waiting, [], headroom, NOW, before=Plan())
    assert plan.waits == {1: "needs 5.1 GiB GPU, 3.2 free"}
    assert plan.crowded == NOW
    plan = choose(waiting, [], headroom, NOW + 119, before=plan)
    assert not plan.starts
    assert choose(waiting, [], headroom, NOW + 121, before=plan).starts[0].rung == rung("cpu")
    relaxed = choose(waiting, [], machine(cards=(9,)), NOW + 121, before=plan)
    assert relaxed.starts[0].rung == rung("cuda:0")
    assert relaxed.crowded is None


def test_a_yielded_card_is_left_alone_and_the_other_serves():
    gate = Gate(yielded=frozenset({"cuda:0"}))
    headroom = machine(cards=(20, 20))
    assert choose([job(1, options=(card(0), cpu()))], [], headroom, NOW, gate=gate).waits == {
        1: "gives way: another program uses the GPU"
    }
    assert choose([job(1, options=(card(0), card(1), cpu()))], [], headroom, NOW, gate=gate).starts[0].rung == rung(
        "cuda:1"
    )


@pytest.mark.parametrize(
    "gate, starts",
    [(Gate("paused", finish=False), []), (Gate("outside hours, next 22:00"), [6, 4, 3]), (Gate(), [6, 4, 3])],
)
def test_a_closed_gate_names_its_reason_and_lets_begun_jobs_finish(gate, starts):
    waiting = [job(number, stage) for number, stage in enumerate(Stage)]
    plan = choose(waiting, [], machine(), NOW, gate=gate, limits=Limits(taken=1, ahead=1))
    assert started(plan)[: len(starts)] == starts
    assert set(plan.waits.values()) <= ({gate.closed} if gate.closed else set(plan.waits.values())) | {
        "1 job before it"
    }


def test_jobs_not_due_wait_and_say_for_how_long():
    waiting = [job(1, due=NOW + 40), job(2, due=NOW + 90, reason="the outbox is full"), job(3, due=NOW)]
    plan = choose(waiting, [], machine(), NOW)
    assert plan.waits == {1: "tries again in 40 s", 2: "the outbox is full; tries again in 90 s"}
    assert started(plan) == [3]


def test_two_jobs_of_one_separation_key_do_not_run_at_once():
    options = (card(0), card(1))
    plan = choose([job(1, options=options, key="k"), job(2, options=options, key="k")], [], machine(cards=(8, 8)), NOW)
    assert started(plan) == [1]
    assert plan.waits == {2: "job 1 is making the same separation"}


def test_stems_that_are_kept_need_no_engine_and_no_room():
    """Nor do they wait for the engine that others wait for."""
    waiting = [
        job(1, options=(card(0),), key="a"),
        job(2, options=(card(0),), key="b"),
        job(3, options=(card(0, 99),), key="c", kept=True),
        job(4, options=(), key="a", kept=True),
    ]
    plan = choose(waiting, [], machine(cards=(8,)), NOW)
    assert [(start.job, start.rung is None) for start in plan.starts] == [(1, False), (3, True)]
    assert plan.waits[4] == "job 1 is making the same separation"


def test_unknown_memory_means_one_engine_on_its_smallest_rung():
    options = (card(0, 9, batch=4), card(0, 4), card(1, 9, batch=4), card(1, 4))
    headroom = replace(machine(cards=(20, 20)), ram=None, problems=("free memory could not be measured",))
    plan = choose([job(1, options=options), job(2, options=options)], [], headroom, NOW)
    assert [start.rung for start in plan.starts] == [rung("cuda:0")]
    assert started(choose([job(3, Stage.DELIVER)], [plan.starts[0].promise()], headroom, NOW)) == [3]


# ---------------------------------------------------------------------------------------------------- order and lanes


def test_equals_in_age_start_in_the_order_of_their_tracks():
    names = {4: b"X/10.wav", 3: b"X/2.wav", 2: b"X/1.wav", 1: b"Y/1.wav"}
    tracks = [Candidate(number, "a", Stage.TAKE, 1.0, name=name) for number, name in names.items()]
    plan = choose(tracks, [], machine(), NOW, limits=Limits(cpu_jobs=4))
    assert started(plan) == [2, 3, 4, 1]


def test_later_stages_first_then_priority_then_age():
    waiting = [job(1), job(2, priority=5), job(3), job(4, Stage.CHECK), job(5, Stage.RETIRE)]
    assert started(choose(waiting, [], machine(), NOW)) == [5, 4, 2]


def test_a_thousand_files_of_one_rule_do_not_starve_another_rules_one():
    waiting = [job(number, Stage.TAKE) for number in range(1000)] + [job(5000, Stage.TAKE, "b")]
    plan, order = Plan(), []
    for _ in range(4):
        plan = choose(waiting, [], machine(), NOW, before=plan)
        order += started(plan)
        waiting = [candidate for candidate in waiting if candidate.job not in order]
    assert order == [0, 5000, 1, 2]


def test_a_long_normalise_holds_up_neither_arrivals_nor_deliveries():
    running = [Promise(1, "a", Stage.NORMALISE)]
    waiting = [job(2, Stage.TAKE), job(3, Stage.DELIVER), job(4, Stage.CHECK)]
    plan = choose(waiting, running, machine(), NOW)
    assert started(plan) == [3, 2]
    assert plan.waits == {4: "1 job before it"}


@pytest.mark.parametrize("stage", [Stage.TAKE, Stage.DELIVER, Stage.RETIRE])
def test_a_share_that_hangs_holds_up_its_own_rule_only(stage):
    running = [Promise(1, "a", stage, hangs=True), Promise(2, "b", stage, hangs=True)]
    waiting = [job(3, stage), job(4, stage, "b"), job(5, stage, "c"), job(6, stage, "d")]
    plan = choose(waiting, running, machine(), NOW)
    assert started(plan) == [5]
    assert {number: plan.waits[number] for number in (3, 4)} == {
        3: "job 1 stands still: does the share of its rule hang?",
        4: "job 2 stands still: does the share of its rule hang?",
    }
    assert "before it" in plan.waits[6]


def test_files_that_hang_while_they_are_copied_are_no_files_on_their_way():
    running = [Promise(number, f"far{number}", Stage.TAKE, hangs=True) for number in range(4)]
    assert started(choose([job(9, Stage.TAKE)], running, machine(), NOW)) == [9]


def test_at_most_two_jobs_are_normalised_ahead_and_a_few_taken():
    waiting = [job(n, Stage.SEPARATE) for n in (1, 2)] + [job(3, Stage.NORMALISE)]
    running = [Promise(9, "a", Stage.SEPARATE, Need(2 * GIB), rung("cpu"))]
    assert choose(waiting, running, machine(), NOW).waits == {
        1: "1 job before it",
        2: "2 jobs before it",
        3: "3 jobs before it",
    }
    taken = [job(n, Stage.NORMALISE) for n in range(10, 14)]
    assert started(choose([*waiting[:2], *taken, job(20, Stage.TAKE)], running, machine(), NOW)) == []
    assert started(choose([*waiting[:2], *taken[:3], job(20, Stage.TAKE)], running, machine(), NOW)) == [20]


@pytest.mark.parametrize("priority, starts", [(1, [30]), (0, []), (-1, [])])
def test_jobs_of_lower_priority_keep_no_place_that_an_urgent_one_needs(priority, starts):
    running = [Promise(9, "a", Stage.SEPARATE, Need(2 * GIB), rung("cpu"))]
    normalised = [job(n, Stage.SEPARATE) for n in (1, 2)]
    taken = [job(n, Stage.NORMALISE) for n in range(10, 14)]
    new = job(30, Stage.TAKE, "b", priority=priority)
    assert started(choose([*normalised, *taken, new], running, machine(), NOW)) == starts
    new = replace(new, stage=Stage.NORMALISE)
    assert started(choose([*normalised, *taken, new], running, machine(), NOW)) == starts
    copying = [*running, Promise(40, "a", Stage.TAKE)]
    places = 2 if priority == 1 else 8
    new = replace(new, stage=Stage.TAKE)
    assert choose([*normalised, *taken, new], copying, machine(), NOW).waits[30] == f"{places} jobs before it"


def test_urgent_jobs_have_as_many_places_as_others_and_hold_those_up():
    running = [Promise(n, "a", Stage.TAKE, priority=5, hangs=n > 1) for n in (1, 2, 3, 4)]
    taken = [job(n, Stage.NORMALISE, "b", priority=5) for n in (10, 11, 12)]
    waiting = [*taken, job(20, Stage.TAKE, "c", priority=5), job(21, Stage.TAKE, "d")]
    assert started(choose(waiting, running, machine(), NOW, limits=Limits(cpu_jobs=2, ahead=0))) == []
    assert started(choose(waiting[1:], running, machine(), NOW, limits=Limits(cpu_jobs=2, ahead=0))) == [20]


def test_an_urgent_recording_waits_for_the_separation_that_runs_and_no_other():
    stage, rule = dict.fromkeys(range(10), Stage.TAKE), dict.fromkeys(range(10), "bulk")
    running: list[Promise] = []
    plan, separated = Plan(), []
    for tick in range(120):
        if tick == 25:
            stage[99], rule[99] = Stage.TAKE, "urgent"
        waiting = [
            job(number, at, rule[number], priority=9 if number == 99 else 0)
            for number, at in stage.items()
            if number not in {promise.job for promise in running}
        ]
        plan = choose(waiting, running, machine(), NOW, before=plan)
        running += [start.promise() for start in plan.starts]
        for promise in [promise for promise in running if not promise.rung or tick % 20 == 0]:
            running.remove(promise)
            separated += [promise.job] if promise.rung else []
            following = promise.stage.following
            stage.pop(promise.job) if following is None else stage.update({promise.job: following})
    assert separated[:4] == [0, 1, 99, 2]


def test_a_rule_whose_jobs_cannot_run_does_not_keep_other_rules_out():
    stuck = [job(n, options=(card(vram=9),)) for n in (1, 2)]
    waiting = [*stuck, job(3, Stage.NORMALISE), job(4, Stage.NORMALISE, "b")]
    assert started(choose(waiting, [], machine(cards=(1,)), NOW)) == [4]


def test_a_large_job_is_not_held_off_by_small_ones():
    """Its room is kept until it fits, as soon as it would fit without stemd's own jobs."""
    running = [Promise(1, "a", Stage.SEPARATE, Need(6 * GIB, 2 * GIB), rung("cuda:0"))]
    large = job(2, options=(Option(rung("cuda:1"), Need(8 * GIB, 4 * GIB)),))
    small = job(3, options=(Option(rung("cuda:1"), Need(3 * GIB, 4 * GIB)),))
    assert not choose([large, small], running, machine(ram=10, cards=(8, 8)), NOW).starts
    # ... but not for one that other programs keep out.
    assert started(choose([large, small], [], machine(ram=4, cards=(8, 8)), NOW)) == [3]


def test_files_not_begun_get_no_disk_that_begun_ones_will_write():
    begun = job(1, Stage.SEPARATE, need=Need(disk={STATE: 6 * GIB}))
    running = [Promise(9, "a", Stage.SEPARATE, Need(2 * GIB), rung("cpu"))]
    plan = choose([begun, job(2, Stage.TAKE, need=Need(disk={STATE: 5 * GIB}))], running, machine(state=10), NOW)
    assert plan.waits[2] == "needs 5.0 GiB disk in /state, 4.0 free"


@pytest.mark.parametrize("taken", [0, 1, 4])
def test_ten_thousand_waiting_jobs_are_planned_in_twenty_milliseconds(taken):
    """At the start, and when the intake is full."""
    need = Need(disk={STATE: GIB})
    waiting = [job(number * 7919 % 10_007, Stage.TAKE, f"r{number % 7}", need=need) for number in range(10_000)]
    waiting += [job(20_000 + number, Stage.NORMALISE, "b") for number in range(taken)]
    best = min(_timed(waiting) for _ in range(9))
    assert best < 0.020


def _timed(waiting: list[Candidate]) -> float:
    """Processor time: other programs on the machine do not count."""
    start = time.process_time()
    plan = choose(waiting, [], machine(), NOW)
    took = time.process_time() - start
    assert len(plan.waits) + len(plan.starts) == len(waiting)
    return took


# ---------------------------------------------------------------------------------------------------------- properties

sizes = st.integers(0, 20 * GIB)
cards = st.lists(st.tuples(st.integers(4 * GIB, 24 * GIB), st.integers(0, 24 * GIB)), max_size=3)


@st.composite
def headrooms(draw: st.DrawFn) -> Headroom:
    gpus = tuple(
        Gpu(index, str(index), "card", total, min(free, total)) for index, (total, free) in enumerate(draw(cards))
    )
    shared = draw(st.booleans())
    disks = (Disk(STATE, 1, 99 * GIB, draw(sizes)), Disk(OUT, 1 if shared else 2, 99 * GIB, draw(sizes)))
    return Headroom(NOW, draw(st.one_of(st.none(), sizes)), 32 * GIB, gpus, disks)


@st.composite
def candidates(draw: st.DrawFn) -> list[Candidate]:
    made = []
    for number in range(draw(st.integers(0, 25))):
        stage = draw(st.sampled_from(list(Stage)))
        options = tuple(
            Option(rung(device), Need(draw(sizes), 0 if device == "cpu" else draw(sizes)))
            for device in draw(st.lists(st.sampled_from(["cuda:0", "cuda:1", "cuda:2", "cpu"]), max_size=5))
        )
        need = Need(draw(st.integers(0, GIB)), 0, {STATE: draw(sizes) // 10, OUT: draw(sizes) // 10})
        made.append(
            Candidate(
                number,
                draw(st.sampled_from("abc")),
                stage,
                float(number),
                draw(st.integers(0, 2)),
                draw(st.sampled_from([0.0, NOW + 5])),
                "",
                need,
                options if stage in {Stage.SEPARATE, Stage.RECHECK} else (),
            )
        )
    return made


@given(waiting=candidates(), headroom=headrooms(), cpu_jobs=st.integers(1, 3), rounds=st.integers(1, 3))
@settings(max_examples=150, deadline=None)
def test_nothing_is_ever_promised_twice(waiting, headroom, cpu_jobs, rounds):
    """Whatever waits, in however many rounds, all promises together fit into what was measured."""
    running: list[Promise] = []
    limits, plan = Limits(cpu_jobs=cpu_jobs), Plan()
    for _ in range(rounds):
        plan = choose(waiting, running, headroom, NOW, limits=limits, before=plan)
        ids = [*started(plan), *plan.waits]
        assert Counter(ids) == Counter(candidate.job for candidate in waiting)
        assert all(plan.waits.values())
        running += [start.promise() for start in plan.starts]
        waiting = [candidate for candidate in waiting if candidate.job in plan.waits]
    engines = [promise for promise in running if promise.rung]
    assert len({promise.rung.device for promise in engines if promise.rung}) == len(engines)
    if headroom.ram is None:
        assert len(engines) <= 1
    else:
        assert sum(promise.need.ram for promise in running) <= headroom.ram
    for gpu in headroom.gpus:
        assert sum(p.need.vram for p in engines if p.rung and p.rung.device == gpu.device) <= gpu.free
    for volume in {disk.volume for disk in headroom.disks}:
        folders = {disk.folder: disk.free for disk in headroom.disks if disk.volume == volume}
        asked = sum(size for p in running for folder, size in p.need.disk.items() if folder in folders)
        assert asked <= max(folders.values())
    for lane in ({Stage.TAKE}, {Stage.NORMALISE, Stage.CHECK}, {Stage.DELIVER, Stage.RETIRE}):
        assert sum(promise.stage in lane for promise in running) <= cpu_jobs


@given(
    arrivals=st.lists(st.lists(st.sampled_from("xyz"), min_size=1, max_size=4), min_size=5, max_size=40),
    last=st.lists(st.booleans(), min_size=10, max_size=10),
)
@settings(max_examples=40, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_nobody_starves(arrivals, last):
    """The youngest job, and the largest that still fits, is separated soon, however many others arrive before it."""
    stage: dict[int, Stage] = {}
    rule = {-1: "lonely"}
    running: list[Promise] = []
    plan = Plan()
    for tick in range(150):
        if tick == 20:
            stage[-1] = Stage.TAKE
        for name in arrivals[tick % len(arrivals)]:
            number = len(rule)
            stage[number], rule[number] = Stage.TAKE, name
        busy = {promise.job for promise in running}
        waiting = [_on_its_way(number, rule[number], stage[number]) for number in stage if number not in busy]
        plan = choose(waiting, running, machine(ram=10, cards=(8, 8)), NOW, before=plan)
        running += [start.promise() for start in plan.starts]
        # Engines are the bottleneck: all else ends at once, of them one now and then.
        engines = [promise for promise in running if promise.rung and tick % 4 == 0]
        ending = [promise for promise in running if not promise.rung] + engines[
            -1 if last[tick // 4 % 10] and tick % 12 else 0 :
        ][:1]
        for promise in ending:
            if promise.job == -1 and promise.rung:
                return
            running.remove(promise)
            following = promise.stage.following
            stage.pop(promise.job) if following is None else stage.update({promise.job: following})
    pytest.fail(f"starved, waiting to {stage[-1]}: {plan.waits.get(-1)}")


def _on_its_way(number: int, rule: str, stage: Stage) -> Candidate:
    """The lonely job needs nearly the whole machine, the others a third."""
    ram = 9 * GIB if number < 0 else 3 * GIB
    options = tuple(Option(rung(f"cuda:{index}"), Need(ram, GIB)) for index in (0, 1))
    return Candidate(number, rule, stage, float(-number), options=options if stage is Stage.SEPARATE else ())
