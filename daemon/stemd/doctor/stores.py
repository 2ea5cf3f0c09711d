"""The ledger's file and the SQLite that reads it; the models that rules name."""

from __future__ import annotations

import sqlite3
import threading
from typing import TYPE_CHECKING

from stemd.children import Worker
from stemd.doctor.finding import Finding, ok, problem, warning
from stemd.errors import StemdError
from stemd.ledger.store import WAL_SAFE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from stemd.config import Settings

_OLDEST = (3, 35)
_MODES = {1: "rollback journal", 2: "WAL"}


def ledger(path: Path, version: tuple[int, ...] = sqlite3.sqlite_version_info) -> Iterator[Finding]:
    """Say which journal SQLite keeps, and read how the file was left from its header (bytes 18 and 19)."""
    shown = ".".join(map(str, version))
    if version < _OLDEST:
        yield problem("SQLite", f"{shown} is too old", "use a Python that was built with SQLite 3.35 or newer")
        return
    chosen = "WAL" if version >= WAL_SAFE else "rollback journal"
    yield ok("SQLite", f"{shown}, {chosen}")
    try:
        with path.open("rb") as file:
            header = file.read(20)
    except FileNotFoundError:
        yield ok("ledger", f"{path} will be made at the first start")
        return
    except OSError as error:
        yield problem("ledger", f"{path} cannot be read: {error.strerror}", "run this as the service's user")
        return
    if not header.startswith(b"SQLite format 3\0") and header:
        yield problem("ledger", f"{path} is no ledger", "stop stemd and put a copy in its place: ledger.before-*")
        return
    mode = _MODES.get(header[18], "unknown") if header else "empty"
    if mode == "WAL" and version < WAL_SAFE:
        yield warning("ledger", f"{path} was left in WAL mode", "it is changed at the next start of the daemon")
    else:
        yield ok("ledger", f"{path}, {mode}")


def models(settings: Settings) -> Iterator[Finding]:
    """Ask an engine for every model that a rule names; loads it, fetches nothing."""
    engine = Worker("stemd.engine", "engine")
    local = str(settings.daemon.models or "")
    try:
        for name in dict.fromkeys(rule.model for rule in settings.rules):
            try:
                told = engine.ask({"do": "describe", "model": name, "models": local}, stop=threading.Event())
            except StemdError as error:
                yield _without_model(name, error)
            else:
                yield ok(f"model {name}", f"{', '.join(told['sources'])}; sha256 {told['digest'][:12]}")
    finally:
        engine.kill()


def _without_model(name: str, error: StemdError) -> Finding:
    """What is only to be fetched keeps neither an installation nor the other rules from their work."""
    advice = error.hint or "stemd models fetch"
    if error.code == "model-missing":
        return warning(f"model {name}", f"{error.message}: jobs wait for it", advice)
    return problem(f"model {name}", error.message, advice)
