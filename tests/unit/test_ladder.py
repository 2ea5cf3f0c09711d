"""The ladder: its rungs, what they need, what a fall teaches, and that it always ends."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemd import ladder, lanes
from stemd.model import Fall, Gpu, Headroom, Measurement, ModelCard, Need, Rule, Rung, Stage, Use
from stemd.planner import Candidate, choose

GIB, MIB = 1 << 30, 1 << 20
SOURCES = ("drums", "bass", "other", "vocals")
DEMO = ladder.Network("htdemucs", 1_000_000, 1)
HTDEMUCS = ladder.Network("htdemucs", 42_000_000, 1)


def steps(*devices: str, segment: float = 8.0, training: float = 8.0) -> list[tuple[str, int, float]]:
    return [(rung.device, rung.batch, rung.segment) for rung in ladder.rungs(devices, "auto", segment, training)]


def learned(
    rung: Rung, ram: float, vram: float = 0.0, speed: float = 1.0, device: str = "", passes: float = 1.0
) -> Measurement:
    return Measurement(
        "htdemucs",
        device or rung.device,
        rung.precision,
        rung.batch,
        rung.segment,
        round(ram * GIB),
        round(vram * GIB),
        speed,
        passes,
    ).of_one_pass()


def test_batch_then_segment_then_processor_then_its_segment():
    assert steps("cuda:0", "cpu") == [
        ("cuda:0", 8, 8), ("cuda:0", 4, 8), ("cuda:0", 2, 8), ("cuda:0", 1, 8), ("cuda:0", 1, 4), ("cuda:0", 1, 2),
        ("cpu", 1, 8), ("cpu", 1, 4), ("cpu", 1, 2),
    ]  # fmt: skip


def test_a_machine_without_card_starts_on_the_processor_with_the_full_segment():
    assert steps("cpu") == [("cpu", 1, 8), ("cpu", 1, 4), ("cpu", 1, 2)]


def test_equal_rungs_of_two_cards_stand_side_by_side():
    assert steps("cuda:0", "cuda:1")[:4] == [("cuda:0", 8, 8), ("cuda:1", 8, 8), ("cuda:0", 4, 8), ("cuda:1", 4, 8)]


@pytest.mark.parametrize("segment, lengths", [(8, [8, 4, 2]), (6, [6, 3]), (4, [4, 2]), (2, [2]), (1.5, [1.5])])
def test_a_segment_shrinks_to_a_quarter_of_the_training_length_but_never_grows(segment, lengths):
    assert [length for _, _, length in steps("cpu", segment=segment)] == lengths


@pytest.mark.parametrize(
    "setting, devices",
    [
        ("auto", ("cuda:0", "cuda:1", "cpu")),
        ("cpu", ("cpu",)),
        ("cuda", ("cuda:0", "cuda:1")),
        ("cuda:1", ("cuda:1",)),
    ],
)
def test_the_setting_decides_about_devices(setting, devices):
    cards = tuple(Gpu(index, str(index), "card", 8 * GIB, 8 * GIB) for index in (0, 1))
    assert ladder.devices(setting, Headroom(0, gpus=cards)) == devices


def test_a_card_that_the_engine_cannot_use_is_none():
    cards = tuple(Gpu(index, str(index), "card", 8 * GIB, 8 * GIB) for index in (0, 1))
    assert ladder.devices("auto", Headroom(0, gpus=cards), {"cuda:0"}) == ("cuda:1", "cpu")
    assert ladder.devices("auto", Headroom(0, gpus=cards), {"cuda:0", "cuda:1"}) == ("cpu",)
    assert ladder.devices("cuda:0", Headroom(0, gpus=cards), {"cuda:0"}) == ("cuda:0",)  # asked for by name: waits


def test_without_cards_auto_is_the_processor_and_cuda_still_asks_for_a_card():
    assert ladder.devices("auto", Headroom(0)) == ("cpu",)
    assert ladder.devices("cuda", Headroom(0)) == ("cuda:0",)


@pytest.mark.parametrize(
    "network, segment, least, most",
    [
        (HTDEMUCS, 7.8, 1.6, 2.0),
        (DEMO, 4.0, 0.3, 0.7),
        (ladder.Network("hdemucs", 83_600_000), 22.0, 3.0, 4.0),  # measured: 2.96 GiB
        (ladder.Network("demucs", 133_800_000), 10.0, 1.6, 2.2),  # measured: 1.59 GiB
        (ladder.Network("unheard-of", 42_000_000), 7.8, 1.6, 2.0),
    ],
)
def test_the_first_formula_is_a_little_above_what_was_measured(network, segment, least, most):
    assert least <= ladder.first_need(Rung("cpu", "auto", 1, segment), network).ram / GIB <= most


@given(
    parameters=st.integers(100_000, 500_000_000), members=st.integers(1, 4), segment=st.floats(1, 60), two=st.booleans()
)
def test_every_rung_needs_less_of_its_memory_than_the_one_above(parameters, members, segment, two):
    network = ladder.Network("htdemucs", parameters, members)
    devices = ("cuda:0", "cuda:1", "cpu") if two else ("cuda:0", "cpu")
    needs: dict[str, list[int]] = defaultdict(list)
    for rung in ladder.rungs(devices, "auto", segment, segment):
        need = ladder.need(rung, network)
        needs[rung.device].append(need.vram if rung.on_gpu else need.ram)
        assert need.ram > 0
        assert (need.vram > 0) == rung.on_gpu
    for column in needs.values():
        assert column == sorted(set(column), reverse=True)


def test_what_was_learned_replaces_the_formula():
    rung = Rung("cuda:1", "auto", 2, 7.8)
    at_home = [learned(rung, 1, 4), learned(rung, 2, 3)]
    elsewhere = [learned(rung, 9, 9, device="cuda:0"), learned(rung, 9, device="cpu")]
    vram = round(4 * GIB * 1.15) + ladder.CONTEXT
    assert ladder.need(rung, HTDEMUCS, at_home + elsewhere) == Need(round(2 * GIB * 1.15), vram)
    assert ladder.need(rung, HTDEMUCS, elsewhere).ram == round(9 * GIB * 1.15)  # another card's figure beats a formula
    assert ladder.need(rung, HTDEMUCS, elsewhere[1:]) == ladder.first_need(rung, HTDEMUCS)
    assert ladder.need(Rung("cuda:1", "auto", 4, 7.8), HTDEMUCS, at_home) != ladder.need(rung, HTDEMUCS, at_home)


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_what_more_lanes_hold_is_promised_too(device):
    """By formula, and where a peak was learned with another number of them; on the device that they lie on."""
    rung, few, many = Rung(device, "auto", 1, 8.0), replace(HTDEMUCS, lanes=2 * MIB), replace(HTDEMUCS, lanes=50 * MIB)
    peak = Measurement("m", device, "auto", 1, 8.0, 900 * MIB, 0 if device == "cpu" else 700 * MIB, 1.0, 2.0, 16 * MIB)
    for known, factor in (([], 1.0), ([peak.of_one_pass()], ladder.MARGIN)):
        less, more = ladder.need(rung, few, known), ladder.need(rung, many, known)
        grown = round(48 * 8 * MIB * factor)
        assert (more.ram - less.ram, more.vram - less.vram) == pytest.approx(
            (0, grown) if rung.on_gpu else (grown, 0), abs=2
        )
    assert ladder.need(rung, few, [peak.of_one_pass()]) == ladder.need(rung, HTDEMUCS, [replace(peak, lanes=0)])


@pytest.mark.parametrize(
    "card, segment, shifts, base, most",
    [
        (ModelCard("a", "", SOURCES, 44100, 2, 7.8, dict.fromkeys(SOURCES, (0,))), 7.8, (1, 5), 311, 368),
        (ModelCard("a", "", SOURCES, 44100, 2, 7.8, dict.fromkeys(SOURCES, (0,))), 7.8, (1, 20), 311, 634),
        (ModelCard("b", "", SOURCES, 44100, 2, 44.0, dict.fromkeys(SOURCES, (0, 1, 2, 3))), 44.0, (1, 2), 953, 1270),
    ],
)
def test_what_lanes_hold_is_a_little_above_what_was_measured(card, segment, shifts, base, most):
    """MiB of a network that computes nothing, in float32, by shifts."""
    inbox = Path("/in")
    rule = Rule(name="r", inbox=inbox, outbox=inbox, review=inbox, failed=inbox, archive=inbox, model="m")
    few, many = (lanes.held(SOURCES, replace(rule, shifts=number), card) * segment / MIB for number in shifts)
    assert most - base <= many - few <= 1.35 * (most - base)


def test_learned_speed_gives_the_expected_seconds_and_the_limit():
    rungs = ladder.rungs(("cpu",), "auto", 8, 8)
    options = ladder.options(rungs, HTDEMUCS, [learned(rungs[0], 1, speed=1.5)], audio=200.0)
    assert [option.seconds for option in options] == [300.0, None, None]
    assert ladder.time_limit(options[0], HTDEMUCS, 200) == 1320
    assert ladder.time_limit(options[1], HTDEMUCS, 200) > 10_000


def test_a_costlier_recipe_gets_the_time_that_it_takes_more():
    """What a cheap rule cost must not have a dear one with the same model killed."""
    (rung, *_) = ladder.rungs(("cpu",), "auto", 8, 8)
    dear = replace(HTDEMUCS, passes=40.0)
    cheap, best = learned(rung, 1, speed=0.2, passes=4 / 3), learned(rung, 1, speed=5.0, passes=40.0)
    assert ladder.options([rung], dear, [cheap], audio=200.0)[0].seconds == pytest.approx(1200)
    assert ladder.options([rung], dear, [best], audio=200.0)[0].seconds == pytest.approx(1000)
    assert ladder.options([rung], HTDEMUCS, [best], audio=200.0)[0].seconds == pytest.approx(25)
    unknown = ladder.options([rung], dear, [], audio=200.0)[0]
    assert ladder.time_limit(unknown, dear, 200) > 40 * 200


# --------------------------------------------------------------------------------------------------------------- falls


def test_a_fall_leads_to_the_next_rung_and_the_last_one_to_nowhere():
    rungs = ladder.rungs(("cuda:0", "cpu"), "auto", 8, 8)
    for above, expected in itertools.pairwise(rungs):
        falls = [Fall(rung, "vram" if rung.on_gpu else "ram", GIB, 0) for rung in rungs[: rungs.index(above) + 1]]
        assert ladder.below(rungs, falls) == expected
    assert ladder.below(rungs, [Fall(rung, "ram", GIB, 0) for rung in rungs]) is None
    assert ladder.below(rungs, []) == rungs[0]


def test_a_fall_on_one_card_speaks_against_as_large_a_rung_on_another():
    rungs = ladder.rungs(("cuda:0", "cuda:1"), "auto", 8, 8)
    assert ladder.below(rungs, [Fall(rungs[0], "vram", GIB, 0)]) == rungs[2]


def test_a_fallen_rung_and_all_larger_ones_need_clearly_more_than_there_was():
    rungs = ladder.rungs(("cuda:0", "cpu"), "auto", 8, 8)
    fall = Fall(rungs[2], "vram", 8 * GIB, 0)
    needs = [option.need for option in ladder.options(rungs, DEMO, [], [fall])]
    assert [need.vram for need in needs[:3]] == [10 * GIB] * 3
    assert needs[3] == ladder.need(rungs[3], DEMO)
    assert needs[6] == ladder.need(rungs[6], DEMO)
    small = ladder.options(rungs, DEMO, [], [Fall(rungs[6], "ram", 100 * MIB, 0)])
    assert small[6].need.ram >= 356 * MIB  # a quarter of little is nothing


def test_other_jobs_falls_count_for_some_hours_and_never_close_a_rung_for_good():
    rungs = ladder.rungs(("cpu",), "auto", 8, 8)
    others = [Fall(rungs[0], "ram", 8 * GIB, at) for at in (0.0, 10.0, 20.0)]
    assert ladder.options(rungs, DEMO, [], (), others, now=3600)[0].need.ram == 10 * GIB
    assert ladder.options(rungs, DEMO, [], (), others, now=22_000)[0].need == ladder.need(rungs[0], DEMO)


def test_a_fall_in_more_room_than_the_rung_is_known_to_need_was_another_programs_doing():
    rungs = ladder.rungs(("cpu",), "auto", 8, 8)
    others = [Fall(rungs[0], "ram", 8 * GIB, 0.0)]
    known = [learned(rungs[0], 2)]
    assert ladder.options(rungs, DEMO, known, (), others)[0].need.ram == round(2 * GIB * 1.15)
    assert ladder.options(rungs, DEMO, known, others)[0].need.ram == 10 * GIB  # the job itself goes down all the same
    assert ladder.options(rungs, DEMO, [learned(rungs[0], 9)], (), others)[0].need.ram == round(9 * GIB * 1.15)


def test_a_job_that_fell_off_the_last_rung_has_no_options():
    rungs = ladder.rungs(("cpu",), "auto", 8, 8)
    falls = [Fall(rung, "ram", GIB, 0) for rung in rungs]
    assert ladder.options(rungs, DEMO, [], falls) == ()
    assert len(ladder.options(rungs, DEMO, [], falls[:2])) == 3


def test_a_fall_is_put_down_with_what_the_engine_could_have_had():
    on_card, on_cpu = ladder.rungs(("cuda:0",), "auto", 8, 8)[0], Rung("cpu", "auto", 1, 8)
    headroom = Headroom(5, ram=GIB, gpus=(Gpu(0, "u", "card", 8 * GIB, GIB),))
    own, promised = Use(ram=2 * GIB, vram=4 * GIB), Need(2 * GIB, 3 * GIB)
    assert ladder.fallen(on_card, promised, headroom, own, 9, model="m") == Fall(on_card, "vram", 5 * GIB, 9, "m")
    assert (
        ladder.fallen(on_card, promised, headroom, Use(), 9).room == 3 * GIB
    )  # unknown use: at least what was promised
    assert ladder.fallen(on_card, promised, headroom, own, 9, killed=True) == Fall(on_card, "ram", 3 * GIB, 9)
    assert ladder.fallen(on_cpu, promised, Headroom(5), own, 9) == Fall(on_cpu, "ram", 2 * GIB, 9)


def test_a_rung_that_failed_a_job_twice_is_left_out_for_it():
    rungs = ladder.rungs(("cuda:0", "cpu"), "auto", 8, 8)
    falls = [Fall(rungs[3], "vram", room, 0) for room in (4 * GIB, 6 * GIB)]
    assert [option.rung for option in ladder.options(rungs, DEMO, [], falls)] == list(rungs[4:])


def test_the_missing_figure_is_that_of_the_lowest_rung():
    rungs = ladder.rungs(("cuda:0", "cpu"), "auto", 8, 8)
    falls = [Fall(rungs[0], "vram", 3 * GIB, 0), Fall(rungs[-1], "ram", 2 * GIB, 0), Fall(rungs[-2], "ram", 3 * GIB, 0)]
    assert ladder.missing(falls) == "needs 2.5 GiB RAM, 2.0 free"
    assert ladder.missing(falls[:1]) == "needs 3.8 GiB GPU, 3.0 free"


@given(
    rooms=st.lists(st.tuples(st.integers(GIB // 4, 12 * GIB), st.integers(0, 12 * GIB)), min_size=1, max_size=30),
    hunger=st.floats(0.2, 30),
    card=st.booleans(),
    parameters=st.sampled_from([1_000_000, 42_000_000, 200_000_000]),
)
@settings(max_examples=100, deadline=None)
def test_it_always_ends_and_no_rung_is_tried_again_without_clearly_more_room(rooms, hunger, card, parameters):
    """However wrong the formula is and however memory comes and goes: separated, held, or waiting for room."""
    network = ladder.Network("htdemucs", parameters)
    falls: list[Fall] = []
    for tick in range(10_000):
        ram, vram = rooms[tick % len(rooms)]
        gpus = (Gpu(0, "u", "card", 12 * GIB, vram),) if card else ()
        headroom = Headroom(tick, ram, 12 * GIB, gpus)
        rungs = ladder.rungs(ladder.devices("auto", headroom), "auto", 7.8, 7.8)
        options = ladder.options(rungs, network, [], falls, now=tick)
        if (falls and ladder.below(rungs, falls) is None) or not options:
            assert ladder.missing(falls).startswith("needs ")
            break  # held
        plan = choose([Candidate(1, "a", Stage.SEPARATE, 0, options=options)], [], headroom, tick)
        if not plan.starts:
            assert plan.waits[1].startswith("needs ")
            if tick > len(rooms) * 40:
                break  # waits for room that never comes, and says so
            continue
        rung = plan.starts[0].rung
        assert rung is not None
        truth = ladder.first_need(rung, network)
        kind, room = ("vram", vram) if rung.on_gpu else ("ram", ram)
        if (truth.vram if rung.on_gpu else truth.ram) * hunger <= room:
            break  # separated
        earlier = [fall.room for fall in falls if fall.rung == rung]
        assert all(room >= 1.25 * before for before in earlier)
        falls.append(Fall(rung, kind, room, tick))
    else:
        pytest.fail("endless")
    assert max(Counter(fall.rung for fall in falls).values(), default=0) <= 2
