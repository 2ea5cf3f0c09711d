"""What follows what: the table, and what must hold for every job and outcome."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemd import flow
from stemd.model import ARROWS, Artifact, Doubted, Failed, Finished, Held, Job, Retry, Stage, Stat, Status, Withdrawn

JOB = Job(1, "karaoke", b"/in/a.wav", b"a.wav", Stat(1, 2, 3), status=Status.RUNNING, attempts=1)
BAD = Failed("no-audio", "a.wav holds no audio", "send a recording")


def at(stage: Stage, **more) -> Job:
    return replace(JOB, stage=stage, **more)


AGAIN = at(Stage.DELIVER, again=True)


@pytest.mark.parametrize(
    "change",
    [
        flow.after(AGAIN, Finished("3 files")),
        flow.after(AGAIN, BAD),
        flow.after(replace(AGAIN, attempts=3), Retry(2, "the encoder died", counts=True)),
        flow.recovered(replace(AGAIN, interruptions=flow.MAX_INTERRUPTIONS - 1)),
        flow.cancelled(replace(AGAIN, status=Status.WAITING), "cancelled by ann"),
    ],
)
def test_a_job_that_is_delivered_once_more_is_done_however_that_ends(change):
    """Its source has been dealt with: nothing may put it aside now."""
    assert (change.stage, change.status, change.again) == (Stage.RETIRE, Status.DONE, False)
    assert change.status in ARROWS[Status.RUNNING] & ARROWS[Status.WAITING]


def test_a_redelivery_waits_for_its_surroundings_and_outlasts_the_daemon():
    full = flow.after(AGAIN, Retry(30, "no space left", counts=False, code="outbox-full"))
    for change in (full, flow.recovered(AGAIN)):
        assert (change.stage, change.status, change.again) == (Stage.DELIVER, Status.WAITING, None)


@pytest.mark.parametrize(
    "job, outcome, stage, status",
    [
        (at(Stage.TAKE), Finished(), Stage.NORMALISE, Status.WAITING),
        (at(Stage.NORMALISE), Finished(), Stage.SEPARATE, Status.WAITING),
        (at(Stage.SEPARATE), Finished(), Stage.CHECK, Status.WAITING),
        (at(Stage.CHECK), Finished(), Stage.DELIVER, Status.WAITING),
        (at(Stage.CHECK), Doubted("vocal audible", ()), Stage.RECHECK, Status.WAITING),
        (at(Stage.RECHECK), Finished(), Stage.DELIVER, Status.WAITING),
        (at(Stage.RECHECK), Held(("vocal audible",)), Stage.DELIVER, Status.WAITING),
        (at(Stage.RECHECK), Retry(0, "out of memory", counts=False), Stage.RECHECK, Status.WAITING),
        (at(Stage.DELIVER), Finished(), Stage.RETIRE, Status.WAITING),
        (at(Stage.RETIRE), Finished(), Stage.RETIRE, Status.DONE),
        # A result to be heard is published for the listener first, then waits for the decision.
        (at(Stage.CHECK), Held(("vocal audible",)), Stage.DELIVER, Status.WAITING),
        (at(Stage.DELIVER, reasons=("vocal audible",)), Finished(), Stage.DELIVER, Status.HELD),
        (at(Stage.DELIVER, reasons=("vocal audible",), approved=True), Finished(), Stage.RETIRE, Status.WAITING),
        (at(Stage.SEPARATE), Held(("needs 5.1 GiB GPU, 3.2 free",)), Stage.SEPARATE, Status.HELD),
        # What cannot succeed has its source put aside before it is FAILED.
        (at(Stage.NORMALISE), BAD, Stage.RETIRE, Status.WAITING),
        (at(Stage.RETIRE, failing=True), Finished(), Stage.RETIRE, Status.FAILED),
        (at(Stage.RETIRE, failing=True), BAD, Stage.RETIRE, Status.FAILED),
        (at(Stage.TAKE), Withdrawn("vanished", "gone"), Stage.TAKE, Status.CANCELLED),
        (at(Stage.SEPARATE), Retry(5, "engine died", counts=True), Stage.SEPARATE, Status.WAITING),
        (at(Stage.SEPARATE, attempts=3), Retry(5, "engine died", counts=True), Stage.RETIRE, Status.WAITING),
        (at(Stage.DELIVER, attempts=9), Retry(5, "outbox full", counts=False), Stage.DELIVER, Status.WAITING),
        # Deaths of the daemon are not the file's fault.
        (at(Stage.SEPARATE, attempts=5, interruptions=3), Retry(5, "x", counts=True), Stage.SEPARATE, Status.WAITING),
    ],
)
def test_what_follows_what(job, outcome, stage, status):
    change = flow.after(job, outcome)
    assert (change.stage, change.status) == (stage, status)


def test_a_second_look_that_is_content_takes_back_why_it_should_be_heard():
    doubted = flow.after(at(Stage.CHECK), Doubted("vocal audible", ("vocal audible",)))
    assert doubted.reasons == ("vocal audible",)
    assert flow.after(at(Stage.RECHECK, reasons=doubted.reasons), Finished()).reasons == ()


@pytest.mark.parametrize(
    "change",
    [
        flow.after(at(Stage.RECHECK), BAD),
        flow.after(at(Stage.RECHECK, attempts=3), Retry(5, "engine died", counts=True)),
        flow.held(at(Stage.RECHECK), "needs 5.1 GiB at most on this machine", "out-of-memory"),
        flow.recovered(at(Stage.RECHECK, interruptions=flow.MAX_INTERRUPTIONS - 1)),
    ],
)
def test_whatever_stops_a_second_look_what_the_first_found_stands(change):
    assert (change.stage, change.status, change.reasons) == (Stage.DELIVER, Status.WAITING, None)
    assert change.text.startswith("no second look: ")


def test_a_stopped_job_goes_no_further_and_remembers_what_it_has_delivered():
    made = (Artifact(b"/out/a/vocals.wav", "ee", 7),)
    deliver, review = at(Stage.DELIVER), at(Stage.DELIVER, reasons=("bleed",))
    outbox = flow.stopped(deliver, flow.after(deliver, Finished(artifacts=made)), "cancelled by ann")
    assert (outbox.status, outbox.text, outbox.facts.artifacts) == (Status.CANCELLED, "cancelled by ann", made)
    heard = flow.stopped(review, flow.after(review, Finished(artifacts=made)), "cancelled by ann")
    assert (heard.status, heard.facts.artifacts) == (Status.CANCELLED, None)  # the copy is taken back
    too_late = flow.after(at(Stage.RETIRE), Finished())
    assert flow.stopped(at(Stage.RETIRE), too_late, "cancelled by ann") is too_late


def test_a_fault_of_the_surroundings_costs_no_attempt():
    change = flow.after(at(Stage.DELIVER, attempts=2), Retry(60, "outbox full", counts=False, code="outbox-full"))
    assert (change.attempts, change.delay, change.code) == (1, 60, "outbox-full")


def test_a_failing_job_keeps_its_fault_while_the_failed_folder_is_full():
    failing = at(Stage.RETIRE, failing=True, code="no-audio", reason="a.wav holds no audio", hint="send a recording")
    change = flow.after(failing, Retry(60, "failed folder full", counts=False, code="failed-full"))
    assert (change.code, change.reason, change.hint) == (failing.code, failing.reason, failing.hint)


def test_what_was_delivered_is_done_however_long_its_source_could_not_be_put_away():
    change = flow.after(at(Stage.RETIRE), Retry(60, "no space left", counts=False, code="archive-full"))
    assert (change.status, change.code, change.reason) == (Status.WAITING, "archive-full", "no space left")
    waited = at(Stage.RETIRE, code=change.code, reason=change.reason)
    done = flow.after(waited, Finished())
    assert (done.status, done.code, done.reason) == (Status.DONE, "", "")
    of_a_twin = flow.after(replace(waited, twin=3), Finished())
    assert (of_a_twin.status, of_a_twin.reason) == (Status.DONE, "same recording as job 3")


def test_a_finished_stage_begins_the_next_with_a_clean_slate():
    change = flow.after(at(Stage.NORMALISE, attempts=2, interruptions=1), Finished())
    assert (change.attempts, change.interruptions, change.reason, change.code) == (0, 0, "", "")


def test_a_file_that_kills_the_daemon_again_and_again_is_put_aside():
    job = at(Stage.SEPARATE)
    for deaths in range(1, flow.MAX_INTERRUPTIONS + 1):
        change = flow.recovered(replace(job, interruptions=deaths - 1))
        assert (change.stage is Stage.RETIRE) == (deaths == flow.MAX_INTERRUPTIONS)


outcomes = st.one_of(
    st.just(Finished()),
    st.just(Held(("listen",))),
    st.builds(Retry, st.floats(0, 60), st.just("again"), st.booleans()),
    st.just(BAD),
    st.just(Withdrawn("vanished", "gone")),
)
jobs = st.builds(
    at,
    st.sampled_from(Stage),
    attempts=st.integers(1, 12),
    interruptions=st.integers(0, 9),
    reasons=st.sampled_from([(), ("listen",)]),
    approved=st.booleans(),
    code=st.sampled_from(["", "no-audio"]),
    failing=st.booleans(),
)


@given(jobs, outcomes)
def test_every_outcome_leads_along_an_arrow_and_never_backwards(job, outcome):
    change = flow.after(job, outcome)
    assert change.status in ARROWS[Status.RUNNING]
    assert change.status is not Status.RUNNING
    assert list(Stage).index(change.stage) >= list(Stage).index(job.stage)
    assert change.text


@given(st.lists(outcomes, max_size=60))
def test_no_job_is_worked_on_for_ever_unless_its_surroundings_are_at_fault(said):
    job, starts = replace(JOB, attempts=0, status=Status.WAITING), 0
    for outcome in said:
        if job.status is not Status.WAITING:
            break
        starts += isinstance(outcome, Retry) and outcome.counts
        running = replace(job, status=Status.RUNNING, attempts=job.attempts + 1)
        change = flow.after(running, outcome)
        job = replace(
            running, stage=change.stage, status=change.status, attempts=change.attempts, code=change.code,
            reasons=job.reasons if change.reasons is None else change.reasons,
            failing=job.failing if change.failing is None else change.failing,
        )  # fmt: skip
    assert starts <= flow.MAX_ATTEMPTS * (len(Stage) + 1)
