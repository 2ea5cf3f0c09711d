"""What most commands need: the settings, the ledger, requests, and words for people."""

from __future__ import annotations

import contextlib
import getpass
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from stemd.commands.lookup import find_job
from stemd.config import Settings, find, load
from stemd.errors import StemdError
from stemd.ledger import Ledger, locked, open_for_asking, requests

if TYPE_CHECKING:
    from collections.abc import Iterator


def _or_before_the_command(context: typer.Context, option: Path | None) -> Path | None:
    return option or context.find_root().params.get("_config")


ConfigPath = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="The configuration file.", show_default=False, callback=_or_before_the_command),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_ANSWER_WITHIN: Final = 15.0
_LOOK: Final = 0.1


def settings_of(config: Path | None) -> Settings:
    """Read the configuration that -c, $STEMD_CONFIG, ./config.toml or /etc/stemd/config.toml names."""
    return load(find(config))


@contextlib.contextmanager
def ledger_of(config: Path | None) -> Iterator[tuple[Settings, Ledger]]:
    """Open the ledger to read it and to leave requests."""
    settings = settings_of(config)
    ledger = open_for_asking(settings.daemon.state_dir)
    try:
        yield settings, ledger
    finally:
        ledger.close()


def ask(config: Path | None, verb: str, job: str | None = None, details: dict[str, Any] | None = None) -> str:
    """Leave a request for the daemon and wait for its answer. Raises StemdError "refused" with the daemon's reason."""
    with ledger_of(config) as (settings, ledger):
        number = find_job(settings, ledger, job).id if job is not None else None
        request = requests.ask(ledger, verb, who=user(), now=time.time(), job=number, details=details)
        if not locked(settings.daemon.state_dir):
            return "noted; no daemon is running, and the next one answers it first"
        deadline = time.monotonic() + _ANSWER_WITHIN
        while time.monotonic() < deadline:
            answered = requests.find(ledger, request)
            if answered.ok is not None:
                if not answered.ok:
                    message, _, hint = answered.answer.rpartition("; ")
                    raise StemdError("refused", message or answered.answer, hint)
                return answered.answer
            time.sleep(_LOOK)
    return "noted; the daemon is busy and answers it soon"


def user() -> str:
    """Who asks: the name at login, also behind sudo; of a user without a name the number."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


def held_up(inbox: dict[str, Any]) -> str:
    """Say what an inbox holds that is not taken yet, as the end of a line."""
    told = {"settling": "settling", "unready": "without .ready", "unreadable": "of its folders cannot be looked into"}
    return "".join(f", {inbox[key]} {text}" for key, text in told.items() if inbox.get(key))


def clock(at: float) -> str:
    """Show a moment in the local time zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def span(seconds: float) -> str:
    """Show a duration: 42 s, 3:07, 1:02:09."""
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
