"""Commands owed after deliveries: written down with the delivery, crossed out when they have run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stemd.ledger import jobs
from stemd.ledger.store import Ledger, rows

if TYPE_CHECKING:
    from stemd.model import Job


@dataclass(frozen=True, slots=True)
class Call:
    """A command to run for one delivery. manifest: its path, bytes. attempts: how often it was started."""

    id: int
    job: int
    manifest: bytes
    attempts: int = 0


def owed(ledger: Ledger) -> list[Call]:
    """Give the commands that have not run to their end, oldest delivery first."""
    table = ledger.hook
    query = table.select().where(table.ended.is_null()).order_by(table.id)
    return [Call(row["id"], row["job"], bytes(row["manifest"]), row["attempts"]) for row in rows(query)]


def begin(ledger: Ledger, call: Call, job: Job, text: str, now: float) -> None:
    """Count a start, before it happens."""
    with ledger.transaction():
        ledger.hook.update(attempts=call.attempts + 1).where(ledger.hook.id == call.id).execute()
        jobs.note_within(ledger, job, text, now)


def put_off(ledger: Ledger, call: Call, job: Job, text: str, now: float) -> None:
    """The daemon ended the command because it stops itself: that start does not count, and it is owed again."""
    with ledger.transaction():
        ledger.hook.update(attempts=call.attempts).where(ledger.hook.id == call.id).execute()
        jobs.note_within(ledger, job, text, now)


def end(ledger: Ledger, call: Call, job: Job, text: str, now: float, code: str = "") -> None:
    """Cross a command out, and add to the job's story what became of it."""
    with ledger.transaction():
        ledger.hook.update(ended=now).where(ledger.hook.id == call.id).execute()
        jobs.note_within(ledger, job, text, now, code)
