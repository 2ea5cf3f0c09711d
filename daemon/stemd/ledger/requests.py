"""What people ask of the daemon: the CLI and the web page insert, the daemon's tick answers."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from stemd.errors import StemdError
from stemd.ledger.store import Ledger, rows


@dataclass(frozen=True, slots=True)
class Request:
    """One thing asked. verb: retry, cancel, approve, ...; who: the user's name; ok: None until answered."""

    id: int
    who: str
    verb: str
    job: int | None
    details: dict[str, Any] = field(default_factory=dict)
    ok: bool | None = None
    answer: str = ""


def ask(
    ledger: Ledger, verb: str, *, who: str, now: float, job: int | None = None, details: dict[str, Any] | None = None
) -> int:
    """Leave a request for the daemon; returns its number."""
    with ledger.transaction():
        number: int = ledger.request.insert(
            at=now, who=who, verb=verb, job=job, details=json.dumps(details or {})
        ).execute()
    return number


def unanswered(ledger: Ledger) -> list[Request]:
    """What the daemon has not answered yet, oldest first."""
    table = ledger.request
    return [_request(row) for row in rows(table.select().where(table.answered.is_null()).order_by(table.id))]


def unanswered_for(ledger: Ledger, job: int) -> Request | None:
    """What was asked of a job first and the daemon has not answered yet; None if nothing was."""
    return next((each for each in unanswered(ledger) if each.job == job), None)


def find(ledger: Ledger, number: int) -> Request:
    """Read a request, with its answer if there is one. Raises StemdError "no-such-request"."""
    for row in rows(ledger.request.select().where(ledger.request.id == number)):
        return _request(row)
    raise StemdError("no-such-request", f"nobody has made request {number}", "see: stemd jobs")


def answer(ledger: Ledger, request: Request, *, ok: bool, text: str, now: float) -> None:
    """Write the daemon's answer, in the caller's transaction if there is one; the first answer stands."""
    table = ledger.request
    with ledger.transaction():
        first = (table.id == request.id) & table.answered.is_null()
        table.update(answered=now, ok=ok, answer=text).where(first).execute()


def _request(row: dict[str, Any]) -> Request:
    ok = None if row["ok"] is None else bool(row["ok"])
    return Request(row["id"], row["who"], row["verb"], row["job"], json.loads(row["details"]), ok, row["answer"])
