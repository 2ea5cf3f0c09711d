"""Running jobs that were asked to stop: a line of their story, which holds until they have left their stage."""

from __future__ import annotations

from stemd.ledger.store import Ledger, rows
from stemd.model import Status

STOPPING = "stopping"
"""Code of the line that asks."""


def asked(ledger: Ledger, job: int) -> str:
    """Give the words with which a job was asked to stop since it was set to work; "" if nobody asked."""
    table = ledger.event
    for row in rows(table.select().where(table.job == job).order_by(table.id.desc())):
        if row["code"] == STOPPING:
            return str(row["text"])
        if row["status"] != Status.RUNNING:
            break
    return ""
