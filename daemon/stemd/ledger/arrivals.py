"""Arrivals in the ledger: which version of which path was seen, and what it became."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stemd.ledger.store import Ledger, rows
from stemd.model import Stat

if TYPE_CHECKING:
    from collections.abc import Iterator


def known(ledger: Ledger, rule: str) -> Iterator[tuple[bytes, Stat]]:
    """Give every path of a rule's inbox that became a job, with the version that did."""
    table = ledger.arrival
    for row in rows(table.select().where(table.rule == rule)):
        yield bytes(row["path"]), Stat(row["size"], row["mtime_ns"], row["ctime_ns"])
