"""What a publication is going to do and has done: a journal, written before each step that it tells of."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from stemd.files.disk import sync_folder, verify
from stemd.files.facts import read_fact, write_fact
from stemd.files.names import LONGEST, Place, fold, numbered
from stemd.model import Artifact  # noqa: TC001 - the journal is read back by its annotations

if TYPE_CHECKING:
    from collections.abc import Sequence
    from threading import Event


@dataclass(frozen=True, slots=True)
class Move:
    """One renaming: `temp` below the plan's root becomes `target`. items: their places in the published set."""

    temp: Path
    target: Path
    folder: bool
    items: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """The journal's content.

    root: the temporary folder. disk: what its file system is known by. moves, artifacts: complete from "renaming" on;
    then a move whose `temp` is gone has been carried out if `root`, its target or a later one's is there, for they are
    carried out in order. "renamed": all of them have, which "renaming" without `root` may mean in older journals.
    In "withdrawing" each is under one of its names, or was taken away by somebody.
    """

    phase: Literal["writing", "renaming", "renamed", "withdrawing"]
    root: Path
    disk: tuple[int, int]
    moves: tuple[Move, ...] = ()
    artifacts: tuple[Artifact, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether all files were written, and have their final names or are about to get them."""
        return self.phase in {"renaming", "renamed"}


def remembered(journal: Path) -> Plan | None:
    """Read the journal; None if nothing was begun. Raises StemdError("lost-fact") if it is damaged."""
    return read_fact(journal, Plan) if journal.exists() else None


def remember(journal: Path, plan: Plan) -> Plan:
    """Write the journal durably and hand the plan on."""
    write_fact(journal, plan)
    return plan


def disk_of(folder: Path) -> tuple[int, int]:
    """Inode and file system id: they tell a mounted folder from an empty mount point and outlast a new mount."""
    return folder.stat().st_ino, os.statvfs(folder).f_fsid


def longest_name(folder: Path) -> int:
    """How many bytes a name may have there; 255 where the file system does not say."""
    try:
        return min(LONGEST, os.pathconf(folder, "PC_NAME_MAX"))
    except (OSError, ValueError):
        return LONGEST


def laid_out(root: Path, folder: Path, places: Sequence[Place]) -> tuple[list[Move], list[Path]]:
    """Work out the renamings that a set needs below `folder`, and where each file is written below `root`."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for at, place in enumerate(places):
        groups.setdefault((*place.folders, *place.unit[:1]) if place.unit else (*place.folders, place.name), []).append(
            at
        )
    moves, files = [], [root] * len(places)
    for number, (key, group) in enumerate(groups.items()):
        temp = root / str(number)
        moves.append(Move(temp, folder.joinpath(*key), bool(places[group[0]].unit), tuple(group)))
        for at in group:
            files[at] = temp.joinpath(*places[at].unit[1:], places[at].name) if places[at].unit else temp
    return moves, files


def with_names(plan: Plan, moves: Sequence[Move], files: Sequence[Path], folder: Path) -> Plan:
    """Give all moves the first number with which every target is free; makes the folders between."""
    wanted = [replace(move, target=_below(folder, move.target)) for move in moves]
    taken = {parent: listing(parent) for parent in {move.target.parent for move in wanted}}
    number = next(n for n in count(1) if not any(_numbered(m, n) in taken[m.target.parent] for m in wanted))
    artifacts = list(plan.artifacts)
    chosen = []
    for move in wanted:
        target = _target(move, number)
        chosen.append(replace(move, target=target))
        for at in move.items:
            path = target / files[at].relative_to(move.temp) if move.folder else target
            artifacts[at] = replace(artifacts[at], path=os.fsencode(path))
    return replace(plan, phase="renaming", moves=tuple(chosen), artifacts=tuple(artifacts))


def with_new_name(plan: Plan, at: int) -> Plan:
    """Give one move another number because its target was taken meanwhile."""
    move = plan.moves[at]
    taken = listing(move.target.parent)
    number = next(n for n in count(2) if _numbered(move, n) not in taken)
    target = _target(move, number)
    artifacts = list(plan.artifacts)
    for item in move.items:
        rest = Path(os.fsdecode(artifacts[item].path)).relative_to(move.target)
        artifacts[item] = replace(artifacts[item], path=os.fsencode(target / rest))
    moves = (*plan.moves[:at], replace(move, target=target), *plan.moves[at + 1 :])
    return replace(plan, moves=moves, artifacts=tuple(artifacts))


def listing(folder: Path) -> set[str]:
    """Return the folded names of what a folder holds."""
    return {fold(entry.name) for entry in folder.iterdir()}


def intact(artifact: Artifact, stop: Event | None) -> bool:
    """Whether a published file is there, unchanged. Raises OSError if it is not there."""
    path = Path(os.fsdecode(artifact.path))
    known = path.lstat()
    return stat.S_ISREG(known.st_mode) and known.st_size == artifact.size and verify(path, artifact.sha256, stop=stop)


def _numbered(move: Move, number: int) -> str:
    return fold(_target(move, number).name)


def _target(move: Move, number: int) -> Path:
    longest = longest_name(move.target.parent)
    return move.target.with_name(numbered(move.target.name, number, folder=move.folder, longest=longest))


def _below(folder: Path, target: Path) -> Path:
    """The target in folders that are there; uses those whose names some system takes for the same."""
    for part in target.relative_to(folder).parts[:-1]:
        folder = _entered(folder, part)
    return folder / target.name


def _entered(folder: Path, part: str) -> Path:
    """Find or make a folder in a folder; never through a link, which may lead anywhere."""
    present = {fold(entry.name): entry for entry in folder.iterdir()}
    for number in count(1):
        name = numbered(part, number, folder=True)
        exact = folder / name
        path = exact if os.path.lexists(exact) else present.get(fold(name), exact)
        if not os.path.lexists(path):
            path.mkdir(exist_ok=True)
            sync_folder(folder)
        if stat.S_ISDIR(path.lstat().st_mode):
            return path
    raise AssertionError  # count() does not end


def exists(path: Path) -> bool:
    """Whether there is anything by this name, a broken link among it. Raises OSError if that cannot be told now."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
