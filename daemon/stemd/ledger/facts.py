"""What else the ledger keeps: files made, costs measured, and what the daemon remembers of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stemd.ledger.store import Ledger, rows
from stemd.model import Artifact, Measurement

if TYPE_CHECKING:
    from collections.abc import Iterator


def artifacts(ledger: Ledger, job: int) -> list[Artifact]:
    """Give the files that a job left for the user, result by result."""
    table = ledger.artifact
    query = table.select().where(table.job == job).order_by(table.result, table.path)
    return [Artifact(bytes(row["path"]), row["sha256"], row["bytes"], row["result"]) for row in rows(query)]


def measurements(ledger: Ledger, newest: int = 1000) -> Iterator[Measurement]:
    """Give what past separations cost, newest first."""
    table = ledger.measurement
    for row in rows(table.select().order_by(table.at.desc()).limit(newest)):
        yield Measurement(**{name: row[name] for name in Measurement.__slots__})


def setting(ledger: Ledger, name: str, default: str = "") -> str:
    """Read what the daemon remembers."""
    table = ledger.setting
    return next((str(row["value"]) for row in rows(table.select().where(table.name == name))), default)


def remember(ledger: Ledger, name: str, value: str) -> None:
    """Keep something over restarts."""
    with ledger.transaction():
        ledger.setting.insert(name=name, value=value).on_conflict(action="REPLACE").execute()
