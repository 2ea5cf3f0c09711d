"""The daemon's folders: made at start-up, tidied of what a dead daemon left, kept within their limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loguru import logger

from stemd.errors import StemdError
from stemd.files import drop_tree
from stemd.ledger import jobs
from stemd.model import Status
from stemd.stages import deliver

if TYPE_CHECKING:
    from pathlib import Path

    from stemd.config import Settings
    from stemd.ledger import Ledger


def prepare(settings: Settings) -> None:
    """Make the state folder, and inboxes and outboxes whose parent is there.

    Where even the parent is missing, a share is not mounted: a folder made then would hide below the mount.
    Raises StemdError "state-unusable".
    """
    state = settings.daemon.state_dir
    try:
        for folder in (state / "work", state / "results", state / "models"):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise StemdError(
            "state-unusable", f"the state folder {state} cannot be used: {fault.strerror}",
            "set state_dir in [daemon] to a folder that this user may write",
        ) from fault  # fmt: skip
    for rule in settings.rules:
        for folder in (rule.inbox, rule.outbox):
            _make(folder, settings.path.parent)


def _make(folder: Path, home: Path) -> None:
    try:
        folder.mkdir(parents=folder.is_relative_to(home), exist_ok=True)
    except OSError as fault:
        logger.warning("the folder {} is not there and cannot be made: {}", folder, fault.strerror)


def tidy(state: Path, ledger: Ledger) -> None:
    """Remove the work folders of jobs that have ended, and separations that were not finished."""
    alive = jobs.select(ledger, statuses=(Status.WAITING, Status.RUNNING, Status.HELD))
    kept = {str(job.id) for job in alive}
    for folder in (state / "work").iterdir():
        if folder.name not in kept:
            deliver.forget(folder)
            drop_tree(folder)
    for folder in (state / "results").glob("*.tmp"):
        drop_tree(folder)
