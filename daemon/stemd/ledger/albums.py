"""Albums in the ledger: how far each is on its way. An album's tracks have one rule, one folder and one age."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from peewee import fn

from stemd.ledger import reviews
from stemd.ledger.store import Ledger, rows
from stemd.model import Status
from stemd.model.album import album_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stemd.model import Job

_AT_WORK = [Status.WAITING, Status.RUNNING]
_UNFINISHED = [*_AT_WORK, Status.HELD]


@dataclass(slots=True)
class Album:
    """One folder that was saved in an inbox.

    folder: its name there. to_review: how many wait for a listener.
    """

    rule: str
    folder: bytes
    tracks: dict[Status, int] = field(default_factory=dict)
    to_review: int = 0

    @property
    def total(self) -> int:
        """How many tracks it has; those that somebody took away or cancelled are none."""
        return sum(count for status, count in self.tracks.items() if status is not Status.CANCELLED)

    @property
    def told(self) -> str:
        """Say how far it is: `3 of 12 done, 1 to review`."""
        others = {
            "to review": self.to_review,
            "held for want of memory": self.tracks.get(Status.HELD, 0) - self.to_review,
            "failed": self.tracks.get(Status.FAILED, 0),
        }
        rest = "".join(f", {count} {word}" for word, count in others.items() if count)
        return f"{self.tracks.get(Status.DONE, 0)} of {self.total} done{rest}"

    @property
    def at_work(self) -> bool:
        """Whether some of its tracks will go on by themselves."""
        return any(self.tracks.get(status) for status in _AT_WORK)


def unfinished(ledger: Ledger) -> list[Album]:
    """Find the albums of which not every track has ended, oldest first."""
    table = ledger.job
    ages = table.select(table.created).where(table.status.in_(_UNFINISHED) & _in_folder(table))
    found = _counted(ledger, _in_folder(table) & table.created.in_(ages))
    return [album for album in found if any(album.tracks.get(status) for status in _UNFINISHED)]


def album(ledger: Ledger, job: Job) -> Album | None:
    """Find the album of a job; None if it lies in no folder."""
    table, folder = ledger.job, album_of(job.name)
    same = (table.rule == job.rule) & (table.created == job.created)
    found = _counted(ledger, same & _in_folder(table)) if folder else []
    return next((each for each in found if each.folder == folder), None)


def latest(ledger: Ledger, rule: str, folder: bytes) -> Album | None:
    """Find the album of a folder in a rule's inbox, the last of several; None if nothing in it was taken."""
    table = ledger.job
    found = _counted(ledger, (table.rule == rule) & _in_folder(table) & (_folder(table) == folder))
    return found[-1] if found else None


def ages(ledger: Ledger, rule: str) -> Mapping[bytes, float]:
    """Give the age of each album of a rule that is at work: tracks that come late have it, too."""
    table = ledger.job
    at_work = table.status.in_(_AT_WORK) & (table.rule == rule) & _in_folder(table)
    found = table.select(_folder(table).alias("folder"), fn.MAX(table.created).alias("created")).where(at_work)
    return {bytes(row["folder"]): float(row["created"]) for row in rows(found.group_by(_folder(table)))}


def _counted(ledger: Ledger, which: Any) -> list[Album]:
    table = ledger.job
    folder = _folder(table)
    query = table.select(
        table.rule, table.created, table.status, folder.alias("folder"), fn.COUNT(table.id).alias("n"),
        fn.SUM(reviews.for_review(table)).alias("to_review"),
    ).where(which)  # fmt: skip
    albums: dict[tuple[float, str, bytes], Album] = {}
    for row in rows(query.group_by(table.rule, table.created, folder, table.status)):
        key = (float(row["created"]), str(row["rule"]), bytes(row["folder"]))
        found = albums.setdefault(key, Album(key[1], key[2]))
        found.tracks[Status(row["status"])] = row["n"]
        found.to_review += row["to_review"]
    return [albums[key] for key in sorted(albums)]


def _folder(table: Any) -> Any:
    """What `album_of` gives, of jobs that lie in a folder."""
    return fn.SUBSTR(table.name, 1, fn.INSTR(table.name, b"/") - 1)


def _in_folder(table: Any) -> Any:
    return fn.INSTR(table.name, b"/") > 0
