"""Taking back what was published: what is unchanged and our own, in one step each. The journal tells what that is."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from stemd.errors import StemdError
from stemd.files.disk import drop_tree, sync_folder
from stemd.files.faults import faults_in
from stemd.files.plan import exists, intact, remember, remembered
from stemd.files.renaming import renamed
from stemd.files.shelf import Shelf, check_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from threading import Event

    from stemd.files.plan import Move, Plan
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

    What is changed while that goes on is given back, beside what has its name by then. Raises as `publish` does. May be
    repeated after a kill.
    """
    with faults_in(shelf.what, shelf.folder):
        plan = remembered(shelf.journal)
        if plan is None:
            return True
        check_folder(shelf)
        if _is_anywhere(plan) and not _taken_back(shelf, plan):
            return False
        drop_tree(plan.root)
        shelf.journal.unlink(missing_ok=True)
    return True


def abandon(journal: Path, *, published: bool) -> bool:
    """Clean up after a job that will not go on: its temporary files, and if wanted what it has published.

    published: take that back too, if it is unchanged. Returns False where something stays that should not: changed
    files, or a folder that is not there or cannot be read now. Raises nothing.
    """
    try:
        plan = remembered(journal)
        if plan is None:
            return True
        if published:
            return _gone_or_seen(Shelf(plan.root.parent, journal, job=0, what="review"))
        drop_tree(plan.root)
    except (StemdError, OSError):
        return False
    return True


def _gone_or_seen(shelf: Shelf) -> bool:
    """Withdraw for a job that will not try again: what cannot be taken back gets its names again. Raises alike."""
    try:
        return withdraw(shelf)
    except (StemdError, OSError):
        plan = remembered(shelf.journal)
        if plan is not None and exists(plan.root):
            _give_back(shelf, plan)
        raise


def _is_anywhere(plan: Plan) -> bool:
    """Whether there is anything of what was published."""
    return plan.phase != "writing" and any(_place(plan, move) for move in plan.moves)


def _place(plan: Plan, move: Move) -> Path | None:
    """Where a published thing is now; None where somebody took it away, or an earlier version had deleted it."""
    names = (move.temp, move.target) if plan.phase == "withdrawing" else (move.target,)
    return next((name for name in names if exists(name)), None)


def _taken_back(shelf: Shelf, plan: Plan) -> bool:
    """Rename the published things away in one step each, so that no half of them is seen; False where they stay.

    A listener may save into them until then, so they are looked at once more when they are away.
    """
    if _unchanged(plan, shelf.stop):
        plan = remember(shelf.journal, replace(plan, phase="withdrawing"))
        _take_away(plan)
        if _unchanged(plan, shelf.stop):
            remember(shelf.journal, replace(plan, phase="writing"))
            return True
    _give_back(shelf, plan)
    return False


def _give_back(shelf: Shelf, plan: Plan) -> None:
    """Give what was taken away its names again, beside what has them by now. Raises as `renamed`."""
    if plan.phase == "withdrawing":
        renamed(shelf, plan, again=True)


def _take_away(plan: Plan) -> None:
    plan.root.mkdir(exist_ok=True)
    for move in plan.moves:
        if not exists(move.temp):
            with contextlib.suppress(FileNotFoundError):
                move.target.rename(move.temp)
    for folder in {move.target.parent for move in plan.moves if exists(move.target.parent)}:
        sync_folder(folder)


def _unchanged(plan: Plan, stop: Event | None) -> bool:
    """Whether every artifact is as it was published, wherever it is now, and nothing else with them. Raises OSError.

    What is missing once it is away is no change: earlier versions may have been killed while they deleted it.
    """
    try:
        return all(_as_published(plan, move, stop) for move in plan.moves)
    except (FileNotFoundError, NotADirectoryError, PermissionError):  # a listener's own files may be private
        return False


def _as_published(plan: Plan, move: Move, stop: Event | None) -> bool:
    """Whether one thing holds its artifacts and nothing else. Raises OSError, FileNotFoundError if one is missing."""
    if plan.phase == "renaming" and exists(move.temp):
        return False  # not published yet
    place = _place(plan, move)
    if place is None:
        return plan.phase == "withdrawing"
    own = {place / Path(os.fsdecode(plan.artifacts[at].path)).relative_to(move.target): at for at in move.items}
    if move.folder and not own.keys() >= set(_files_below(place)):
        return False
    left = {path: at for path, at in own.items() if place != move.temp or exists(path)}
    return all(intact(replace(plan.artifacts[at], path=os.fsencode(path)), stop) for path, at in left.items())


def _files_below(folder: Path) -> Iterator[Path]:
    """All that a folder holds but folders. Raises OSError where one cannot be looked into."""
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            yield from _files_below(entry)
        else:
            yield entry
