"""Giving what lies complete under temporary names its names in a folder of the user's. Never replaces anything.

The journal is written before each step that it tells of; whatever is repeated after a kill goes on from there.
"""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from stemd.files.disk import sync_folder
from stemd.files.names import fold
from stemd.files.plan import exists, listing, remember, with_new_name
from stemd.files.rename import rename_noreplace

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from stemd.files.plan import Move, Plan
    from stemd.files.shelf import Shelf
    from stemd.model import Artifact

_NAMING: Final[dict[Path, threading.Lock]] = {}


def naming(folder: Path) -> threading.Lock:
    """Give what is held between the look at a folder's names and the renaming; one each, for a share may hang."""
    return _NAMING.setdefault(folder, threading.Lock())


def renamed(shelf: Shelf, plan: Plan, *, again: bool) -> tuple[Artifact, ...]:
    """Carry out what is left of the plan; a name that was taken meanwhile gets another number.

    again: an earlier try may have begun with it. Returns what lies where. Raises OSError, EnvironmentFault("state-..").
    """
    if plan.phase != "renamed":
        with naming(shelf.folder):
            for at in range(len(plan.moves)):
                if not (again and _was_carried_out(plan, at)):
                    plan = _carried_out(shelf, plan, at)
        for folder in {move.target.parent for move in plan.moves if exists(move.target.parent)}:
            sync_folder(folder)
        plan = remember(shelf.journal, replace(plan, phase="renamed"))
    with contextlib.suppress(OSError):
        plan.root.rmdir()  # empty by now: another folder that took its name meanwhile is not
        sync_folder(plan.root.parent)
    return plan.artifacts


def _was_carried_out(plan: Plan, at: int) -> bool:
    """Whether an earlier try has renamed one thing; finishes a renaming that it has only begun."""
    move = plan.moves[at]
    if exists(move.temp):
        return _is_our_own(move, plan.artifacts)
    return plan.phase == "withdrawing" or exists(plan.root) or any(exists(later.target) for later in plan.moves[at:])


def _carried_out(shelf: Shelf, plan: Plan, at: int) -> Plan:
    """Rename one thing; the plan as it is afterwards."""
    _make_folders(plan.root.parent, plan.moves[at].target)
    while True:
        move = plan.moves[at]
        with contextlib.suppress(FileExistsError):
            if fold(move.target.name) not in listing(move.target.parent):  # the kernel minds case, others do not
                rename_noreplace(move.temp, move.target)
                return plan
        plan = remember(shelf.journal, with_new_name(plan, at))


def _make_folders(folder: Path, target: Path) -> None:
    """Make those between again that were removed since; never `folder` itself, which may not be mounted."""
    for part in target.relative_to(folder).parts[:-1]:
        folder /= part
        folder.mkdir(exist_ok=True)


def _is_our_own(move: Move, artifacts: Sequence[Artifact]) -> bool:
    """Finish a renaming that was killed between the two steps it has on a file system without RENAME_NOREPLACE."""
    if not exists(move.target):
        return False
    there = move.target.lstat()
    if os.path.samestat(there, move.temp.lstat()):
        move.temp.unlink()
        return True
    if not move.folder and there.st_size == 0 < artifacts[move.items[0]].size:
        move.temp.replace(move.target)  # the claim of a name that this plan had found free
        return True
    return False
