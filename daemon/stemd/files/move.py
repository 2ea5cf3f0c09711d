"""Moving a file of the user's, whole or not at all, also to another file system. Never replaces anything."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING, Final

from stemd.errors import EnvironmentFault, StemdError
from stemd.files.disk import copy_hashing, digest, open_regular, sync_folder, verify
from stemd.files.facts import read_json, write_json
from stemd.files.faults import faults_in
from stemd.files.rename import rename_noreplace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from threading import Event

_PRIVATE: Final = 0o600  # until it has the rights of its original


def move(
    source: Path,
    target: Path,
    job: int,
    journal: Path,
    sha256: str = "",
    *,
    stop: Event | None = None,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Rename; where only a copy can get there, check it, let it appear, and only then remove the original.

    What is saved under the original's name meanwhile stays. May be repeated after a kill, or where the original could
    not be removed: the copy that has appeared then counts, and no second one is made.

    job: whose temporary file the copy is. journal: the file to note in where the copy appears. sha256: what must come
    out, hex; "" where nobody knows. progress: told the bytes copied so far, where they are copied.
    Raises FileExistsError, OSError, EnvironmentFault("archive-failing", "archive-full", "inbox-busy",
    "inbox-read-only", "state-full", ..), Stopping.
    """
    try:
        rename_noreplace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:  # another file system, or another mount of the same one
            raise
        copied = _copied_before(source, target, journal, stop)
        if copied is None:
            copied = _copy(source, target, job, journal, sha256, stop, progress)
        sync_folder(target.parent)
        _remove(source, copied)
    else:
        sync_folder(target.parent)
    sync_folder(source.parent)


def _copied_before(source: Path, target: Path, journal: Path, stop: Event | None) -> os.stat_result | None:
    """Find out whether an earlier try has left the copy, but not removed the source; None if not."""
    if not os.path.lexists(target) or _announced(journal) != _whole(target):
        return None
    info = source.lstat()
    return info if verify(target, digest(source, stop=stop), stop=stop) else None


def _whole(target: Path) -> str:
    """The name by which a repeat knows the target, whichever way its folder was reached."""
    return os.fspath(target.parent.resolve() / target.name)


def _announced(journal: Path) -> str:
    try:
        return str(read_json(journal))
    except StemdError:
        return ""


def _copy(
    source: Path, target: Path, job: int, journal: Path, sha256: str, stop: Event | None,
    progress: Callable[[int], None] | None,
) -> os.stat_result:  # fmt: skip
    """Have the copy appear as `target`; returns what the source was then."""
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    with os.fdopen(open_regular(source), "rb") as file:
        info = os.fstat(file.fileno())
        # the same name each time, so that a repeat replaces what a kill has left
        unfinished = target.with_name(f".stemd-{job}-{info.st_ino:x}-{info.st_mtime_ns:x}")
        try:
            copied, _ = copy_hashing(
                file.fileno(), unfinished, stop=stop, progress=progress, place="archive", mode=_PRIVATE
            )
            _check_unwritten(source, info, os.fstat(file.fileno()))
            if copied != (sha256 or digest(unfinished, stop=stop)):
                raise EnvironmentFault(
                    "archive-failing", f"{target.resolve()} reads back differently", "check the disk; tried again"
                )
            _make_like(unfinished, info)
            write_json(journal, _whole(target))
            rename_noreplace(unfinished, target)
        finally:
            with contextlib.suppress(OSError):
                unfinished.unlink()
    return info


def _remove(source: Path, copied: os.stat_result) -> None:
    """Remove the source, if it still is what was copied."""
    if _is_still(source, copied):
        with faults_in("inbox", source.parent):
            source.unlink()


def _make_like(copy: Path, info: os.stat_result) -> None:
    """Give a copy the times of its original, and its owner, group and rights as far as user and file system can.

    Where it cannot have the owner, its group may do what the owner could.
    """
    descriptor = open_regular(copy)
    try:
        with contextlib.suppress(OSError):
            os.fchown(descriptor, -1, info.st_gid)
        rights = stat.S_IMODE(info.st_mode) & 0o777
        try:
            os.fchown(descriptor, info.st_uid, -1)
        except OSError:
            rights |= (rights & 0o600) >> 3  # its owner may be a member of its group
        with contextlib.suppress(OSError):
            os.fchmod(descriptor, rights)
        os.utime(descriptor, ns=(info.st_atime_ns, info.st_mtime_ns))
    finally:
        os.close(descriptor)


def _check_unwritten(source: Path, before: os.stat_result, after: os.stat_result) -> None:
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise EnvironmentFault(
            "inbox-busy", f"{source.resolve()} was written to while it was moved", "it is looked at again"
        )


def _is_still(source: Path, info: os.stat_result) -> bool:
    """Whether the file at a path is the one that was copied, unchanged; opened, for a cache may answer a mere look."""
    try:
        descriptor = open_regular(source)
    except OSError:  # gone, no regular file, or not to be read: something else is there now
        return False
    try:
        return _version(os.fstat(descriptor)) == _version(info)
    finally:
        os.close(descriptor)


def _version(info: os.stat_result) -> tuple[int, ...]:
    return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns
