"""How the daemon's doings are logged: what about, how loud, in which words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loguru import logger

from stemd.model import Failed, Retry, Stage, Status

if TYPE_CHECKING:
    from loguru import Logger

    from stemd.model import Change, Job, Outcome
    from stemd.service.runner import Ended


def about(job: Job) -> Logger:
    """Give a logger for what happens to a job; the journal finds it again by number, rule and stage."""
    return logger.bind(job=job.id, rule=job.rule, stage=str(job.stage))


def log_end(ended: Ended, change: Change) -> None:
    """Say in one line how a stage ended."""
    rung = ended.start.rung
    entry = about(ended.job).bind(seconds=round(ended.seconds, 1))
    entry = entry.bind(device=rung.device) if rung else entry
    text = ended.outcome.message if isinstance(ended.outcome, Failed) else change.text
    entry.bind(code=change.code).log(severity(ended.job, ended.outcome, change), "{}: {}", shown(ended.job), text)


def severity(job: Job, outcome: Outcome, change: Change) -> str:
    """Choose the level at which the end of a stage is logged. job: as it was when the stage ran.

    Warnings are what an administrator should see in the morning, each fault once and not with every new try.
    """
    if not isinstance(outcome, Failed | Retry):
        return "SUCCESS" if change.status is Status.HELD else "INFO"
    put_aside = change.stage is Stage.RETIRE and (job.stage is not Stage.RETIRE or change.status is Status.FAILED)
    if put_aside and change.status is not Status.CANCELLED:
        return "ERROR"
    interrupted = isinstance(outcome, Retry) and not outcome.counts and not outcome.code
    if interrupted or change.status is Status.CANCELLED:
        return "INFO"
    same = outcome.code == job.code or (job.failing and job.due > 0)  # a failing job keeps the code of its failure
    told_before = isinstance(outcome, Retry) and not outcome.counts and same
    told_with_traceback = outcome.code == "internal"
    return "DEBUG" if told_before or told_with_traceback else "WARNING"


def shown(job: Job) -> str:
    """Give the job's name for a log, which holds nothing but UTF-8."""
    return job.name.decode("utf-8", "replace")
