"""What the file systems below inboxes, outboxes and the state folder can do, tried out in a folder of our own."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from stemd import patience, tools
from stemd.config import made_by_daemon
from stemd.doctor.finding import Finding, ok, problem, warning
from stemd.errors import StemdError
from stemd.files import free_bytes, rename_noreplace
from stemd.ledger.folders import strayed
from stemd.mounts import bring_back, filesystem, not_mounted, unmounted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from stemd.config import Settings
    from stemd.mounts import FileSystem

_GIB = 1 << 30
_LITTLE, _NONE = 10 * _GIB, _GIB
_SKEW = 5.0
_PATIENCE = 8.0  # seconds: a sleeping disk wakes in them


@dataclass(frozen=True, slots=True)
class Trial:
    """What was seen in a folder. kind: of its file system. free: bytes.

    fault: why nothing could be tried; the rest is then unknown. exclusive: renaming never replaces. cases: "a" and "A"
    are two files. skew: seconds by which the file system's clock is ahead of ours.
    """

    kind: str
    network: bool
    free: int
    fault: str = ""
    exclusive: bool = True
    cases: bool = True
    skew: float = 0.0


class Place(NamedTuple):
    """A folder that the daemon uses, and what is to be said of it once it was tried."""

    area: str
    folder: Path
    judge: Callable[[str, str, Trial], Iterator[Finding]]


def places(settings: Settings) -> list[Place]:
    """List the state folder and the folders of all rules."""
    found = [Place("state folder", settings.daemon.state_dir, judge_state)]
    for rule in settings.rules:
        found.append(Place(f"inbox {rule.name}", rule.inbox, judge_inbox))
        found.append(Place(f"outbox {rule.name}", rule.outbox, judge_outbox))
        outside = [folder for folder in rule.own_folders if not folder.is_relative_to(rule.inbox)]
        found += [Place(f"{rule.name}'s {folder.name}", folder, judge_outbox) for folder in outside]
    return found


def silent(found: Sequence[Place]) -> list[Place]:
    """Find those that do not answer at all."""
    told = patience.ask({place: partial(_hangs, place.folder) for place in found}, 2 * _PATIENCE)
    return [place for place in found if told.get(place, True)]


def _hangs(folder: Path) -> bool:
    """Ask by another process: a thread of this one that hangs would keep it from changing users."""
    try:
        tools.run(["stat", "--", str(folder)], timeout=_PATIENCE)
    except StemdError as fault:
        return fault.code in {"timeout", "stuck"}
    return False


def check(place: Place, home: Path, before: Mapping[Path, FileSystem]) -> Iterator[Finding]:
    """Try a folder, or the one that it will be made in.

    home: the folder of the configuration's file. before: the folders that the daemon has seen, and on what.
    """
    area, folder, judge = place
    if point := unmounted(folder):
        yield problem(area, f"{folder}: {not_mounted(point)}", f"run: mount {point}")
        return
    if folder in before and not folder.is_dir():
        yield problem(area, f"{folder} was there before and is not now", f"{bring_back(folder)}; the rule waits for it")
        return
    if judge is judge_inbox and not folder.is_dir() and not made_by_daemon(folder, home):
        yield problem(area, f"{folder} is not there", "mount it, or make it; the rule waits until then")
        return
    present = _present(folder)
    disk = filesystem(folder)
    if strayed(before.get(folder, disk), disk):
        text = f"{folder} was on {before[folder].name} and is on {disk.name} now"
        yield warning(area, text, "mount its share; if the folder was moved on purpose, all is well")
    yield from judge(area, str(folder) if folder == present else f"{folder}, to be made", attempt(present))


def _present(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there: it will be made in that."""
    return next(place for place in (folder, *folder.parents) if place.is_dir())


def attempt(folder: Path) -> Trial:
    """Make a hidden folder in it, try what the daemon will do, and take it away again."""
    system = filesystem(folder)
    room = free_bytes(folder)
    trial = folder / f".stemd-doctor-{os.getpid()}"
    try:
        trial.mkdir()
        try:
            return Trial(system.name, system.network, room, "", _exclusive(trial), _cases(trial), _skew(trial))
        finally:
            shutil.rmtree(trial, ignore_errors=True)
    except OSError as error:
        return Trial(system.name, system.network, room, error.strerror or str(error))


def _exclusive(trial: Path) -> bool:
    first, second, target = trial / "first", trial / "second", trial / "target"
    first.write_text("first")
    second.write_text("second")
    rename_noreplace(first, target)
    try:
        rename_noreplace(second, target)
    except FileExistsError:
        return target.read_text() == "first"
    return False


def _cases(trial: Path) -> bool:
    (trial / "case").touch()
    return not (trial / "CASE").exists()


def _skew(trial: Path) -> float:
    stamp = trial / "stamp"
    before = time.time()
    stamp.touch()
    return stamp.stat().st_mtime - (before + time.time()) / 2


def judge_state(area: str, path: str, trial: Trial) -> Iterator[Finding]:
    """Want a local disk with locks that hold."""
    if trial.fault:
        yield problem(
            area, f"{path} cannot be written: {trial.fault}", "chown it to the service's user, or set state_dir"
        )
    elif trial.network:
        yield problem(area, f"{path} is a network share ({trial.kind})", "set state_dir in [daemon] to a local disk")
    else:
        yield from _room(area, path, trial)


def judge_inbox(area: str, path: str, trial: Trial) -> Iterator[Finding]:
    """Sources are moved there when they are done, so it has to be writable."""
    if trial.fault:
        yield problem(
            area, f"{path} cannot be written: {trial.fault}", "give the service's user the right to write there"
        )
        return
    yield from _common(area, path, trial)


def judge_outbox(area: str, path: str, trial: Trial) -> Iterator[Finding]:
    """Files are published there by renaming, which must never replace."""
    if trial.fault:
        yield problem(
            area, f"{path} cannot be written: {trial.fault}", "give the service's user the right to write there"
        )
        return
    if not trial.exclusive:
        yield problem(area, f"{path}: renaming replaces files ({trial.kind})", "use another file system for the outbox")
    yield from _common(area, path, trial)


def _common(area: str, path: str, trial: Trial) -> Iterator[Finding]:
    if abs(trial.skew) > _SKEW:
        yield warning(
            area, f"{path}: its clock is {trial.skew:+.0f} s off", "synchronise the clocks of server and machine"
        )
    yield from _room(area, path, trial)


def _room(area: str, path: str, trial: Trial) -> Iterator[Finding]:
    where = f"{'network share' if trial.network else 'local'}, {trial.kind}"
    cases = "" if trial.cases else ", does not tell capitals apart"
    told = f"{path} ({where}{cases}), {trial.free / _GIB:.1f} GiB free"
    if trial.free < _NONE:
        yield problem(area, told, "free some space: work waits until there is room")
    elif trial.free < _LITTLE:
        yield warning(area, told, "an hour of music takes about 2 GiB a stem and format; free some space")
    else:
        yield ok(area, told)
