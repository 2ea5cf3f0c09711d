"""What most commands need: the settings, the ledger, a job by number or file, and words for people."""

from __future__ import annotations

import contextlib
import getpass
import os
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from stemd import patience
from stemd.config import Settings, find, load
from stemd.errors import StemdError
from stemd.ledger import Ledger, jobs, locked, open_for_asking, requests

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stemd.model import Job


def _or_before_the_command(context: typer.Context, option: Path | None) -> Path | None:
    return option or context.find_root().params.get("_config")


ConfigPath = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="The configuration file.", show_default=False, callback=_or_before_the_command),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_ANSWER_WITHIN: Final = 15.0
_LOOK: Final = 0.1
_DIGITS: Final = 18  # of a number that the ledger can hold


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


def find_job(settings: Settings, ledger: Ledger, given: str) -> Job:
    """Find a job by its number, or the last one of a file, whichever links lead to it.

    Raises StemdError "no-such-job".
    """
    if given.isdecimal() and len(given) <= _DIGITS and not Path(given).exists():
        return jobs.get(ledger, int(given))
    path = Path(os.path.abspath(given))  # noqa: PTH100 - never resolve links
    for spelling in _spellings(settings, path):
        if found := jobs.by_path(ledger, os.fsencode(spelling)):
            return found[-1]
    raise StemdError(
        "no-such-job", f"the ledger knows nothing of {given}",
        "it may still be settling, be ignored by its name, or lie in no inbox; see: stemd status",
    )  # fmt: skip


def _spellings(settings: Settings, path: Path) -> Iterator[Path]:
    """Give a path as it is, then as it begins with each folder of the configuration that links have it lie in.

    A link in its last place is not followed: it is another file.
    """
    yield path
    folders = [
        folder
        for rule in settings.rules
        for folder in (rule.inbox, rule.outbox, rule.review, rule.failed, rule.archive)
    ]
    real = patience.ask({folder: partial(os.path.realpath, folder) for folder in (path.parent, *folders)})
    parent = Path(real.get(path.parent, path.parent))
    for folder in folders:
        if folder in real and parent.is_relative_to(real[folder]):
            yield folder / parent.relative_to(real[folder]) / path.name


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
