"""Several results of one held job: what follows what, and by which rule each is made."""

from dataclasses import replace
from pathlib import Path

import pytest

from stemd import flow
from stemd.errors import StemdError
from stemd.model import Failed, Finished, Held, Job, Result, Retry, Rule, Stage, Stat, Status, effective
from stemd.model.presets import PRESETS

FIRST = Result(1, key="k1", reasons=("vocal audible",))
HELD = Job(
    7, "r", b"/in/a.wav", b"a.wav", Stat(1, 2, 3), Stage.DELIVER, Status.HELD, key="k1", reasons=("vocal audible",)
)
AGAIN = replace(
    HELD, stage=Stage.SEPARATE, status=Status.RUNNING, attempts=1, result=2, preset="best", key="", reasons=(),
    others=(FIRST,),
)  # fmt: skip
RULE = Rule(
    name="r", inbox=Path("/in"), outbox=Path("/out"), review=Path("/in/_review"), failed=Path("/f"), archive=Path("/d"),
    model="mine", shifts=0, segment=5.0, stems=("vocals",), format="mp3",
)  # fmt: skip


def test_another_result_is_made_from_the_decoding_on_and_the_first_is_kept():
    change = flow.rerun(HELD, "ann", "best")
    assert (change.stage, change.status) == (Stage.NORMALISE, Status.WAITING)
    assert (change.present, change.others) == (Result(2, "best"), (FIRST,))
    assert "ann asked for result 2: preset best" in change.text


def test_numbers_go_on_after_a_third():
    third = flow.rerun(replace(HELD, result=3, others=(FIRST, Result(2, "best"))), "ann", "draft")
    assert third.present.number == 4
    assert [result.number for result in third.others] == [1, 2, 3]


@pytest.mark.parametrize("flags", [(), ("vocal audible",)])
def test_a_further_result_is_held_to_be_compared_even_if_nothing_is_flagged(flags):
    job = replace(AGAIN, stage=Stage.DELIVER, reasons=flags)
    assert job.for_review
    change = flow.after(job, Finished())
    assert change.status is Status.HELD
    assert change.reason


@pytest.mark.parametrize("number, left", [(None, 1), (2, 1), (1, 2)])
def test_the_result_that_is_approved_goes_on_alone(number, left):
    job = replace(AGAIN, stage=Stage.DELIVER, status=Status.HELD, key="k2")
    change = flow.approved(job, "ann", number)
    assert change.approved is True
    assert change.present == (FIRST if number == 1 else Result(2, "best", key="k2"))
    assert [result.number for result in change.others] == [left]


def test_a_result_that_does_not_exist_cannot_be_approved():
    with pytest.raises(StemdError, match="no result 3"):
        flow.approved(HELD, "ann", 3)


@pytest.mark.parametrize(
    "outcome",
    [
        Failed("unknown-stem", "no kazoo", "ask for another"),
        Held(("needs 5.1 GiB GPU",), "out-of-memory"),
        Retry(30, "htdemucs_ft is not there", counts=False, code="model-missing"),
    ],
)
def test_what_cannot_be_made_leaves_the_listener_the_result_before(outcome):
    change = flow.after(AGAIN, outcome)
    assert (change.stage, change.status, change.present, change.others) == (Stage.DELIVER, Status.HELD, FIRST, ())
    assert change.reason == "vocal audible"
    assert "no result 2 (preset best)" in change.text


def test_a_result_that_failed_three_times_is_given_up_and_a_full_disk_is_waited_for():
    tired = flow.after(replace(AGAIN, attempts=3), Retry(5, "engine died", counts=True))
    assert (tired.status, tired.present) == (Status.HELD, FIRST)
    full = flow.after(AGAIN, Retry(5, "disk full", counts=False, code="state-full"))
    assert (full.status, full.present) == (Status.WAITING, None)


def test_after_approval_a_fault_is_the_jobs_own():
    change = flow.after(replace(AGAIN, stage=Stage.DELIVER, approved=True), Failed("bad", "cannot", "mend"))
    assert (change.stage, change.status) == (Stage.RETIRE, Status.WAITING)


@pytest.mark.parametrize(
    "job",
    [
        replace(HELD, status=Status.DONE),
        replace(HELD, stage=Stage.SEPARATE),
        replace(HELD, status=Status.WAITING),
        replace(HELD, reasons=()),
    ],
)
def test_only_what_waits_for_a_listener_is_decided_about(job):
    with pytest.raises(StemdError, match="does not wait for a review"):
        flow.reviewable(job)


def test_another_try_begins_with_one_result():
    change = flow.retried("again")
    assert (change.present, change.others) == (Result(), ())


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_decides_about_the_sound_and_the_rule_about_the_files(preset):
    made = effective(RULE, preset)
    assert (made.model, made.shifts, made.overlap) == tuple(
        PRESETS[preset][key] for key in ("model", "shifts", "overlap")
    )
    assert made.segment == PRESETS[preset].get("segment")
    assert (made.stems, made.format, made.outbox) == (RULE.stems, RULE.format, RULE.outbox)


def test_the_first_result_is_made_as_the_rule_says_and_a_model_may_be_named():
    assert effective(RULE, "") is RULE
    made = effective(RULE, "low-memory", "mine")
    assert (made.model, made.shifts, made.segment) == ("mine", 1, None)
