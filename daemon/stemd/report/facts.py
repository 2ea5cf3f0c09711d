"""Gathers a report from the ledger and the disks. Reads only; the daemon may run or not."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import date, datetime
from statistics import median
from typing import TYPE_CHECKING, Final

from stemd import live
from stemd.files.names import readable
from stemd.headroom.disks import Disks
from stemd.ledger import figures, jobs, locked
from stemd.model import HOOK_CODES, MEMORY_CODES, Status
from stemd.report.words import many

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from stemd.config import Settings
    from stemd.ledger import Ledger
    from stemd.ledger.figures import Cost, Heard
    from stemd.model import Job

_HOUR: Final = 3600
_DAY: Final = 24 * _HOUR
_BY_HOURS: Final = 3 * _DAY
_BY_DAYS: Final = 60 * _DAY
"""Up to so long a report counts by the hour and by the day; beyond, by the week."""
_WORSE: Final = frozenset({*MEMORY_CODES, "no-gpu"})
"""Codes after which a separation goes on smaller or elsewhere."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One job in a line. at: Unix time of its last change. seconds: its length. score: of its check, dB."""

    job: int
    rule: str
    name: str
    at: float
    seconds: float = 0.0
    score: float | None = None
    why: str = ""
    what_to_do: str = ""


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a model ran on a device. audio, work: seconds in all; x_realtime: audio / work."""

    model: str
    device: str
    recordings: int
    audio: float
    work: float
    x_realtime: float


@dataclass(frozen=True, slots=True)
class Volume:
    """Folders on one disk, and its bytes."""

    folders: tuple[str, ...]
    total: int
    free: int


@dataclass(frozen=True, slots=True)
class Slot:
    """What ended in one hour, day or week from `at` on."""

    at: float
    done: int
    review: int
    failed: int


@dataclass(frozen=True, slots=True)
class Report:
    """Everything between two moments, in Unix time; `review`, `held`, `stuck` and the counts are of the second.

    done: with results of their own; doubles: how many were answered from those. review: a listener decides.
    held: would need more memory. stuck: wait for their surroundings. degraded: went on smaller or elsewhere.
    untold: delivered, but their rule's command failed.
    bleed_db: median of the checks' scores; None where there were no vocals. slot: seconds that a slot covers.
    """

    since: float
    until: float
    daemon: bool
    done: tuple[Recording, ...]
    doubles: int
    review: tuple[Recording, ...]
    held: tuple[Recording, ...]
    failed: tuple[Recording, ...]
    stuck: tuple[Recording, ...]
    degraded: tuple[Recording, ...]
    untold: tuple[Recording, ...]
    cancelled: int
    waiting: int
    running: int
    audio_seconds: float
    delivered_bytes: int
    speeds: tuple[Speed, ...]
    checked: int
    flagged: int
    bleed_db: float | None
    disks: tuple[Volume, ...]
    slot: int
    slots: tuple[Slot, ...]


def gather(settings: Settings, ledger: Ledger, since: float, until: float) -> Report:
    """Gather what happened between two moments, in Unix time."""
    state = settings.daemon.state_dir
    heard = {each.job: each for each in figures.hearings(ledger, since=since)}
    costs = list(figures.costs(ledger, since=since))
    ended = jobs.select(ledger, statuses=(Status.DONE, Status.FAILED, Status.CANCELLED), since=since)
    failed = [job for job in ended if job.status is Status.FAILED or job.redelivery_failed]
    good = [job for job in ended if job.status is Status.DONE and not job.redelivery_failed]
    done = [job for job in good if job.twin is None]
    held = jobs.select(ledger, statuses=(Status.HELD,))
    review = [job for job in held if job.for_review]
    counts = jobs.counts(ledger)
    scores = [each.score for each in heard.values() if each.score is not None]
    slot = _HOUR if until - since <= _BY_HOURS else _DAY if until - since <= _BY_DAYS else 7 * _DAY
    return Report(
        since=since, until=until, daemon=locked(state), done=_recordings(done, heard),
        doubles=len(good) - len(done), review=_recordings(review, heard),
        held=_recordings((job for job in held if not job.for_review), heard), failed=_recordings(failed, heard),
        stuck=_recordings(jobs.stuck(ledger), heard),
        degraded=_degraded(ledger, since, costs), untold=_untold(ledger, since),
        cancelled=sum(job.status is Status.CANCELLED for job in ended),
        waiting=counts[Status.WAITING], running=counts[Status.RUNNING], audio_seconds=sum(job.seconds for job in done),
        delivered_bytes=figures.delivered_bytes(ledger, since), speeds=_speeds(costs), checked=len(heard),
        flagged=sum(each.flags > 0 for each in heard.values()), bleed_db=median(scores) if scores else None,
        disks=_disks(settings, state), slot=slot, slots=_slots(slot, since, until, done, review, failed),
    )  # fmt: skip


def _recordings(found: Iterable[Job], heard: dict[int, Heard]) -> tuple[Recording, ...]:
    scores = {number: each.score for number, each in heard.items()}
    return tuple(
        Recording(
            job.id, job.rule, readable(job.name), job.changed, job.seconds, scores.get(job.id), job.reason, job.hint
        )
        for job in found
    )


def _degraded(ledger: Ledger, since: float, costs: Iterable[Cost]) -> tuple[Recording, ...]:
    """Tell which recordings met a lack of memory or of a card, and how they went on."""
    met: dict[int, Counter[str]] = defaultdict(Counter)
    for step in figures.steps(ledger, since=since, codes=sorted(_WORSE)):
        met[step.job][step.code] += 1
    last = {cost.job: cost for cost in costs}
    told = []
    for number, codes in met.items():
        job = jobs.get(ledger, number)
        lacks = sum(codes[code] for code in MEMORY_CODES)
        why = f"memory ran out {many(lacks, 'time')}" if lacks else "the graphics card could not be used"
        if number in last:
            cost = last[number]
            why += f"; done on {cost.device}, batch {cost.batch}, segment {cost.segment:g} s"
        told.append(Recording(job.id, job.rule, readable(job.name), job.changed, job.seconds, why=why))
    return tuple(told)


def _untold(ledger: Ledger, since: float) -> tuple[Recording, ...]:
    """Tell for which recordings the command after delivery failed."""
    numbers = sorted({step.job for step in figures.steps(ledger, since=since, codes=sorted(HOOK_CODES))})
    found = [jobs.get(ledger, number) for number in numbers]
    why = "delivered; its rule's command failed"
    return tuple(
        Recording(job.id, job.rule, readable(job.name), job.changed, job.seconds, None, why, f"see: stemd why {job.id}")
        for job in found
    )


def _speeds(costs: Iterable[Cost]) -> tuple[Speed, ...]:
    """Add up by model and device; recordings of unknown length do not count."""
    groups: dict[tuple[str, str], list[Cost]] = defaultdict(list)
    for cost in costs:
        if cost.audio > 0:
            groups[cost.model, cost.device].append(cost)
    speeds = []
    for (model, device), found in sorted(groups.items()):
        audio = sum(cost.audio for cost in found)
        work = sum(cost.audio * cost.seconds_per_audio_second for cost in found)
        speeds.append(Speed(model, device, len(found), audio, work, audio / max(work, 1e-9)))
    return tuple(speeds)


def _disks(settings: Settings, state: Path) -> tuple[Volume, ...]:
    """Give the disks as the running daemon has measured them: it may see folders that this process may not."""
    told = (live.read(state).get("headroom") or {}) if locked(state) else {}
    disks = [(disk["folder"], disk["total"], disk["free"]) for disk in told.get("disks", [])]
    if not disks:
        seen, _ = Disks((state, *(rule.outbox for rule in settings.rules))).look()
        disks = [(str(disk.folder), disk.total, disk.free) for disk in seen]
    volumes: dict[tuple[int, int], list[str]] = defaultdict(list)
    for folder, total, free in disks:
        volumes[total, free].append(readable(folder))
    return tuple(Volume(tuple(folders), total, free) for (total, free), folders in volumes.items())


def _slots(
    slot: int, since: float, until: float, done: Iterable[Job], review: Iterable[Job], failed: Iterable[Job]
) -> tuple[Slot, ...]:
    """Count what ended slot by slot in the local time zone; empty slots included."""
    place, beginning = _hours(until) if slot == _HOUR else _dates(slot // _DAY)
    counts = [Counter(place(job.changed) for job in found) for found in (done, review, failed)]
    numbers = range(place(since), place(until) + 1)
    return tuple(Slot(beginning(number), *(count[number] for count in counts)) for number in numbers)


def _hours(until: float) -> tuple[Callable[[float], int], Callable[[int], float]]:
    """Number hours as clocks show them at `until`: the number of a moment's, and when a number's begins."""
    zone = time.localtime(until).tm_gmtoff
    return lambda at: int((at + zone) // _HOUR), lambda number: float(number * _HOUR - zone)


def _dates(days: int) -> tuple[Callable[[float], int], Callable[[int], float]]:
    """Number spans of so many dates, whose days have 23 to 25 hours; weeks begin on Mondays. Like `_hours`."""

    def midnight(number: int) -> float:
        return datetime.combine(date.fromordinal(number * days + 1), datetime.min.time()).timestamp()

    def number_of(at: float) -> int:
        return (datetime.fromtimestamp(at).astimezone().toordinal() - 1) // days

    return number_of, midnight
