"""Publishing: a set of files appears in a folder of the user's, whole, durable, beside what is there, and once.

The files are written to `<folder>/.stemd-<job>-<token>/`, synced, read back from the disk, and renamed into place
without replacing anything. A journal in the job's own folder is written before each step that it tells of, so that
after a kill at any instruction the repeat knows what it did: a temporary name that is gone from a temporary folder
that is there has been renamed, and so have all where an unchanged file of the last one lies under its final name.
Deletes nothing but its own temporary files.

A track's own folder appears at once. Files that lie among others' (`{track} ({stem}).{ext}`) appear one right after
the other, all complete, the last item last; no file system offers more.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from stemd.errors import EnvironmentFault, StemdError
from stemd.files.disk import copy_hashing, drop_tree, sync_folder, verify
from stemd.files.faults import faults_in
from stemd.files.names import unicode_only
from stemd.files.plan import (
    Plan,
    disk_of,
    exists,
    intact,
    laid_out,
    remember,
    remembered,
    with_names,
)
from stemd.files.rename import one_mount
from stemd.files.renaming import naming, renamed
from stemd.files.shelf import Item, Shelf, check_folder
from stemd.files.withdraw import abandon, published, withdraw
from stemd.model import Artifact

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from stemd.files.names import Place

__all__ = ["Item", "Shelf", "abandon", "publish", "published", "resume", "withdraw"]

_REFUSED_NAMES: Final = frozenset({errno.EILSEQ, errno.EINVAL})


def publish(shelf: Shelf, items: Sequence[Item]) -> tuple[Artifact, ...]:
    """Have the items appear below the shelf's folder; returns what lies where, in their order.

    Repeated with the same journal, it finishes what was begun and returns what is already there. An item whose name is
    taken goes beside it with a number, the same for the whole set.

    Raises EnvironmentFault("outbox-full", "outbox-read-only", "outbox-missing", "outbox-failing": nothing incomplete
    is visible, and a repeat goes on), Stopping, OSError, StemdError("lost-fact", "lost-delivery").
    """
    with faults_in(shelf.what, shelf.folder):
        check_folder(shelf)
        plan = remembered(shelf.journal)
        if plan is not None and _to_be_finished(plan, shelf):
            return renamed(shelf, plan, again=True)
        return renamed(shelf, _written(shelf, items, plan), again=False)


def resume(shelf: Shelf) -> tuple[Artifact, ...]:
    """Finish what an earlier `publish` with this journal had written completely, and return what lies where.

    Empty if there is no such thing, and the items are needed. Raises as `publish` does.
    """
    with faults_in(shelf.what, shelf.folder):
        check_folder(shelf)
        plan = remembered(shelf.journal)
        if plan is None or not _to_be_finished(plan, shelf):
            return ()
        return renamed(shelf, plan, again=True)


def _to_be_finished(plan: Plan, shelf: Shelf) -> bool:
    """Whether the plan's files were complete, and each has its temporary name still or was given its final one.

    Things are renamed in order, so that the last one tells of all: the user may have changed or removed the others.
    """
    if not plan.complete:
        return False
    waiting = [move for move in plan.moves if plan.phase == "renaming" and exists(move.temp)]
    if waiting and not plan.root.is_relative_to(shelf.folder):
        return False  # the rule has another outbox now
    if disk_of(plan.root.parent) == plan.disk and (plan.phase == "renamed" or exists(plan.root)):
        return True
    gone = [move for move in plan.moves if move not in waiting]
    return not gone or any(_is_there(plan.artifacts[at]) for at in gone[-1].items)


def _is_there(artifact: Artifact) -> bool:
    """Whether a file lies where it was published, unchanged."""
    try:
        return intact(artifact, None)
    except OSError:
        return False


def _written(shelf: Shelf, items: Sequence[Item], stale: Plan | None) -> Plan:
    """Write all items below a new temporary folder, surely. The journal knows its name before it exists."""
    if stale is not None:
        remember(shelf.journal, replace(stale, phase="writing"))
        with contextlib.suppress(OSError):
            drop_tree(stale.root)
    home = _home(shelf.folder, items)
    root = home / f".stemd-{shelf.job}-{secrets.token_hex(4)}"
    plan = remember(shelf.journal, Plan("writing", root, disk_of(home)))
    places = [item.place for item in items]
    try:
        try:
            return _filled(shelf, plan, items, places)
        except OSError as error:
            legal = [place.mapped(unicode_only) for place in places]
            if error.errno not in _REFUSED_NAMES or legal == places:
                raise
            drop_tree(root)
            return _filled(shelf, plan, items, legal)
    except BaseException:
        with contextlib.suppress(OSError):
            drop_tree(root)
        raise


def _filled(shelf: Shelf, plan: Plan, items: Sequence[Item], places: Sequence[Place]) -> Plan:
    """Copy the items below the plan's root, read them back, and choose their final names."""
    plan.root.mkdir()
    moves, files = laid_out(plan.root, shelf.folder, places)
    done = 0
    for item, path in zip(items, files, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        _copy(shelf, item, path, done)
        done += item.size
    for item, path in zip(items, files, strict=True):
        _read_back(shelf, item, path, done)
        done += item.size
    for folder in {parent for path in files for parent in path.parents if parent.is_relative_to(plan.root)}:
        sync_folder(folder)
    sync_folder(plan.root.parent)
    artifacts = tuple(Artifact(b"", item.sha256, item.size) for item in items)
    with naming(shelf.folder):
        return remember(shelf.journal, with_names(replace(plan, artifacts=artifacts), moves, files, shelf.folder))


def _copy(shelf: Shelf, item: Item, target: Path, before: int) -> None:
    source = os.open(item.file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        sha256, _ = copy_hashing(
            source, target, stop=shelf.stop, progress=_going_on(shelf, before), place=shelf.what, folder=shelf.folder
        )
    finally:
        os.close(source)
    if sha256 != item.sha256:
        raise StemdError(
            "lost-delivery",
            f"{item.file.name} changed after it was made",
            "check the state folder's disk; the job is tried again",
        )


def _read_back(shelf: Shelf, item: Item, path: Path, before: int) -> None:
    if not verify(path, item.sha256, stop=shelf.stop, progress=_going_on(shelf, before)):
        raise EnvironmentFault(
            f"{shelf.what}-failing",
            f"what was written to {shelf.folder} reads back differently",
            "check the disk, the cable or the network; the job is tried again",
        )


def _going_on(shelf: Shelf, before: int) -> Callable[[int], None] | None:
    """The shelf's progress, for one file. before: bytes that were dealt with before it."""
    told = shelf.progress
    return None if told is None else lambda done: told(before + done)


def _home(folder: Path, items: Sequence[Item]) -> Path:
    """Where the temporary folder lies: in the outbox, or where something is mounted below it, in that."""
    deepest = folder
    for part in items[0].place.folders:
        if not (deepest / part).is_dir() or (deepest / part).is_symlink():
            break
        deepest /= part
    return folder if one_mount(folder, deepest) else deepest
