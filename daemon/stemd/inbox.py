"""Lists an inbox and tells which files in it are settled. The listing is the truth; absence proves nothing."""

from __future__ import annotations

import contextlib
import errno
import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from stemd.files.companions import base_of, kind_of
from stemd.files.marker import is_marker, vouched_for
from stemd.files.wanted import ignored, wanted
from stemd.model import OWN_FOLDERS, Arrival, Stat
from stemd.model.album import album_of, track_order
from stemd.mounts import UNKNOWN, FileSystem, bring_back, filesystem, not_mounted, unmounted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from stemd.model import Rule


_OF_ONE_FILE: Final = frozenset({errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP})
"""What says nothing of the inbox: it may still be there."""

ALBUM_PATIENCE: Final = 600.0
"""Seconds for which a track that has not changed waits for the rest of its album."""


@dataclass(frozen=True, slots=True)
class Look:
    """One listing of an inbox. Paths are bytes, absolute.

    at: monotonic seconds. offline: why it could not be listed; "" when it could. links: symbolic links, not followed.
    alone: companions with no recording beside them. unreadable: folders that could not be listed, or hold
    what could not be looked at.
    identity: (device, inode) of the inbox folder. inbox: its path. disk: what it lies on, if it could be listed.
    unready: recordings whose sender has not marked them, where the rule wants a marker; they are not among the files.
    """

    rule: str
    at: float
    files: Mapping[bytes, Stat] = field(default_factory=dict)
    links: tuple[bytes, ...] = ()
    alone: tuple[bytes, ...] = ()
    unreadable: tuple[bytes, ...] = ()
    offline: str = ""
    identity: tuple[int, int] = (0, 0)
    inbox: bytes = b""
    unready: Mapping[bytes, Stat] = field(default_factory=dict)
    disk: FileSystem = UNKNOWN


@dataclass(frozen=True, slots=True)
class Sighting:
    """A version of a file that is waited for, and the look (monotonic seconds) that saw it first.

    clock: from when on it has to stay the same; for a track, the last change of any track of its album.
    """

    stat: Stat
    since: float
    clock: float


def look(rule: Rule, now: float, moved: Callable[[], None] = lambda: None, once_own: Iterable[Path] = ()) -> Look:
    """List a rule's inbox with all its sub-folders. Never raises: an inbox that cannot be listed is offline.

    moved: called at every step forward, for a listing may take minutes on a slow share.
    once_own: folders that were the daemon's by another configuration; what it left in them is no recording.
    """
    files: dict[bytes, Stat] = {}
    markers: dict[bytes, Stat] = {}
    links: list[bytes] = []
    companions: list[bytes] = []
    unreadable: set[bytes] = set()
    root = os.fsencode(rule.inbox)
    try:
        if point := unmounted(rule.inbox):
            return Look(rule.name, now, offline=f"{not_mounted(point)}; run: mount {point}", inbox=root)
        info = rule.inbox.stat()
        disk = filesystem(rule.inbox)
        default = [rule.inbox / name for name in OWN_FOLDERS.values()]
        skipped = frozenset(os.fsencode(folder) for folder in (*rule.own_folders, *default, *once_own))
        for path, entry in _walk(root, skipped, unreadable, moved):
            with _without_what_hides(path, unreadable):
                if entry.is_symlink():
                    links.append(path)
                elif not entry.is_file(follow_symlinks=False):
                    continue
                elif is_marker(entry.name):
                    markers[path] = stat_of(entry.stat(follow_symlinks=False))
                elif kind_of(os.fsdecode(entry.name)):
                    companions.append(path)
                elif wanted(path[len(root) + 1 :], rule):
                    files[path] = stat_of(entry.stat(follow_symlinks=False))
    except FileNotFoundError:
        return Look(rule.name, now, offline=f"{rule.inbox} is not there; {bring_back(rule.inbox)}", inbox=root)
    except OSError as fault:
        return Look(rule.name, now, offline=fault.strerror or str(fault), inbox=root)
    alone = _alone(companions, files)
    unmarked = files.keys() - vouched_for(files, markers) if rule.ready == "marker" else ()
    unready = {path: files.pop(path) for path in unmarked}
    identity, closed = (info.st_dev, info.st_ino), tuple(sorted(unreadable))
    return Look(rule.name, now, files, tuple(links), alone, closed, "", identity, root, unready, disk)


@contextlib.contextmanager
def _without_what_hides(path: bytes, unreadable: set[bytes]) -> Iterator[None]:
    """Pass over a file that was moved since it was listed, and over one that alone cannot be looked at."""
    try:
        yield
    except FileNotFoundError:
        pass
    except OSError as fault:
        if fault.errno not in _OF_ONE_FILE:
            raise
        unreadable.add(os.path.dirname(path))  # noqa: PTH120 - names are bytes


def _alone(companions: Iterable[bytes], recordings: Iterable[bytes]) -> tuple[bytes, ...]:
    """Those companions that have no recording beside them."""
    if not companions:
        return ()
    there = {_name_of(path) for path in recordings}
    return tuple(path for path in companions if _name_of(path) not in there)


def _name_of(path: bytes) -> tuple[bytes, str]:
    """What a recording and its companions have in common."""
    folder, _, name = path.rpartition(b"/")
    return folder, base_of(os.fsdecode(name))


def _walk(
    root: bytes, skipped: frozenset[bytes], unreadable: set[bytes], moved: Callable[[], None]
) -> Iterator[tuple[bytes, os.DirEntry[bytes]]]:
    """Give everything below `root` that is not ignored and not a folder; a root that cannot be listed raises."""
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as entries:
                found = list(entries)
        except OSError:
            if folder == root:
                raise
            unreadable.add(folder)
            continue
        for entry in found:
            moved()
            if ignored(entry.name) or entry.path in skipped:
                continue
            with _without_what_hides(entry.path, unreadable):
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                    continue
            yield entry.path, entry


def stat_of(info: os.stat_result) -> Stat:
    """Reduce what the kernel says of a file to what tells its versions apart."""
    return Stat(info.st_size, info.st_mtime_ns, info.st_ctime_ns)


def settle(
    sightings: Mapping[bytes, Sighting], seen: Look, known: Mapping[bytes, Stat], seconds: float
) -> tuple[dict[bytes, Sighting], list[Arrival]]:
    """Compare a look with the sightings so far; returns the new sightings and what has settled, in the tracks' order.

    A file is settled once its (size, mtime, ctime) stayed the same over two looks and `seconds` of monotonic time. The
    tracks of an album settle together: the clock of all of them starts anew with any that is new or has changed, for
    ten minutes at most.
    known: versions that were settled before; they are neither waited for nor reported again.
    """
    waiting: dict[bytes, Sighting] = {}
    for path, stat in seen.files.items():
        if known.get(path) != stat:
            before = sightings.get(path)
            waiting[path] = before if before is not None and before.stat == stat else Sighting(stat, seen.at, seen.at)
    waiting = _together(waiting, len(seen.inbox) + 1)
    settled = [path for path, sighting in waiting.items() if seen.at - sighting.clock >= seconds]
    arrivals = [Arrival(seen.rule, path, waiting.pop(path).stat) for path in sorted(settled, key=track_order)]
    return waiting, arrivals


def _together(waiting: Mapping[bytes, Sighting], root: int) -> dict[bytes, Sighting]:
    """Let all tracks of an album have the clock of the last that moved. root: where names below the inbox begin.

    Nobody waits for the others longer than `ALBUM_PATIENCE`: one of them may be a recording that goes on for hours.
    """
    latest: dict[bytes, float] = {}
    for path, sighting in waiting.items():
        album = album_of(path[root:])
        latest[album] = max(latest.get(album, sighting.since), sighting.since)
    return {
        path: replace(sighting, clock=min(latest[album], sighting.since + ALBUM_PATIENCE))
        if (album := album_of(path[root:]))
        else sighting
        for path, sighting in waiting.items()
    }


def next_look(sightings: Mapping[bytes, Sighting], now: float, seconds: float, rescan: float) -> float:
    """When to look again (monotonic): when the first waiting file may have settled, and no later than `rescan`."""
    soonest = min((sighting.clock + seconds for sighting in sightings.values()), default=now + rescan)
    return min(max(soonest, now + min(0.5, seconds)), now + rescan)
