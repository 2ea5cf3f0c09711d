"""Jobs in the ledger: admitted, claimed, changed, found again. Every transition is one guarded UPDATE and its event."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final

from peewee import EXCLUDED, IntegrityError, fn

from stemd.errors import StemdError
from stemd.flow import cancelled, duplicate, recovered, retried
from stemd.ledger import albums, reviews, stopping
from stemd.ledger.store import Ledger, rows
from stemd.model import ARROWS, MEMORY_CODES, Arrival, Change, Event, Finished, Job, Result, Stage, Stat, Status
from stemd.model.album import album_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


_LEARNED: Final = ("sha256", "recipe", "key", "path", "seconds")
"""What stages learn and the job's row keeps."""

_ON_ENGINES: Final = frozenset({Stage.SEPARATE, Stage.RECHECK})


class Stale(StemdError):  # noqa: N818 - the field's word
    """A transition met a job that is no longer where it was thought to be."""

    def __init__(self, job: Job) -> None:
        """Name the job."""
        super().__init__("stale", f"job {job.id} is no longer {job.status} at {job.stage}", f"see: stemd why {job.id}")


def admit(ledger: Ledger, arrivals: Iterable[tuple[Arrival, bytes]], now: float) -> list[Job]:
    """Make a job of every arrival (with its name below the inbox) that is not known in this very version.

    One that vanished before it was taken, and is back, gets its old job back. A track that comes late, while its album
    is at work, has the album's age. All in one transaction; returns the jobs.
    """
    admitted = []
    with ledger.transaction():
        ages = cache(partial(albums.ages, ledger))
        for arrival, name in arrivals:
            known = _arrival(ledger, arrival)
            if known is None:
                age = ages(arrival.rule).get(album_of(name), now)
                admitted.append(_new_job(ledger, arrival, name, age, now))
            elif (job := get(ledger, known)).status is Status.CANCELLED and job.code:
                admitted.append(apply_within(ledger, job, retried("the file is back"), now))
    return admitted


def _arrival(ledger: Ledger, arrival: Arrival) -> int | None:
    """The job of an arrival, if this version of the file was seen before."""
    table, stat = ledger.arrival, arrival.stat
    same = (table.size == stat.size) & (table.mtime_ns == stat.mtime_ns) & (table.ctime_ns == stat.ctime_ns)
    found = table.select(table.job).where((table.rule == arrival.rule) & (table.path == arrival.path) & same)
    return next((row["job"] for row in rows(found)), None)


def _new_job(ledger: Ledger, arrival: Arrival, name: bytes, created: float, now: float) -> Job:
    stat = {"size": arrival.stat.size, "mtime_ns": arrival.stat.mtime_ns, "ctime_ns": arrival.stat.ctime_ns}
    job = ledger.job.insert(
        rule=arrival.rule, path=arrival.path, name=name, stage=Stage.TAKE, status=Status.WAITING,
        created=created, changed=now, **stat,
    ).execute()  # fmt: skip
    ledger.arrival.insert(rule=arrival.rule, path=arrival.path, seen=now, job=job, **stat).on_conflict(
        conflict_target=("rule", "path"),
        update={name: EXCLUDED[name] for name in ("size", "mtime_ns", "ctime_ns", "seen", "job")},
    ).execute()
    _tell(ledger, job, Stage.TAKE, Status.WAITING, "arrived", now)
    return Job(job, arrival.rule, arrival.path, name, arrival.stat, created=created, changed=now)


def claim(ledger: Ledger, job: Job, now: float, text: str = "") -> Job:
    """Count an attempt and set a waiting job to work. Raises Stale, LedgerFull: then nothing was done.

    Its story tells that at once; after a fault of its surroundings `apply` does, once something else comes of a try.
    """
    with ledger.transaction():
        _guarded(ledger, job, status=Status.RUNNING, attempts=job.attempts + 1, changed=now)
        if not _met_a_fault(job):
            _tell(ledger, job.id, job.stage, Status.RUNNING, text or _started(job), now)
        return get(ledger, job.id)


def apply(ledger: Ledger, job: Job, change: Change, now: float) -> Job:
    """Bring a job where `change` says. Raises Stale; a content that another job answers for becomes its duplicate."""
    with ledger.transaction():
        return apply_within(ledger, job, change, now)


def apply_within(ledger: Ledger, job: Job, change: Change, now: float) -> Job:
    """Like `apply`, inside the caller's transaction."""
    try:
        with ledger.db.atomic():
            _guarded(ledger, job, **_columns(job, change, now))
    except IntegrityError:
        twin = answering(ledger, job, change.facts)
        if twin is None:
            raise
        change = replace(duplicate(twin), facts=change.facts)
        _guarded(ledger, job, **_columns(job, change, now))
    _tell_change(ledger, job, change, now)
    _keep_facts(ledger, job, change.facts, now)
    return get(ledger, job.id)


def _columns(job: Job, change: Change, now: float) -> dict[str, Any]:
    if change.status not in ARROWS[job.status]:
        raise StemdError(
            "no-such-arrow", f"job {job.id} cannot go from {job.status} to {change.status}", f"see: stemd why {job.id}"
        )
    columns: dict[str, Any] = {
        "stage": change.stage, "status": change.status, "attempts": change.attempts,
        "interruptions": change.interruptions, "due": now + change.delay if change.delay else 0.0,
        "code": change.code, "reason": change.reason, "hint": change.hint, "changed": now,
    }  # fmt: skip
    if change.reasons is not None:
        columns["reasons"] = json.dumps(change.reasons)
    if change.approved is not None:
        columns["approved"] = change.approved
    if change.again is not None:
        columns["again"] = change.again
    if change.failing is not None:
        columns["failing"] = change.failing
    if change.twin is not None:
        columns["twin"] = change.twin or None
    if change.present is not None:
        present = asdict(change.present)
        columns |= {"result": present.pop("number"), **present, "reasons": json.dumps(change.present.reasons)}
        columns["others"] = json.dumps([asdict(result) for result in change.others])
    facts = change.facts
    columns |= {name: value for name in _LEARNED if (value := getattr(facts, name))}
    if facts.stat is not None:
        columns |= {"size": facts.stat.size, "mtime_ns": facts.stat.mtime_ns, "ctime_ns": facts.stat.ctime_ns}
    return columns


def _guarded(ledger: Ledger, job: Job, **columns: Any) -> None:
    """One UPDATE that must hit exactly the row as it was read."""
    table = ledger.job
    hit = (
        table.update(**columns)
        .where((table.id == job.id) & (table.status == job.status) & (table.stage == job.stage))
        .execute()
    )
    if hit != 1:
        raise Stale(job)


def answering(ledger: Ledger, job: Job, facts: Finished) -> Job | None:
    """Find the other job that answers for a content under the rule and recipe; None while there is none."""
    table = ledger.job
    found = table.select().where(
        (table.rule == job.rule) & (table.recipe == (facts.recipe or job.recipe))
        & (table.sha256 == (facts.sha256 or job.sha256)) & table.twin.is_null()
        & table.status.not_in([Status.FAILED, Status.CANCELLED]) & (table.id != job.id)
    )  # fmt: skip
    return next(map(_job, rows(found)), None)


def _keep_facts(ledger: Ledger, job: Job, facts: Finished, now: float) -> None:
    if facts.artifacts is not None:
        ledger.artifact.delete().where(ledger.artifact.job == job.id).execute()
        for artifact in facts.artifacts:
            columns = asdict(artifact)
            ledger.artifact.insert(job=job.id, bytes=columns.pop("size"), **columns).execute()
    if facts.path and facts.stat is not None:
        _forget_or_follow(ledger, job, facts)
    if facts.hearing is not None:
        ledger.hearing.insert(at=now, job=job.id, result=job.result, **asdict(facts.hearing)).execute()
    if facts.hook:
        ledger.hook.insert(job=job.id, manifest=facts.hook).execute()
    if facts.measurement is not None:
        ledger.measurement.insert(
            at=now, job=job.id, **{name: getattr(facts.measurement, name) for name in facts.measurement.__slots__}
        ).execute()


def _forget_or_follow(ledger: Ledger, job: Job, facts: Finished) -> None:
    """The source has moved: its arrival's version stays known, so that the same version is never taken twice."""
    if facts.stat is not None and facts.path == job.path:
        ledger.arrival.update(size=facts.stat.size, mtime_ns=facts.stat.mtime_ns, ctime_ns=facts.stat.ctime_ns).where(
            (ledger.arrival.job == job.id) & (ledger.arrival.path == job.path)
        ).execute()


def _tell_change(ledger: Ledger, job: Job, change: Change, now: float) -> None:
    """Add what has happened to the story; a fault that lasts is one line, not one for each try."""
    if job.status is Status.RUNNING and _met_a_fault(job):
        if (change.status, change.stage, change.code) == (Status.WAITING, job.stage, job.code):
            return
        _tell(ledger, job.id, job.stage, job.status, _started(job), job.changed)
    _tell(ledger, job.id, change.stage, change.status, change.text, now, change.code)


def _met_a_fault(job: Job) -> bool:
    """Whether the last try met a fault of the surroundings. Of lacks of memory, and on engines, each try is told."""
    return bool(job.code) and not job.failing and job.code not in MEMORY_CODES and job.stage not in _ON_ENGINES


def _started(job: Job) -> str:
    return f"{job.stage} started"


def _tell(ledger: Ledger, job: int, stage: Stage, status: Status, text: str, now: float, code: str = "") -> None:
    ledger.event.insert(at=now, job=job, stage=stage, status=status, text=text, code=code).execute()


def note(ledger: Ledger, job: Job, text: str, now: float, code: str = "") -> None:
    """Add a line to a job's story without moving it."""
    with ledger.transaction():
        note_within(ledger, job, text, now, code)


def note_within(ledger: Ledger, job: Job, text: str, now: float, code: str = "") -> None:
    """Like `note`, inside the caller's transaction."""
    _tell(ledger, job.id, job.stage, job.status, text, now, code)


def recover(ledger: Ledger, now: float) -> list[Job]:
    """Send every job that was running when the daemon died back to its stage; returns them as they now are.

    One that was asked to stop is cancelled.
    """
    with ledger.transaction():
        return [
            apply_within(ledger, job, cancelled(job, asked) if asked else recovered(job), now)
            for job in select(ledger, statuses=(Status.RUNNING,))
            for asked in [stopping.asked(ledger, job.id)]
        ]


def get(ledger: Ledger, number: int) -> Job:
    """Find a job by its number. Raises StemdError "no-such-job"."""
    job = find(ledger, number)
    if job is None:
        raise StemdError("no-such-job", f"there is no job {number}", "see the numbers: stemd jobs")
    return job


def find(ledger: Ledger, number: int) -> Job | None:
    """Find a job by its number, if there is one."""
    table = ledger.job
    return next(map(_job, rows(table.select().where(table.id == number))), None)


def select(
    ledger: Ledger, *, statuses: Sequence[Status] = (), rule: str = "", since: float = 0.0, limit: int = 0,
    newest_first: bool = False,
) -> list[Job]:  # fmt: skip
    """Find jobs by status, rule and the time of their last change; oldest first unless asked otherwise."""
    table = ledger.job
    query = table.select().order_by(table.id.desc() if newest_first else table.id)
    if statuses:
        query = query.where(table.status.in_(list(statuses)))
    if rule:
        query = query.where(table.rule == rule)
    if since:
        query = query.where(table.changed >= since)
    return [_job(row) for row in rows(query.limit(limit) if limit else query)]


def latest(ledger: Ledger, statuses: Sequence[Status], limit: int) -> list[Job]:
    """Find the jobs in these statuses that changed last, the newest change first."""
    table = ledger.job
    query = table.select().where(table.status.in_(list(statuses))).order_by(table.changed.desc(), table.id.desc())
    return [_job(row) for row in rows(query.limit(limit))]


def held(ledger: Ledger, *, for_review: bool, limit: int = 0) -> list[Job]:
    """Find held jobs, oldest first: those that wait for a listener, or else those that wait for more memory."""
    table = ledger.job
    waits = reviews.for_review(table)
    query = table.select().where(waits if for_review else (table.status == Status.HELD) & ~waits).order_by(table.id)
    return [_job(row) for row in rows(query.limit(limit) if limit else query)]


def waiting(ledger: Ledger, newcomers: int) -> list[Job]:
    """Find all begun jobs that wait, and of those not begun the first `newcomers` of each rule; oldest first."""
    table = ledger.job
    idle = table.status == Status.WAITING
    begun = [_job(row) for row in rows(table.select().where(idle & (table.stage != Stage.TAKE)))]
    names = [row["rule"] for row in rows(table.select(table.rule).where(idle & (table.stage == Stage.TAKE)).distinct())]
    for name in names:
        query = table.select().where(idle & (table.stage == Stage.TAKE) & (table.rule == name))
        begun += [_job(row) for row in rows(query.order_by(table.due, table.id).limit(newcomers))]
    return sorted(begun, key=lambda job: job.id)


def stuck(ledger: Ledger) -> list[Job]:
    """Find the jobs that wait because of a fault of their surroundings; oldest first."""
    table = ledger.job
    query = table.select().where((table.status == Status.WAITING) & (table.code != "")).order_by(table.id)
    return [job for job in map(_job, rows(query)) if not job.failing and job.code not in MEMORY_CODES]


def needed_keys(ledger: Ledger) -> set[str]:
    """Give the separation keys of all jobs that have not ended."""
    table = ledger.job
    alive = table.status.in_([Status.WAITING, Status.RUNNING, Status.HELD])
    found = rows(table.select(table.key, table.others).where(alive & ((table.key != "") | (table.others != "[]"))))
    return {key for row in found for key in (row["key"], *(other["key"] for other in json.loads(row["others"]))) if key}


def supersede(ledger: Ledger, old: Job, new: Job, now: float) -> Job:
    """Let a duplicate do the work anew, because what its finished twin had made is gone; returns the duplicate."""
    table = ledger.job
    with ledger.transaction():
        table.update(twin=new.id, changed=now).where((table.id == old.id) & (table.status == Status.DONE)).execute()
        _tell(ledger, old.id, old.stage, old.status, f"its files are gone; job {new.id} makes them again", now)
        return apply_within(ledger, new, retried(f"what job {old.id} had made is gone; made again"), now)


def by_path(ledger: Ledger, path: bytes) -> list[Job]:
    """Find the jobs of a file, by where it was seen, where it is now, or what was made of it; oldest first."""
    job, arrival, artifact = ledger.job, ledger.arrival, ledger.artifact
    seen = arrival.select(arrival.job).where(arrival.path == path)
    made = artifact.select(artifact.job).where(artifact.path == path)
    query = job.select().where((job.path == path) | job.id.in_(seen) | job.id.in_(made)).order_by(job.id)
    return [_job(row) for row in rows(query)]


def by_name(ledger: Ledger, name: bytes) -> list[Job]:
    """Find jobs by their names below the inbox, with or without the folders before them; oldest first."""
    table, ending = ledger.job, b"/" + name
    same = (table.name == name) | (fn.SUBSTR(table.name, -len(ending)) == ending)
    return [_job(row) for row in rows(table.select().where(same).order_by(table.id))]


def counts(ledger: Ledger) -> dict[Status, int]:
    """How many jobs there are in each status."""
    table = ledger.job
    query = table.select(table.status, fn.COUNT(table.id).alias("n")).group_by(table.status)
    found = {row["status"]: row["n"] for row in rows(query)}
    return {status: found.get(status.value, 0) for status in Status}


def events(ledger: Ledger, job: int) -> list[Event]:
    """Tell a job's story, oldest line first."""
    table = ledger.event
    query = table.select().where(table.job == job).order_by(table.id)
    return [
        Event(row["at"], row["job"], Stage(row["stage"]), Status(row["status"]), row["text"], row["code"])
        for row in rows(query)
    ]


def _job(row: dict[str, Any]) -> Job:
    stat = Stat(row.pop("size"), row.pop("mtime_ns"), row.pop("ctime_ns"))
    row |= {
        "path": bytes(row["path"]), "name": bytes(row["name"]), "stage": Stage(row["stage"]),
        "status": Status(row["status"]), "reasons": tuple(json.loads(row["reasons"])),
        "approved": bool(row["approved"]), "again": bool(row["again"]),
        "failing": bool(row["failing"]),
        "others": tuple(Result(**{**other, "reasons": tuple(other["reasons"])}) for other in json.loads(row["others"])),
    }  # fmt: skip
    return Job(stat=stat, **row)
