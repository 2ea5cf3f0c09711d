"""The daemon's folders: made at the first start, remembered, tidied of what a dead daemon left."""

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
from stemd.ledger.folders import see, seen, strayed
from stemd.model import Status
from stemd.mounts import bring_back, filesystem, not_mounted, unmounted
from stemd.results import REPORT, put_by
from stemd.stages import deliver

if TYPE_CHECKING:
    from stemd.config import Settings
    from stemd.ledger import Ledger
    from stemd.model import Job
    from stemd.mounts import FileSystem

_OWN: Final = "own-folders"
_STATE_MODE: Final = 0o750  # it holds copies of recordings, and the names of all
_NUMBER: Final = re.compile("[1-9][0-9]{0,17}")  # of a job, as its folder is called


def make_state(state: Path) -> None:
    """Make the state folder, which others than its group cannot enter. Raises StemdError "state-unusable"."""
    try:
        state.mkdir(_STATE_MODE, parents=True, exist_ok=True)
        for folder in (state / "work", state / "results", state / "models"):
            folder.mkdir(exist_ok=True)
    except OSError as fault:
        raise StemdError(
            "state-unusable", f"the state folder {state} cannot be used: {fault.strerror}",
            "set state_dir in [daemon] to a folder that this user may write",
        ) from fault  # fmt: skip


def prepare(settings: Settings, ledger: Ledger) -> None:
    """Make inboxes and outboxes that are new, and remember those that are there.

    Where a share is not mounted, a folder made now would hide below the mount. So none is made that was there before,
    whose parent is missing, or that lies below a mount point of /etc/fstab at which nothing is mounted. A share that
    hangs is not waited for: the other rules' work goes on.
    Raises LedgerFull.
    """
    wanted = dict.fromkeys(folder for rule in settings.rules for folder in (rule.inbox, rule.outbox))
    before, home = seen(ledger), settings.path.parent
    there = patience.ask(
        {
            folder: partial(_ready, folder, new=folder not in before, parents=folder.is_relative_to(home))
            for folder in wanted
        }
    )
    for folder in wanted:
        if folder not in there:
            logger.warning("the folder {} does not answer, its share may hang; what needs it waits", folder)
    disks = {folder: disk for folder, disk in there.items() if disk is not None}
    for folder, disk in disks.items():
        if strayed(before.get(folder, disk), disk):
            was, now = before[folder].name, disk.name
            logger.warning("the folder {} was on {} and is on {} now: is its share mounted?", folder, was, now)
    see(ledger, disks)


def _ready(folder: Path, *, new: bool, parents: bool) -> FileSystem | None:
    """Make a folder if it is new; gives what it lies on, None if it cannot be used. parents: make those too."""
    if point := unmounted(folder):
        logger.warning("the folder {} is waited for: {}; run: mount {}", folder, not_mounted(point), point)
        return None
    try:
        if new:
            folder.mkdir(parents=parents, exist_ok=True)
        elif not folder.exists():
            logger.warning("the folder {} was there before and is not now; {}", folder, bring_back(folder))
            return None
    except OSError as fault:
        logger.warning("the folder {} is not there and cannot be made: {}", folder, fault.strerror)
        return None
    return filesystem(folder)


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
