"""What reports and metrics are made of: rows in the order in which they were written, from any of them on.

Read as tuples straight from SQLite: a hundred thousand jobs have more than a million events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

from stemd.model import MEMORY_CODES, Stage, Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stemd.ledger.store import Ledger


class Step(NamedTuple):
    """One line of a job's story, without its words. id: rises with every line. at: Unix time."""

    id: int
    at: float
    job: int
    stage: Stage
    status: Status
    code: str


class Cost(NamedTuple):
    """What one separation cost, and where it ran. audio: seconds of the recording; 0 where that is not known."""

    id: int
    job: int
    model: str
    device: str
    precision: str
    batch: int
    segment: float
    seconds_per_audio_second: float
    audio: float


class Heard(NamedTuple):
    """What one quality check found. score, bleed_db: dB; None without vocals. flags: how many."""

    id: int
    job: int
    result: int
    score: float | None
    bleed_db: float | None
    flags: int


_PIECE = 10_000
"""Rows read at a time: between two pieces the daemon can write, which it cannot while a statement is being read."""

_STAGES = {stage.value: stage for stage in Stage}
_STATUSES = {status.value: status for status in Status}


def steps(ledger: Ledger, *, after: int = 0, since: float = 0.0, codes: Sequence[str] = ()) -> Iterator[Step]:
    """Give the lines of all stories, oldest first. after: an id. since: Unix time. codes: only lines with these."""
    wanted = f" AND code IN ({','.join('?' * len(codes))})" if codes else ""
    query = f"SELECT id, at, job, stage, status, code FROM event WHERE id > ? AND at >= ?{wanted} ORDER BY id"  # noqa: S608 - only question marks
    for number, at, job, stage, status, code in _pieces(ledger, query, after, since, *codes):
        yield Step(number, at, job, _STAGES[stage], _STATUSES[status], code)


def costs(ledger: Ledger, *, after: int = 0, since: float = 0.0) -> Iterator[Cost]:
    """Give what separations cost, oldest first."""
    query = (
        "SELECT cost.rowid, cost.job, cost.model, cost.device, cost.precision, cost.batch, cost.segment, "
        "cost.seconds_per_audio_second, job.seconds FROM measurement AS cost "
        "JOIN job ON job.id = cost.job WHERE cost.rowid > ? AND cost.at >= ? ORDER BY cost.rowid"
    )
    return (Cost(*row) for row in _pieces(ledger, query, after, since))


def hearings(ledger: Ledger, *, after: int = 0, since: float = 0.0) -> Iterator[Heard]:
    """Give what quality checks found, oldest first."""
    query = (
        "SELECT id, job, result, score, bleed_db, flags FROM hearing WHERE id > ? AND at >= ? ORDER BY id"
    )  # fmt: skip
    return (Heard(*row) for row in _pieces(ledger, query, after, since))


def newest(ledger: Ledger) -> tuple[int, float]:
    """Give the id of the last line and when it was written, Unix time; zeros where there is none."""
    query = "SELECT id, at FROM event ORDER BY id DESC LIMIT 1"
    return cast("tuple[int, float]", next(_select(ledger, query), (0, 0.0)))


def holds(ledger: Ledger, number: int, at: float) -> bool:
    """Whether a line that was read before is in this ledger; not so in one that took the other's place.

    number: its id; 0 where none was read. at: when it was written; 0 where that is not known.
    """
    written = next(_select(ledger, "SELECT at FROM event WHERE id = ?", number), None)
    return number == 0 or (written is not None and at in {0.0, written[0]})


def places(ledger: Ledger) -> Iterator[tuple[str, str, int]]:
    """Count the jobs in each status at each stage; read from an index alone."""
    return cast(
        "Iterator[tuple[str, str, int]]",
        _select(ledger, "SELECT status, stage, COUNT(*) FROM job GROUP BY status, stage"),
    )


def faults(ledger: Ledger) -> Iterator[tuple[str, int]]:
    """Count the jobs that wait because of a fault of their surroundings, by its code."""
    query = "SELECT code, COUNT(*) FROM job WHERE status = 'waiting' AND code <> '' GROUP BY code"
    return ((code, count) for code, count in _select(ledger, query) if code not in MEMORY_CODES)


def delivered_bytes(ledger: Ledger, since: float) -> int:
    """Add up what the jobs that were done since then have left for the user."""
    query = (
        "SELECT COALESCE(SUM(artifact.bytes), 0) FROM job JOIN artifact ON artifact.job = job.id "
        "WHERE job.status = 'done' AND job.code = '' AND job.changed >= ?"
    )
    return int(next(_select(ledger, query, since))[0])


def _pieces(ledger: Ledger, query: str, after: int, *values: Any) -> Iterator[tuple[Any, ...]]:
    """Run a query for the rows beyond an id, in the order of their ids, which stand first in them."""
    while piece := list(_select(ledger, f"{query} LIMIT {_PIECE}", after, *values)):
        yield from piece
        after = piece[-1][0]


def _select(ledger: Ledger, query: str, *values: Any) -> Iterator[tuple[Any, ...]]:
    """Run a query and let go of the ledger before its rows are used."""
    yield from ledger.db.execute_sql(query, values).fetchall()
