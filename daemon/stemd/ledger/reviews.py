"""Held jobs in the ledger: which wait for a listener, and which only for more memory. Decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stemd.model import Status

if TYPE_CHECKING:
    from stemd.ledger.store import Columns, Ledger


def for_review(table: Columns) -> Any:
    """Select held jobs of which `Job.for_review` is true."""
    flagged = (table.reasons != "[]") | (table.others != "[]")
    return (table.status == Status.HELD) & flagged & (table.approved == 0)


def count(ledger: Ledger) -> int:
    """How many jobs wait for a listener."""
    return int(ledger.job.select().where(for_review(ledger.job)).count())
