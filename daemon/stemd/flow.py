"""What follows what: the only code that knows. Pure; no effects, no clock."""

from __future__ import annotations

from dataclasses import replace

from stemd.model import Change, Failed, Finished, Held, Job, Outcome, Retry, Stage, Status, Withdrawn

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
        case Retry():
            return _retry(job, outcome)
        case Failed():
            return failing(job, outcome)
        case Withdrawn():
            return cancelled(job, outcome.reason, outcome.code)


def _finished(job: Job, outcome: Finished) -> Change:
    text = outcome.note or f"{job.stage} finished"
    if job.stage is Stage.DELIVER and job.for_review:
        return Change(job.stage, Status.HELD, text, reason="; ".join(job.reasons), facts=outcome)
    following = job.stage.following
    if following is not None:
        return Change(following, Status.WAITING, text, facts=outcome)
    if job.failing:
        return Change(job.stage, Status.FAILED, text, code=job.code, reason=job.reason, hint=job.hint, facts=outcome)
    return Change(job.stage, Status.DONE, text, reason=job.reason, facts=outcome)


def _held(job: Job, outcome: Held) -> Change:
    """A result to be heard is still to be published for the listener; anything else waits where it is."""
    text = "; ".join(outcome.reasons)
    if job.stage is Stage.CHECK:
        return Change(Stage.DELIVER, Status.WAITING, text, reasons=outcome.reasons)
    return Change(job.stage, Status.HELD, text, code=outcome.code, reason=text)


def _retry(job: Job, outcome: Retry) -> Change:
    if not outcome.counts:
        return Change(
            job.stage, Status.WAITING, outcome.reason, attempts=job.attempts - 1, interruptions=job.interruptions,
            delay=outcome.after, code=job.code if job.failing else outcome.code,
            reason=job.reason if job.failing else outcome.reason, hint=job.hint if job.failing else outcome.hint,
        )  # fmt: skip
    if job.attempts - job.interruptions >= MAX_ATTEMPTS:
        tried = f"{outcome.reason}; tried {MAX_ATTEMPTS} times"
        return failing(job, Failed(outcome.code or "attempts", tried, outcome.hint or f"see: stemd why {job.id}"))
    return Change(
        job.stage, Status.WAITING, outcome.reason, attempts=job.attempts, interruptions=job.interruptions,
        delay=outcome.after, code=job.code if job.failing else "", reason=job.reason if job.failing else outcome.reason,
        hint=job.hint if job.failing else outcome.hint,
    )  # fmt: skip


def failing(job: Job, fault: Failed) -> Change:
    """A job that cannot succeed has its source put aside by RETIRE; where even that fails, the source stays."""
    stage, status = (Stage.RETIRE, Status.FAILED) if job.stage is Stage.RETIRE else (Stage.RETIRE, Status.WAITING)
    return Change(
        stage, status, f"{job.stage}: {fault.message}", code=fault.code, reason=fault.message, hint=fault.hint
    )


def recovered(job: Job) -> Change:
    """Say where a job goes that was RUNNING when the daemon died: the same stage again."""
    interruptions = job.interruptions + 1
    if interruptions >= MAX_INTERRUPTIONS:
        message = f"the daemon died {interruptions} times while it was at {job.stage}"
        return failing(job, Failed("interrupted", message, "the file may be at fault; try it with: stemd retry"))
    return Change(
        job.stage, Status.WAITING, f"the daemon had stopped during {job.stage}; once more", attempts=job.attempts,
        interruptions=interruptions, code=job.code if job.failing else "", reason=job.reason if job.failing else "",
        hint=job.hint if job.failing else "",
    )  # fmt: skip


def duplicate(twin: Job) -> Change:
    """A second file of a content that `twin` answers for: only its source is left to retire."""
    text = f"same recording as job {twin.id}"
    return Change(Stage.RETIRE, Status.WAITING, text, reason=text, twin=twin.id)


def answered(job: Job, twin: Job) -> Change | None:
    """Say what the end of its twin means for a waiting duplicate; None while the twin has not ended."""
    if twin.status is Status.FAILED:
        return failing(replace(job, stage=Stage.TAKE), Failed(twin.code, twin.reason, twin.hint))
    if twin.status is Status.CANCELLED:
        return retried(f"job {twin.id} was cancelled")
    return None


def retried(text: str) -> Change:
    """From the beginning, with a clean slate."""
    return Change(Stage.TAKE, Status.WAITING, text, reasons=(), approved=False, twin=0)


def held(job: Job, reason: str, code: str) -> Change:
    """Nothing can go on before a person has decided."""
    return Change(job.stage, Status.HELD, reason, code=code, reason=reason, hint="stemd retry, when there is more room")


def cancelled(job: Job, text: str, code: str = "") -> Change:
    """Nothing more is done; the source stays where it is."""
    return Change(job.stage, Status.CANCELLED, text, code=code, reason=text)


def approved(who: str) -> Change:
    """A person has listened: the stems go to the outbox."""
    return Change(Stage.DELIVER, Status.WAITING, f"approved by {who}", approved=True)


def rejected(job: Job, who: str, why: str) -> Change:
    """A person has listened: the source is put aside with the reason."""
    said = f"rejected by {who}" + (f": {why}" if why else "")
    return failing(
        replace(job, stage=Stage.DELIVER), Failed("rejected", said, "mend the recording or pick another preset")
    )
