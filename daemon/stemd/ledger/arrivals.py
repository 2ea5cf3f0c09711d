"""Arrivals in the ledger: which version of which path was seen, and what it became."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stemd.ledger.store import Ledger, rows
from stemd.model import Stat, Status

if TYPE_CHECKING:
    from collections.abc import Iterator


def known(ledger: Ledger, rule: str) -> Iterator[tuple[bytes, Stat]]:
    """Give every path of a rule's inbox that became a job, with the version that did.

    Not of a file that was away when it was to be taken: `jobs.admit` takes it up again once it is back.
    """
    table, job = ledger.arrival, ledger.job
    away = job.select(job.id).where((job.status == Status.CANCELLED) & (job.code != ""))
    for row in rows(table.select().where((table.rule == rule) & table.job.not_in(away))):
        yield bytes(row["path"]), Stat(row["size"], row["mtime_ns"], row["ctime_ns"])
