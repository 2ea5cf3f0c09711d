"""What waiting jobs are said to need before they start."""

from dataclasses import replace

import pytest

from stemd import lanes, results
from stemd.config import load
from stemd.files import write_fact
from stemd.model import Headroom, Job, Measurement, Mix, ModelCard, Rung, Source, Stage, Stat
from stemd.planner import Candidate, choose
from stemd.service.dispatch import Dispatch, newcomers

MIB = 1 << 20
CONFIG = '[daemon]\nstate_dir = "state"\n[[rule]]\nname = "r"\ninbox = "in"\noutbox = "out"\nmodel = "demo"\n'


@pytest.fixture
def candidate(tmp_path):
    (tmp_path / "config.toml").write_text(CONFIG)
    settings = load(tmp_path / "config.toml")
    dispatch = Dispatch(settings, lambda _: None)
    job = Job(id=1, rule="r", path=b"/in/a.wav", name=b"a.wav", stat=Stat(1 * MIB, 0, 0))

    def made(number: int, stage: Stage, now: float = 0.0, **facts: float) -> Candidate:
        waiting = replace(job, id=number, stage=stage, **facts)
        return dispatch.candidates([waiting], {"r": settings.rules[0]}, Headroom(0.0), now, tmp_path)[0]

    return made


@pytest.mark.parametrize(
    "stage, ram",
    [
        (Stage.TAKE, 0),
        (Stage.NORMALISE, 128),
        (Stage.CHECK, 256),
        (Stage.RECHECK, 256),
        (Stage.DELIVER, 128),
        (Stage.RETIRE, 0),
    ],
)
def test_every_stage_that_computes_asks_for_memory(candidate, stage, ram):
    assert candidate(1, stage).need.ram == ram * MIB


def test_two_stages_are_not_promised_the_same_memory_and_the_second_says_what_it_lacks(candidate):
    waiting = [candidate(1, Stage.DELIVER), candidate(2, Stage.CHECK)]
    plan = choose(waiting, [], Headroom(0.0, ram=300 * MIB, ram_total=4096 * MIB), 0.0)
    assert [start.job for start in plan.starts] == [1]
    assert plan.waits == {2: "needs 0.3 GiB RAM, 0.1 free"}


def test_a_clock_that_was_set_back_makes_nobody_wait(candidate):
    assert candidate(1, Stage.TAKE, now=100.0, changed=90.0, due=130.0).due == 130.0
    assert candidate(1, Stage.TAKE, now=100.0, changed=9000.0, due=9030.0).due == 0.0


def test_a_separation_asks_by_its_rungs_only(candidate):
    assert candidate(1, Stage.SEPARATE).need.ram == 0
    assert all(option.need.ram for option in candidate(1, Stage.SEPARATE).options)


CARD = ModelCard("demo", "d1", ("drums", "vocals"), 44100, 2, 4.0, {"drums": (0,), "vocals": (0,)})


@pytest.fixture
def separation(tmp_path):
    """A job that waits to be separated, and its dispatch."""
    (tmp_path / "config.toml").write_text(CONFIG + 'stems = ["vocals", "no_vocals"]\n')
    settings = load(tmp_path / "config.toml")
    dispatch = Dispatch(settings, lambda _: CARD)
    job = Job(id=1, rule="r", path=b"/in/a.wav", name=b"a.wav", stat=Stat(1 * MIB, 0, 0), stage=Stage.SEPARATE)
    mix = Mix(44100, 2, 44100, 0.0, 1.0, 1.0, Source("wav", "pcm", 44100, 2, "stereo", 1.0), digest="m1")
    (tmp_path / "work" / "1").mkdir(parents=True)
    write_fact(tmp_path / "work" / "1" / "mix.json", mix)

    def asked() -> Candidate:
        rules = {"r": settings.rules[0]}
        return dispatch.candidates([job], rules, Headroom(0.0), 0.0, tmp_path / "work")[0]

    return dispatch, asked, results.separation_key(job, mix, settings.rules[0], CARD, 4.0)


def test_what_a_waiting_job_is_about_to_look_for_is_wanted(separation):
    """It must not be dropped while hours or a pause keep the job waiting: what is kept under its key must stay."""
    dispatch, asked, key = separation
    assert asked().key == key
    assert dispatch.wanted == {key}


@pytest.mark.parametrize("there, kept", [((), False), (("drums",), False), (("vocals",), True), (CARD.sources, True)])
def test_a_separation_whose_stems_are_there_asks_for_no_engine(separation, tmp_path, there, kept):
    _, asked, key = separation
    folder = tmp_path / "state" / "results" / key
    folder.mkdir(parents=True)
    for stem in there:
        (folder / f"{stem}.new").touch()
    results.add(folder, {stem: folder / f"{stem}.new" for stem in there}, {})
    candidate = asked()
    assert candidate.kept is kept
    assert bool(candidate.need.ram) is kept


FOUR = ModelCard("ft", "d2", ("drums", "bass", "other", "vocals"), 44100, 2, 7.8, {
    "drums": (0,), "bass": (1,), "other": (2,), "vocals": (3,)
}, members=4)  # fmt: skip


@pytest.mark.parametrize(
    "stems, recipe, passes",
    [
        (("vocals", "no_vocals"), {"shifts": 1, "overlap": 0.0}, 1),
        (("vocals", "no_vocals"), {"shifts": 0, "overlap": 0.5}, 2),
        (("vocals", "no_vocals"), {"shifts": 5, "overlap": 0.5, "residual": "add"}, 40),
        (FOUR.sources, {"shifts": 5, "overlap": 0.5}, 40),
        (("kazoo",), {"shifts": 1, "overlap": 0.0}, 1),
    ],
)
def test_shifts_members_and_overlap_make_the_passes(separation, stems, recipe, passes):
    dispatch, _, _ = separation
    assert lanes.passes(stems, replace(dispatch.settings.rules[0], **recipe), FOUR) == passes


def test_a_rule_with_more_shifts_is_not_given_up_by_what_one_with_fewer_took(separation, tmp_path):
    dispatch, _, _ = separation
    dispatch.settings.daemon.state_dir.mkdir()
    (tmp_path / "work").rename(dispatch.settings.daemon.state_dir / "work")
    (rule,), rung = dispatch.settings.rules, Rung("cpu", "auto", 1, 4.0)
    job = Job(id=1, rule="r", path=b"/in/a.wav", name=b"a.wav", stat=Stat(1 * MIB, 0, 0), stage=Stage.SEPARATE)
    quick, best = replace(rule, shifts=1, overlap=0.0), replace(rule, shifts=5, overlap=0.5)
    for passes, seconds in ((1.0, 300.0), (20.0, 400.0)):
        dispatch.learn([Measurement("demo", "cpu", "auto", 1, 4.0, 1, 0, seconds, passes)])
    assert dispatch.limit(job, quick, rung) == 4 * 300 + 120
    assert dispatch.limit(job, best, rung) == 4 * 3000 + 120


@pytest.mark.parametrize("rules, shown", [(1, 200), (10, 200), (20, 100), (200, 10), (5000, 5)])
def test_many_rules_show_fewer_of_their_newcomers_each(rules, shown):
    assert newcomers(rules) == shown
