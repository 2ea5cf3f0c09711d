"""Taking back what was published: what is unchanged and our own, in one step each. The journal tells what that is."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from stemd.errors import StemdError
from stemd.files.disk import drop_tree, sync_folder
from stemd.files.faults import faults_in
from stemd.files.plan import Plan, exists, intact, remember, remembered
from stemd.files.rename import rename_noreplace
from stemd.files.shelf import Shelf, check_folder

if TYPE_CHECKING:
    from pathlib import Path
    from threading import Event

    from stemd.model import Artifact


def published(journal: Path) -> tuple[Artifact, ...]:
    """What an earlier `publish` with this journal has left for the user, as far as the journal knows; for showing.

    Looks at no disk but for the temporary names: a share that is not mounted looks as if all were published. To
    decide anything, ask `resume`.
    """
    try:
        plan = remembered(journal)
        if plan is None or not plan.complete:
            return ()
        if plan.phase == "renaming" and any(exists(move.temp) for move in plan.moves):
            return ()
    except (StemdError, OSError):
        return ()
    return plan.artifacts


def withdraw(shelf: Shelf) -> bool:
    """Take back what `publish` left, if all of it is unchanged and nothing was added; tell whether it is gone.

    Raises as `publish` does. May be repeated after a kill.
    """
    with faults_in(shelf.what, shelf.folder):
        plan = remembered(shelf.journal)
        if plan is None:
            return True
        check_folder(shelf)
        if plan.phase != "writing" and any(exists(move.target) for move in plan.moves):
            if plan.complete and not _unchanged(plan, shelf.stop):
                return False
            _take_back(shelf, plan)
        drop_tree(plan.root)
        shelf.journal.unlink(missing_ok=True)
    return True


def abandon(journal: Path, *, published: bool) -> bool:
    """Clean up after a job that will not go on: its temporary files, and if wanted what it has published.

    published: take that back too, if it is unchanged. Returns False where something stays that should not: changed
    files, or a folder that is not there now. Raises nothing.
    """
    try:
        plan = remembered(journal)
        if plan is None:
            return True
        if published:
            return withdraw(Shelf(plan.root.parent, journal, job=0, what="review"))
        drop_tree(plan.root)
    except (StemdError, OSError):
        return False
    return True


def _unchanged(plan: Plan, stop: Event | None) -> bool:
    """Whether every artifact is there as it was published, and nothing else with them."""
    paths = {os.fsdecode(artifact.path) for artifact in plan.artifacts}
    for move in plan.moves:
        held = move.target.rglob("*") if move.folder else ()
        if any(str(path) not in paths for path in held if path.is_symlink() or not path.is_dir()):
            return False
    try:
        return all(intact(artifact, stop) for artifact in plan.artifacts)
    except OSError:
        return False


def _take_back(shelf: Shelf, plan: Plan) -> None:
    """Rename the published things away in one step each, so that no half of them is seen."""
    remember(shelf.journal, replace(plan, phase="withdrawing"))
    plan.root.mkdir(exist_ok=True)
    for move in plan.moves:
        with contextlib.suppress(FileNotFoundError):
            rename_noreplace(move.target, move.temp)
    for folder in {move.target.parent for move in plan.moves}:
        sync_folder(folder)
