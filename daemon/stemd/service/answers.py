"""Answers what people ask of the daemon, each in one line; what no longer applies is refused with the reason."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from stemd import flow, patience
from stemd.errors import StemdError
from stemd.inbox import stat_of
from stemd.ledger import facts, jobs, requests, stopping
from stemd.model import Finished, Job, Status, effective
from stemd.model.presets import PRESETS
from stemd.service.redelivery import make_ready

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stemd.ledger.requests import Request
    from stemd.model import Change, Rule
    from stemd.service.daemon import Service

_RETRIED: Final = frozenset({Status.FAILED, Status.CANCELLED, Status.HELD, Status.WAITING})
_FINDING: Final = 12.0
"""Seconds for an engine to start and find a model; without its answer by then, the separation itself finds out."""
PAUSED: Final = "paused"
"""The setting that remembers over restarts who has paused the daemon."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request on the daemon's table. now: Unix time."""

    service: Service
    request: Request
    now: float

    @property
    def who(self) -> str:
        """The user who asks."""
        return self.request.who

    def job(self) -> Job:
        """Find the job that the request is about."""
        if self.request.job is None:
            raise StemdError("no-such-job", f"{self.request.verb} needs the number of a job", "see: stemd jobs")
        return jobs.get(self.service.ledger, self.request.job)

    def change(self, job: Job, change: Change, told: str) -> str:
        """Bring the job where the answer says, and write that down with it; returns the answer."""
        with self.service.ledger.transaction():
            jobs.apply_within(self.service.ledger, job, change, self.now)
            return self.tell(told)

    def tell(self, told: str) -> str:
        """Write down that it is done, in the transaction that does it; returns the answer."""
        requests.answer(self.service.ledger, self.request, ok=True, text=told, now=self.now)
        return told


def answer(asked: Asked) -> str:
    """Do what is asked, and say what was done. Raises StemdError for what cannot be done."""
    verb = VERBS.get(asked.request.verb)
    if verb is None:
        raise StemdError("unknown-request", f"stemd does not know how to {asked.request.verb}", "restart the daemon")
    return verb(asked)


def _pause(asked: Asked) -> str:
    facts.remember(asked.service.ledger, PAUSED, asked.who)
    asked.service.paused = asked.who
    return "paused: what runs is finished, nothing new starts; go on with: stemd resume"


def _resume(asked: Asked) -> str:
    facts.remember(asked.service.ledger, PAUSED, "")
    asked.service.paused = ""
    return "work goes on"


def _retry(asked: Asked) -> str:
    job = asked.job()
    if job.status not in _RETRIED or job.again:
        raise StemdError(
            "not-now", f"job {job.id} is {job.status}; only what waits, failed or is held is tried again",
            f"see: stemd why {job.id}",
        )  # fmt: skip
    asked.service.endings.check_cleared(job)
    try:
        seen = patience.ask({job.path: partial(os.lstat, job.path)})
    except OSError as fault:
        raise StemdError(
            "source-gone", f"the source {os.fsdecode(job.path)!r} of job {job.id} is not there any more",
            "put the recording into the inbox again",
        ) from fault  # fmt: skip
    if not seen:
        raise StemdError(
            "share-hangs", f"the share of the source {os.fsdecode(job.path)!r} of job {job.id} does not answer",
            "ask again once it does",
        )  # fmt: skip
    change = flow.retried(f"{asked.who} asked for another try")
    change = replace(change, facts=Finished(path=job.path, stat=stat_of(seen[job.path])))
    told = asked.change(job, change, f"job {job.id} is tried again from the beginning")
    asked.service.endings.forget(job.id)
    return told


def _cancel(asked: Asked) -> str:
    job, text = flow.cancellable(asked.job()), f"cancelled by {asked.who}"
    if job.status is Status.RUNNING:
        return _stop(asked, job, text)
    copy = "; its copy in the review folder is taken back unless somebody changed it" if job.for_review else ""
    change = flow.cancelled(job, text)
    told = asked.change(job, change, f"job {job.id} is cancelled; its source stays where it is{copy}")
    asked.service.endings.clear(job)
    return told


def _stop(asked: Asked, job: Job, text: str) -> str:
    """Have a running job end as cancelled, after a restart too."""
    with asked.service.ledger.transaction():
        jobs.note_within(asked.service.ledger, job, text, asked.now, stopping.STOPPING)
        told = asked.tell(f"job {job.id} stops; its source stays where it is")
    asked.service.runner.stop(job.id)
    return told


def _approve(asked: Asked) -> str:
    job = flow.reviewable(asked.job())
    number = asked.request.details.get("result") or job.result
    stems = f"result {number}" if job.others else "its stems"
    change = flow.approved(job, asked.who, number)
    return asked.change(job, change, f"job {job.id} is approved; {stems} will be in the outbox")


def _reject(asked: Asked) -> str:
    job = flow.reviewable(asked.job())
    change = flow.rejected(job, asked.who, str(asked.request.details.get("reason", "")))
    return asked.change(job, change, f"job {job.id} is rejected; its source goes to the failed folder")


def _rerun(asked: Asked) -> str:
    """Have another result made beside those that wait for the listener."""
    job = flow.reviewable(asked.job())
    preset, model = (str(asked.request.details.get(key) or "") for key in ("preset", "model"))
    if preset not in PRESETS:
        raise StemdError("unknown-preset", f"there is no preset {preset!r}", f"the presets are: {', '.join(PRESETS)}")
    rule = _rule_of(asked, job)
    wanted = effective(rule, preset, model).recipe
    for result in job.results:
        if effective(rule, result.preset, result.model).recipe == wanted:
            raise StemdError(
                "same-result", f"result {result.number} of job {job.id} was made in just this way",
                f"choose another preset: {', '.join(PRESETS)}",
            )  # fmt: skip
    chosen = effective(rule, preset, model).model
    patience.ask({chosen: partial(asked.service.pool.check, chosen)}, _FINDING)
    change = flow.rerun(job, asked.who, preset, model)
    return asked.change(job, change, f"job {job.id} is separated once more with preset {preset}")


def _redeliver(asked: Asked) -> str:
    """Have the files made once more, as the rule wants them now, of the stems that are kept."""
    job, told = asked.job(), "its files are made once more from the stems that are kept"
    if job.again:
        return f"job {job.id}: {told}, as was asked before"
    if job.twin is not None:
        raise StemdError(
            "not-now", f"job {job.id} is the same recording as job {job.twin}, which was delivered for both",
            f"stemd redeliver {job.twin}",
        )  # fmt: skip
    if job.status is not Status.DONE:
        raise StemdError(
            "not-now", f"job {job.id} is {job.status}; only what was delivered is delivered once more",
            f"see: stemd why {job.id}",
        )  # fmt: skip
    asked.service.endings.check_cleared(job)
    make_ready(asked.service.state, job, _rule_of(asked, job), facts.artifacts(asked.service.ledger, job.id))
    return asked.change(job, flow.redelivered(asked.who), f"job {job.id}: {told}")


def _rule_of(asked: Asked, job: Job) -> Rule:
    rule = asked.service.settings.rule(job.rule)
    if rule is None:
        raise StemdError("no-such-rule", f'there is no rule "{job.rule}" in config.toml', "write it again, then reload")
    return rule


VERBS: Final[Mapping[str, Callable[[Asked], str]]] = {
    "pause": _pause,
    "resume": _resume,
    "retry": _retry,
    "cancel": _cancel,
    "approve": _approve,
    "reject": _reject,
    "rerun": _rerun,
    "redeliver": _redeliver,
}
