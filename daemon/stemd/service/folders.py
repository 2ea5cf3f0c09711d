"""The daemon's folders: made at start-up, remembered, tidied of what a dead daemon left, kept within their limit."""

from __future__ import annotations

import json
import os
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from loguru import logger

from stemd import patience
from stemd.errors import StemdError
from stemd.files import drop_tree
from stemd.ledger import facts, jobs
from stemd.model import Status
from stemd.results import REPORT, put_by
from stemd.stages import deliver

if TYPE_CHECKING:
    from stemd.config import Settings
    from stemd.ledger import Ledger
    from stemd.model import Job

_OWN: Final = "own-folders"
_STATE_MODE: Final = 0o750  # it holds copies of recordings, and the names of all
_NUMBER: Final = re.compile("[1-9][0-9]{0,17}")  # of a job, as its folder is called


def prepare(settings: Settings) -> None:
    """Make the state folder, which others than its group cannot enter, and inboxes and outboxes whose parent is there.

    Where even the parent is missing, a share is not mounted: a folder made then would hide below the mount. A share
    that hangs is not waited for: the other rules' work goes on.
    Raises StemdError "state-unusable".
    """
    state = settings.daemon.state_dir
    try:
        state.mkdir(_STATE_MODE, parents=True, exist_ok=True)
        for folder in (state / "work", state / "results", state / "models"):
            folder.mkdir(exist_ok=True)
    except OSError as fault:
        raise StemdError(
            "state-unusable", f"the state folder {state} cannot be used: {fault.strerror}",
            "set state_dir in [daemon] to a folder that this user may write",
        ) from fault  # fmt: skip
    wanted = [folder for rule in settings.rules for folder in (rule.inbox, rule.outbox)]
    made = patience.ask({folder: partial(_make, folder, settings.path.parent) for folder in wanted})
    for folder in dict.fromkeys(wanted):
        if folder not in made:
            logger.warning("the folder {} does not answer, its share may hang; what needs it waits", folder)


def _make(folder: Path, home: Path) -> None:
    try:
        folder.mkdir(parents=folder.is_relative_to(home), exist_ok=True)
    except OSError as fault:
        logger.warning("the folder {} is not there and cannot be made: {}", folder, fault.strerror)


def own_ever(ledger: Ledger) -> frozenset[Path]:
    """Give the review, failed and archive folders that rules ever had, as `remember_own` was told."""
    return frozenset(map(Path, json.loads(facts.setting(ledger, _OWN, "[]"))))


def remember_own(ledger: Ledger, settings: Settings) -> None:
    """Keep the rules' review, failed and archive folders over every change of the configuration. Raises LedgerFull."""
    before = own_ever(ledger)
    ever = before.union(*(rule.own_folders for rule in settings.rules))
    if ever != before:
        facts.remember(ledger, _OWN, json.dumps(sorted(map(os.fspath, ever))))


def put_away(folder: Path, results: Path, job: Job) -> None:
    """Keep a finished job's folder beside its stems, for another delivery; drop that of any other ended job.

    What it has left on shares is to be taken back before: `deliver.forget`. Raises EnvironmentFault, OSError.
    """
    if job.status is Status.DONE and job.twin is None and (results / job.key / REPORT).exists():
        deliver.strip(folder)
        put_by(folder, results / job.key)
    drop_tree(folder)


def left_over(state: Path, ledger: Ledger) -> list[Job]:
    """Find the ended jobs whose folders a dead daemon has not put away; oldest first."""
    there = [job for folder in (state / "work").iterdir() if (job := _job_of(folder, ledger)) is not None]
    return sorted((job for job in there if job.status.ended), key=lambda job: job.id)


def tidy(state: Path, ledger: Ledger) -> None:
    """Remove the folders of jobs that the ledger does not know, and separations that were not finished.

    A folder whose job has left something on a share that hangs stays until a later start.
    """
    for folder in (state / "work").iterdir():
        if _job_of(folder, ledger) is None and patience.ask({folder: partial(deliver.forget, folder)}):
            drop_tree(folder)
    for folder in (state / "results").glob("*.tmp"):
        drop_tree(folder)


def _job_of(folder: Path, ledger: Ledger) -> Job | None:
    """The job that works in a folder, if the ledger knows one of its name."""
    return jobs.find(ledger, int(folder.name)) if _NUMBER.fullmatch(folder.name) else None
