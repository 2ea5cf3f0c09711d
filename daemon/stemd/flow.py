"""What follows what: the only code that knows. Pure; no effects, no clock."""

from __future__ import annotations

from dataclasses import replace

from stemd.errors import StemdError
from stemd.model import (
    MODEL_CODES,
    Change,
    Doubted,
    Failed,
    Finished,
    Held,
    Job,
    Outcome,
    Result,
    Retry,
    Stage,
    Status,
    Withdrawn,
)

MAX_ATTEMPTS = 3
"""So often a stage is started before its file is put aside."""

MAX_INTERRUPTIONS = 10
"""So often the daemon may die during one stage of one job before that file is suspected of killing it."""


def after(job: Job, outcome: Outcome) -> Change:
    """Say where `job`, which was running its stage, goes after `outcome`."""
    match outcome:
        case Finished():
            return _finished(job, outcome)
        case Held():
            return _held(job, outcome)
        case Doubted():
            return Change(Stage.RECHECK, Status.WAITING, outcome.note, reasons=outcome.reasons)
        case Retry():
            return _retry(job, outcome)
        case Failed():
            return failing(job, outcome)
        case Withdrawn():
            return cancelled(job, outcome.reason, outcome.code)


def _finished(job: Job, outcome: Finished) -> Change:
    text = outcome.note or f"{job.stage} finished"
    if job.again:
        return Change(Stage.RETIRE, Status.DONE, text, again=False, facts=outcome)
    if job.stage is Stage.DELIVER and job.for_review:
        return Change(job.stage, Status.HELD, text, reason=why_held(job.present), facts=outcome)
    following = job.stage.following
    if following is not None:
        heard = () if job.stage is Stage.RECHECK else None  # what CHECK would have had heard need not be, after all
        return Change(following, Status.WAITING, text, reasons=heard, facts=outcome)
    if job.failing:
        return Change(job.stage, Status.FAILED, text, code=job.code, reason=job.reason, hint=job.hint, facts=outcome)
    return Change(job.stage, Status.DONE, text, reason=same_as(job.twin) if job.twin else "", facts=outcome)


def _held(job: Job, outcome: Held) -> Change:
    """A result to be heard is still to be published for the listener; anything else waits where it is."""
    text = "; ".join(outcome.reasons)
    if job.stage in {Stage.CHECK, Stage.RECHECK}:
        heard = Finished(hearing=outcome.hearing)
        return Change(Stage.DELIVER, Status.WAITING, text, reasons=outcome.reasons, facts=heard)
    return held(job, text, outcome.code)


def _retry(job: Job, outcome: Retry) -> Change:
    if job.others and not job.approved and outcome.code in MODEL_CODES:  # the listener has another result
        return given_up(job, outcome.reason)
    if outcome.counts and job.attempts - job.interruptions >= MAX_ATTEMPTS:
        tried = f"{outcome.reason}; tried {MAX_ATTEMPTS} times"
        return failing(job, Failed(outcome.code or "attempts", tried, outcome.hint or f"see: stemd why {job.id}"))
    attempts, code = (job.attempts, "") if outcome.counts else (job.attempts - 1, outcome.code)
    repeat = Change(
        job.stage, Status.WAITING, outcome.reason, attempts=attempts, interruptions=job.interruptions,
        delay=outcome.after, code=code, reason=outcome.reason, hint=outcome.hint,
    )  # fmt: skip
    return _with_own_fault(job, repeat)


def _with_own_fault(job: Job, repeat: Change) -> Change:
    """A failing job keeps its own fault, whatever its stage is repeated for."""
    return replace(repeat, code=job.code, reason=job.reason, hint=job.hint) if job.failing else repeat


def failing(job: Job, fault: Failed) -> Change:
    """A job that cannot succeed has its source put aside by RETIRE; where even that fails, the source stays.

    Where only a further result cannot be made, the listener still has the others; where only the second look cannot,
    what the first one found stands.
    """
    if job.stage is Stage.RECHECK:
        return _not_looked(fault.message)
    if job.again:
        return as_before(fault.message, fault.code, fault.hint)
    if job.others and not job.approved and not job.failing:
        return given_up(job, fault.message)
    return _put_aside(job, fault)


def _put_aside(job: Job, fault: Failed) -> Change:
    stage, status = (Stage.RETIRE, Status.FAILED) if job.stage is Stage.RETIRE else (Stage.RETIRE, Status.WAITING)
    return Change(
        stage, status, f"{job.stage}: {fault.message}", code=fault.code, reason=fault.message, hint=fault.hint,
        failing=True,
    )  # fmt: skip


def _not_looked(why: str) -> Change:
    return Change(Stage.DELIVER, Status.WAITING, f"no second look: {why}; what the first one found stands")


def recovered(job: Job) -> Change:
    """Say where a job goes that was RUNNING when the daemon died: the same stage again."""
    interruptions = job.interruptions + 1
    if interruptions >= MAX_INTERRUPTIONS:
        message = f"the daemon died {interruptions} times while it was at {job.stage}"
        return failing(job, Failed("interrupted", message, "the file may be at fault; try it with: stemd retry"))
    text = f"the daemon had stopped during {job.stage}; once more"
    repeat = Change(job.stage, Status.WAITING, text, attempts=job.attempts, interruptions=interruptions)
    return _with_own_fault(job, repeat)


def duplicate(twin: Job) -> Change:
    """A second file of a content that `twin` answers for: only its source is left to retire."""
    text = same_as(twin.id)
    return Change(Stage.RETIRE, Status.WAITING, text, reason=text, twin=twin.id)


def same_as(twin: int) -> str:
    """Say why a job has nothing to make."""
    return f"same recording as job {twin}"


def answered(job: Job, twin: Job) -> Change | None:
    """Say what the end of its twin means for a waiting duplicate; None while the twin has not ended."""
    if twin.status is Status.FAILED:
        return failing(replace(job, stage=Stage.TAKE), Failed(twin.code, twin.reason, twin.hint))
    if twin.status is Status.CANCELLED:
        return retried(f"job {twin.id} was cancelled")
    return None


def retried(text: str) -> Change:
    """From the beginning, with a clean slate."""
    return Change(Stage.TAKE, Status.WAITING, text, approved=False, twin=0, failing=False, present=Result())


def held(job: Job, reason: str, code: str) -> Change:
    """Nothing can go on before a person has decided."""
    if job.stage is Stage.RECHECK:
        return _not_looked(reason)
    if job.others and not job.approved:
        return given_up(job, reason)
    return Change(job.stage, Status.HELD, reason, code=code, reason=reason, hint="stemd retry, when there is more room")


def cancelled(job: Job, text: str, code: str = "") -> Change:
    """Nothing more is done; the source stays where it is."""
    if job.again:
        return as_before(text, code)
    return Change(job.stage, Status.CANCELLED, text, code=code, reason=text)


def stopped(job: Job, change: Change, text: str) -> Change:
    """Say where a job goes that was asked to stop, and whose stage led to `change`: nowhere, unless it has ended.

    What the stage has left for the user is kept in mind; a review copy is taken back.
    """
    if change.status.ended:
        return change
    kept = change.facts if change.status is Status.WAITING else Finished()
    return replace(cancelled(job, text), facts=kept)


def redelivered(who: str) -> Change:
    """The files of a job that is done are made once more; its source has been dealt with."""
    return Change(Stage.DELIVER, Status.WAITING, f"{who} asked for its files once more", again=True, failing=False)


def as_before(why: str, code: str = "", hint: str = "") -> Change:
    """Files that were to be made once more are not: the job stays as it was, done."""
    text = f"not delivered again: {why}"
    story = f"{text}; {hint}" if hint else text
    return Change(Stage.RETIRE, Status.DONE, story, code=code, reason=text, hint=hint, again=False)


def reviewable(job: Job) -> Job:
    """Hand on a job that waits for a listener. Raises StemdError "not-now" for any other."""
    if job.status is not Status.HELD or job.stage is not Stage.DELIVER or not job.for_review:
        raise StemdError(
            "not-now", f"job {job.id} does not wait for a review; it is {job.status} at {job.stage}",
            "see: stemd review list",
        )  # fmt: skip
    return job


def cancellable(job: Job) -> Job:
    """Hand on a job that has not ended. Raises StemdError "not-now" for any other."""
    if job.status.ended:
        raise StemdError("not-now", f"job {job.id} is {job.status} already", f"see: stemd why {job.id}")
    return job


def approved(job: Job, who: str, number: int | None = None) -> Change:
    """A person has listened: the stems of one result, the newest unless told, go to the outbox.

    Raises StemdError "no-such-result".
    """
    chosen = next((result for result in job.results if result.number == (number or job.result)), None)
    if chosen is None:
        raise StemdError("no-such-result", f"job {job.id} has no result {number}", f"see: stemd review show {job.id}")
    text = f"approved by {who}" + (f": result {chosen.number}" if job.others else "")
    return Change(Stage.DELIVER, Status.WAITING, text, approved=True, present=chosen, others=_without(job, chosen))


def rejected(job: Job, who: str, why: str) -> Change:
    """A person has listened: the source is put aside with the reason."""
    said = f"rejected by {who}" + (f": {why}" if why else "")
    return _put_aside(job, Failed("rejected", said, "mend the recording or pick another preset"))


def rerun(job: Job, who: str, preset: str, model: str = "") -> Change:
    """A person wants to hear another separation beside the ones that there are."""
    wanted = Result(max(result.number for result in job.results) + 1, preset, model)
    text = f"{who} asked for result {wanted.number}: {made_with(wanted)}"
    return Change(Stage.NORMALISE, Status.WAITING, text, present=wanted, others=job.results)


def given_up(job: Job, why: str) -> Change:
    """A further result cannot be made: back to the newest of those that wait for the listener."""
    newest = max(job.others, key=lambda result: result.number)
    text = f"no result {job.result} ({made_with(job.present)}): {why}"
    return Change(
        Stage.DELIVER, Status.HELD, text, reason=why_held(newest), present=newest,
        others=tuple(result for result in job.others if result != newest),
    )  # fmt: skip


def why_held(result: Result) -> str:
    """Say why a result waits for a listener."""
    return "; ".join(result.reasons) or "nothing is flagged; compare it with the result before"


def made_with(result: Result) -> str:
    """Say what a result is made with, in a few words."""
    if not result.preset:
        return "as the rule says"
    return f"preset {result.preset}" + (f" with {result.model}" if result.model else "")


def _without(job: Job, chosen: Result) -> tuple[Result, ...]:
    return tuple(result for result in job.results if result != chosen)
