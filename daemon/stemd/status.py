"""How things stand, in one value for `stemd status` and the web page: the ledger's and the running daemon's facts."""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from stemd import live
from stemd.ledger import albums, facts, jobs, locked, reviews
from stemd.model import Status
from stemd.model.album import album_of

if TYPE_CHECKING:
    from pathlib import Path

    from stemd.ledger import Ledger
    from stemd.model import Event, Job

_SHOWN: Final = 50
"""So many waiting jobs are listed; more would be no help to a reader."""
_LAST: Final = 5
_FAILED: Final = 10


def status(state: Path, ledger: Ledger) -> dict[str, Any]:
    """Describe the whole: counts, running, waiting with reasons, headroom, inboxes, the last that ended. JSON-ready.

    Sizes in bytes, times in Unix seconds, durations in seconds, progress 0 to 1.
    """
    running = locked(state)
    told = live.read(state) if running else {}
    waiting = jobs.select(ledger, statuses=(Status.WAITING,), limit=_SHOWN)
    held = [job for review in (True, False) for job in jobs.held(ledger, for_review=review, limit=_SHOWN)]
    failed = jobs.latest(ledger, (Status.FAILED,), _FAILED)
    ended = jobs.latest(ledger, (Status.DONE, Status.FAILED, Status.CANCELLED), _LAST)
    return {
        "daemon": {"running": running, "pid": told.get("pid"), "version": told.get("version")},
        "paused": told.get("paused", ""), "closed": told.get("closed", ""), "cpu_only": told.get("cpu_only", False),
        "counts": {name.value: count for name, count in jobs.counts(ledger).items()},
        "running": told.get("running", []), "hooks": told.get("hooks", []),
        "waiting": [brief(job) | {"reason": _waits_for(told, job)} for job in waiting],
        "to_review": reviews.count(ledger),
        "held": [brief(job) for job in held],
        "albums": [_album(album) for album in albums.unfinished(ledger)[:_SHOWN]],
        "failed": [brief(job) for job in failed],
        "ended": [brief(job) for job in ended],
        "inboxes": told.get("inboxes", []), "headroom": told.get("headroom"), "at": time.time(),
    }  # fmt: skip


def _album(album: albums.Album) -> dict[str, Any]:
    """Describe how far an album is. The numbers are of tracks."""
    return {
        "rule": album.rule, "name": os.fsdecode(album.folder), "total": album.total, "told": album.told,
        **{status.value: album.tracks.get(status, 0) for status in Status},
    }  # fmt: skip


def reason(state: Path, job: Job) -> str:
    """Say why a job is where it is; of one that waits, what it lacks at the moment."""
    told = live.read(state) if job.status is Status.WAITING and locked(state) else {}
    return _waits_for(told, job)


def _waits_for(told: dict[str, Any], job: Job) -> str:
    return str(told.get("waits", {}).get(str(job.id)) or job.reason)


def brief(job: Job) -> dict[str, Any]:
    """Describe a job in a line's worth of facts."""
    return {
        "job": job.id, "rule": job.rule, "name": os.fsdecode(job.name), "stage": job.stage.value,
        "status": job.status.value, "reason": job.reason, "code": job.code, "changed": job.changed,
        "album": os.fsdecode(album_of(job.name)), "for_review": job.status is Status.HELD and job.for_review,
        "redelivery_failed": job.redelivery_failed,
    }  # fmt: skip


def full(ledger: Ledger, job: Job) -> dict[str, Any]:
    """Describe a job with everything the ledger keeps of it, its story and its files included."""
    plain = {
        name: value for name, value in asdict(job).items() if name not in {"path", "name", "stat", "stage", "status"}
    }
    return brief(job) | plain | {
        "path": os.fsdecode(job.path), "stat": asdict(job.stat),
        "events": [event_facts(event) for event in jobs.events(ledger, job.id)],
        "artifacts": [
            {"path": os.fsdecode(file.path), "sha256": file.sha256, "size": file.size, "result": file.result}
            for file in facts.artifacts(ledger, job.id)
        ],
    }  # fmt: skip


def event_facts(event: Event) -> dict[str, Any]:
    """Describe one line of a story."""
    return {
        "at": event.at,
        "stage": event.stage.value,
        "status": event.status.value,
        "text": event.text,
        "code": event.code,
    }
