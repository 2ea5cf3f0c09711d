"""One look at the ledger and at what the daemon says of itself: what has come about since the look before."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stemd import live
from stemd.files.names import readable
from stemd.ledger import figures, jobs, locked, open_for_asking
from stemd.model import HOOK_CODES, Status
from stemd.report.words import many

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from stemd.ledger import Ledger
    from stemd.model import Job

_LEAST: Final = 16 * 1024**2  # bytes without which the ledger itself cannot go on
_ENDS: Final = frozenset({Status.DONE, Status.FAILED})
_BY_A_PERSON: Final = frozenset({"rejected"})


@dataclass(frozen=True, slots=True)
class Line:
    """One recording in a message. why: for people; hint: what to do."""

    job: int
    rule: str
    name: str
    why: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look has shown.

    step: the last event of the ledger. at: when it was written, Unix time. other: whether the ledger is another one
    than at the look before. failed: since the look before. hooks: those of which the rule's command failed since then.
    review: all that wait for a listener. held: all that are held for want of memory. faults: what keeps work from
    going on, a sentence by a stable name. done: how many were done since the look before. open: how many wait or run.
    """

    step: int
    at: float = 0.0
    other: bool = False
    failed: tuple[Line, ...] = ()
    hooks: tuple[Line, ...] = ()
    review: tuple[Line, ...] = ()
    held: tuple[Line, ...] = ()
    faults: tuple[tuple[str, str], ...] = ()
    done: int = 0
    open: int = 0


def look(state: Path, after: int | None, at: float = 0.0) -> Seen:
    """Look once. In a ledger that took the other's place, all that was written since then is new.

    after, at: the last event of the look before, and when it was written, 0 where that is not known; None for the
    first look, which finds nothing new. Raises StemdError when there is no ledger to read.
    """
    ledger = open_for_asking(state)
    try:
        return _look(state, ledger, *(figures.newest(ledger) if after is None else (after, at)))
    finally:
        ledger.close()


def _look(state: Path, ledger: Ledger, after: int, at: float) -> Seen:
    other = not figures.holds(ledger, after, at)
    last, written = figures.newest(ledger)
    told: defaultdict[int, set[float]] = defaultdict(set)
    called: dict[int, None] = {}  # each job once, in the order in which their commands failed
    for step in figures.steps(ledger, since=at) if other else figures.steps(ledger, after=after):
        last, written = step.id, step.at
        if step.status in _ENDS:
            told[step.job].add(step.at)
        if step.code in HOOK_CODES:
            called[step.job] = None
    found = [jobs.get(ledger, number) for number in sorted(told)]
    ended = [job for job in found if job.changed in told[job.id]]  # others have only got another line to their story
    failed = [job for job in ended if _failed(job)]
    held = jobs.select(ledger, statuses=(Status.HELD,))
    counts = jobs.counts(ledger)
    return Seen(
        step=last, at=written, other=other,
        failed=tuple(map(_line, failed)), hooks=tuple(_called(ledger, number) for number in called),
        review=tuple(_line(job) for job in held if job.for_review),
        held=tuple(_line(job) for job in held if not job.for_review),
        done=sum(job.status is Status.DONE and not job.redelivery_failed for job in ended),
        faults=tuple(dict([*_waits(ledger), *_told(state), *_disk(state)]).items()),
        open=counts[Status.WAITING] + counts[Status.RUNNING],
    )  # fmt: skip


def _failed(job: Job) -> bool:
    return job.redelivery_failed or (job.status is Status.FAILED and job.code not in _BY_A_PERSON)


def _line(job: Job) -> Line:
    return Line(job.id, job.rule, readable(job.name), job.reason, job.hint)


def _called(ledger: Ledger, number: int) -> Line:
    """Tell how a job's command ended, in the words of its story."""
    job = jobs.get(ledger, number)
    said = [event.text for event in jobs.events(ledger, number) if event.code in HOOK_CODES]
    return Line(job.id, job.rule, readable(job.name), said[-1].partition("\n")[0], f"see: stemd why {job.id}")


def _waits(ledger: Ledger) -> Iterator[tuple[str, str]]:
    """Faults of their surroundings that jobs have met, by their code."""
    found = jobs.stuck(ledger)
    counts = Counter(job.code for job in found)
    for job in reversed(found):  # the oldest speaks for all of its kind
        hint = f" -> {job.hint}" if job.hint else ""
        yield job.code, f"{many(counts[job.code], 'recording')} cannot go on: {job.reason}{hint}"


def _told(state: Path) -> Iterator[tuple[str, str]]:
    """Faults that only the running daemon knows."""
    told = live.read(state) if locked(state) else {}
    for inbox in told.get("inboxes", []):
        if inbox["state"] != "online":
            yield f"inbox {inbox['rule']}", f"the inbox of {inbox['rule']} is offline: {inbox['reason']}"
    for stage in told.get("running", []):
        if stage.get("still"):
            text = f"{stage['stage']} of {readable(stage['name'])} stands still: a share of rule {stage['rule']} hangs"
            yield f"share {stage['rule']} {stage['stage']}", f"{text} -> see to the server and the network"
    for folder, lack in told.get("full", {}).items():
        yield f"disk {readable(folder)}", f"a recording waits for room: {readable(lack)} -> free some space there"


def _disk(state: Path) -> Iterator[tuple[str, str]]:
    told = os.statvfs(state)
    if told.f_bavail * told.f_frsize < _LEAST:
        yield "state-full", f"the disk of the state folder {state} is full -> free some space there"
