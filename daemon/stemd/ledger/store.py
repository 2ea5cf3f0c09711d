"""Opens the ledger: one SQLite file on a local disk, its lock, its migrations, its tables."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from peewee import DatabaseError, OperationalError, SqliteDatabase, Table
from playhouse.migrations import Runner

from stemd.errors import EnvironmentFault, StemdError
from stemd.files import sync_file, sync_folder
from stemd.mounts import filesystem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Columns: TypeAlias = Any
"""A peewee Table: its columns are attributes that only `COLUMNS` knows."""

MIGRATIONS = Path(__file__).parent / "migrations"
WAL_SAFE = (3, 51, 3)
"""From here on SQLite's WAL mode is free of the WAL-reset bug (https://sqlite.org/wal.html#walresetbug)."""

_PATIENCE = 20
"""Seconds for which another program may hold the file: less than a part of the daemon may stand still."""

_LOOKED_AT = 1.0
"""Seconds for which a starting daemon may find its lock held by programs that only look whether a daemon runs."""

COLUMNS = {
    "job": (
        "id", "rule", "path", "name", "size", "mtime_ns", "ctime_ns", "stage", "status", "sha256", "recipe", "key",
        "attempts", "interruptions", "due", "code", "reason", "hint", "reasons", "approved", "twin", "result", "preset",
        "model", "others", "seconds", "again", "failing", "created", "changed",
    ),
    "arrival": ("rule", "path", "size", "mtime_ns", "ctime_ns", "seen", "job"),
    "event": ("id", "at", "job", "stage", "status", "text", "code"),
    "artifact": ("job", "path", "sha256", "bytes", "result"),
    "request": ("id", "at", "who", "verb", "job", "details", "answered", "ok", "answer"),
    "measurement": (
        "at", "job", "model", "device", "precision", "batch", "segment", "peak_ram", "peak_vram",
        "seconds_per_audio_second", "passes", "lanes",
    ),
    "hearing": ("id", "at", "job", "result", "score", "bleed_db", "flags"),
    "setting": ("name", "value"),
    "hook": ("id", "job", "manifest", "attempts", "ended"),
}  # fmt: skip


class LedgerFull(EnvironmentFault):
    """The ledger cannot be used for the moment: its disk is full, or another program holds it."""

    def __init__(self, why: str) -> None:
        super().__init__(
            "ledger-full",
            f"the ledger cannot be used: {why}",
            "free space below state_dir, or end the program that holds the file; it is tried again",
        )


class _Database(SqliteDatabase):
    """SQLite whose texts may hold what is not Unicode: half a name, a word from a terminal of another encoding."""

    def execute_sql(self, sql: str, params: Sequence[Any] | None = None) -> Any:
        """Run a statement; what is no text in a text goes in by its number, since SQLite refuses it."""
        storable = None if params is None else tuple(map(_storable, params))
        return super().execute_sql(sql, storable)  # type: ignore[no-untyped-call]


def _storable(value: Any) -> Any:
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


@dataclass(frozen=True, slots=True)
class Ledger:
    """An open ledger. The functions of this package work on it; only one thread may use it."""

    db: SqliteDatabase
    job: Columns
    arrival: Columns
    event: Columns
    artifact: Columns
    request: Columns
    measurement: Columns
    hearing: Columns
    setting: Columns
    hook: Columns

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, and the only writer meanwhile. Raises LedgerFull when the file cannot be written."""
        try:
            with self.db.atomic("IMMEDIATE"):
                yield
        except OperationalError as fault:
            raise LedgerFull(str(fault)) from fault

    def close(self) -> None:
        """Close the file; what was committed stays."""
        self.db.close()


def path_of(state: Path) -> Path:
    """Where the ledger of a state folder is."""
    return state / "ledger.sqlite3"


def open_for_writing(state: Path) -> Ledger:
    """Open the daemon's ledger, made or migrated as needed.

    Raises StemdError: "state-network" on NFS or SMB, "ledger-newer" for the ledger of a newer stemd,
    "ledger-damaged" when SQLite cannot use the file, LedgerFull while another program holds it.
    """
    kind = filesystem(state)
    if kind.network:
        raise StemdError(
            "state-network", f"the state folder {state} lies on {kind.name}, where locks do not hold",
            "set state_dir in [daemon] to a folder on a local disk",
        )  # fmt: skip
    try:
        db = _connect(state, "rwc")
        db.pragma("journal_mode", "wal" if sqlite3.sqlite_version_info >= WAL_SAFE else "delete")
        _migrate(db, state)
    except DatabaseError as fault:
        raise _unusable(state, fault) from fault
    return _tables(db)


def open_for_asking(state: Path) -> Ledger:
    """Open an existing ledger to read it and to insert requests.

    Raises StemdError: "no-ledger" before the daemon's first start, "ledger-older", "ledger-newer", "ledger-damaged",
    LedgerFull while another program holds the file.
    """
    if not path_of(state).exists():
        raise StemdError("no-ledger", f"there is no ledger in {state} yet", "start the daemon once: stemd run")
    try:
        db = _connect(state, "rw")
        missing = _pending(db, state)
    except DatabaseError as fault:
        raise _unusable(state, fault) from fault
    if missing:
        raise StemdError(
            "ledger-older", f"the ledger in {state} is of an older stemd", "restart the daemon; it migrates the ledger"
        )
    return _tables(db)


def _connect(state: Path, mode: str) -> SqliteDatabase:
    pragmas = {"synchronous": "full", "foreign_keys": 1}
    db = _Database(f"{path_of(state).absolute().as_uri()}?mode={mode}", uri=True, timeout=_PATIENCE, pragmas=pragmas)
    db.connect()
    return db


def _tables(db: SqliteDatabase) -> Ledger:
    return Ledger(db, **{name: Table(name, columns).bind(db) for name, columns in COLUMNS.items()})


def _pending(db: SqliteDatabase, state: Path) -> list[str]:
    """Migrations still to run; an applied one that this program does not have means a newer stemd."""
    rows = Runner(db, str(MIGRATIONS)).status()
    unknown = [row.name for row in rows if row.path is None]
    if unknown:
        raise StemdError(
            "ledger-newer", f"the ledger in {state} was made by a newer stemd ({unknown[-1]})",
            "install that version again, or use another state_dir",
        )  # fmt: skip
    return [row.name for row in rows if row.applied is None]


def _migrate(db: SqliteDatabase, state: Path) -> None:
    pending = _pending(db, state)
    if not pending:
        return
    if db.table_exists("job"):
        _copy(db, state / f"ledger.before-{pending[0]}.{time.strftime('%Y%m%d-%H%M%S')}.sqlite3")
    Runner(db, str(MIGRATIONS)).up()


def _copy(db: SqliteDatabase, copy: Path) -> None:
    """Copy the ledger under a name that it has only when it is whole: one that is cut off opens as an empty ledger."""
    unfinished = copy.with_name(".ledger.copying.sqlite3")
    for left in (unfinished, unfinished.with_name(f"{unfinished.name}-journal")):
        left.unlink(missing_ok=True)
    db.execute_sql("VACUUM INTO ?", (str(unfinished),))
    sync_file(unfinished)
    unfinished.rename(copy)
    sync_folder(copy.parent)


def _unusable(state: Path, fault: DatabaseError) -> StemdError:
    if "locked" in str(fault):  # it passes: nobody is to move the file away
        return LedgerFull(str(fault))
    what = "cannot be opened" if isinstance(fault, OperationalError) else "is damaged"
    return StemdError(
        "ledger-damaged", f"the ledger {path_of(state)} {what}: {fault}",
        "stop stemd, move the file away (a copy ledger.before-* may lie beside it) and start again",
    )  # fmt: skip


class Lock:
    """Held by the one daemon of a state folder, until its process ends, however it ends."""

    def __init__(self, state: Path) -> None:
        """Take the lock. Raises StemdError "another-daemon", "state-unusable"."""
        try:
            self._file = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as fault:
            raise StemdError(
                "state-unusable", f"the state folder {state} cannot be written: {fault.strerror}",
                "set state_dir in [daemon] to a folder that this user may write",
            ) from fault  # fmt: skip
        if not self._taken():
            owner = os.pread(self._file, 20, 0).decode().strip() or "unknown"
            os.close(self._file)
            raise StemdError(
                "another-daemon", f"another stemd (pid {owner}) works with the state folder {state}",
                "stop it first, or give this one its own state_dir",
            )  # fmt: skip
        os.truncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def _taken(self) -> bool:
        deadline = time.monotonic() + _LOOKED_AT
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    return False
                time.sleep(0.01)
            else:
                return True

    def release(self) -> None:
        """Let another daemon in."""
        os.close(self._file)


def locked(state: Path) -> bool:
    """Whether a daemon is running on this state folder. Raises StemdError "state-unreadable"."""
    try:
        file = os.open(state / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as fault:
        raise StemdError(
            "state-unreadable", f"{state / 'lock'} cannot be read: {fault.strerror}",
            "ask as root, as the user of the service, or as a member of its group",
        ) from fault  # fmt: skip
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(file)


def rows(query: Any) -> Iterator[dict[str, Any]]:
    """Run a select and give its rows as dictionaries, read to the end before the first of them is used.

    Raises LedgerFull while another program holds the file.
    """
    try:
        yield from list(query.dicts())
    except OperationalError as fault:
        raise LedgerFull(str(fault)) from fault
