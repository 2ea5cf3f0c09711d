"""Bytes on disk: digests, copies that are surely there, and folders that are surely gone."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
from typing import TYPE_CHECKING, Any, Final

from stemd.errors import Stopping
from stemd.files.faults import faults_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from threading import Event
    from types import TracebackType

_BLOCK: Final = 1024 * 1024
_NO_SYNC: Final = frozenset({errno.EINVAL, errno.EBADF, errno.EOPNOTSUPP, errno.ENOSYS})


def open_regular(path: Path) -> int:
    """Open a file for reading, and give its descriptor; never waits, as opening a pipe does.

    Raises OSError, ELOOP for a link, ENXIO for what else is no regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.ENXIO, "not a regular file", str(path))


def digest(path: Path, *, stop: Event | None = None) -> str:
    """Compute the sha256 of a file's bytes, in hex. Constant memory. Raises OSError as `open_regular`, Stopping."""
    descriptor = open_regular(path)
    try:
        return _digest_of(descriptor, stop)
    finally:
        os.close(descriptor)


def copy_hashing(
    source: int,
    target: Path,
    *,
    stop: Event | None = None,
    progress: Callable[[int], None] | None = None,
    place: str = "state",
    folder: Path | None = None,
    mode: int = 0o666,
) -> tuple[str, int]:
    """Copy an open file from its present position to its end, and have it on the disk when this returns.

    source: a descriptor. target: replaced if it is there; taken away again if the copy does not succeed; its entry in
    its folder is synced by the caller. progress: told the bytes copied so far. folder: the one that a fault names,
    otherwise the target's. mode: the copy's rights, less the umask.
    Returns (sha256 in hex, size in bytes).

    Raises OSError for what the *source* refuses, EnvironmentFault(f"{place}-full" and its like) or OSError with
    `filename` for what the target's folder refuses, Stopping.
    """
    named = folder or target.parent
    with faults_in(place, named):
        target.unlink(missing_ok=True)
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    done = False
    try:
        sha256, size = hashlib.sha256(), 0
        for block in _blocks(source, stop):
            sha256.update(block)
            size += len(block)
            with faults_in(place, named):
                _write_all(descriptor, block)
            if progress is not None:
                progress(size)
        with faults_in(place, named):
            os.fsync(descriptor)
        done = True
    finally:
        with contextlib.suppress(OSError):
            os.close(descriptor)
        if not done:
            with contextlib.suppress(OSError):
                target.unlink()
    return sha256.hexdigest(), size


def verify(
    path: Path, sha256: str, *, stop: Event | None = None, progress: Callable[[int], None] | None = None
) -> bool:
    """Read a file back from the disk itself, not from the page cache, and tell whether it is what was written.

    progress: told the bytes read so far.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        with contextlib.suppress(OSError):  # only advice, which not every file system takes
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        return _digest_of(descriptor, stop, progress) == sha256
    finally:
        os.close(descriptor)


def sync_file(file: Path) -> None:
    """Have a file that another program wrote on the disk. Raises OSError."""
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Have a folder's entries on the disk. File systems that know no such thing (SMB, some FUSE) are left in peace."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(descriptor)


def free_bytes(folder: Path) -> int:
    """How many bytes this user may still write on the folder's file system. Raises OSError."""
    state = os.statvfs(folder)
    return state.f_bavail * state.f_frsize


def drop_tree(path: Path) -> None:
    """Remove a temporary file or folder of our own, whatever is in it; no error if it is not there.

    Follows no link, and none that appears meanwhile: below `path` it goes by descriptors.
    Raises OSError, for a folder that was exchanged for a link meanwhile too.
    """
    try:
        if stat.S_ISDIR(path.lstat().st_mode):
            shutil.rmtree(path, onerror=_unless_gone)
        else:
            path.unlink()
    except FileNotFoundError:
        return


def _unless_gone(_call: Callable[..., Any], _path: str, raised: tuple[type, BaseException, TracebackType]) -> None:
    if not isinstance(raised[1], FileNotFoundError):
        raise raised[1]


def _blocks(descriptor: int, stop: Event | None) -> Iterator[memoryview]:
    """The file from here to its end, in views of one buffer."""
    buffer = memoryview(bytearray(_BLOCK))
    with contextlib.suppress(OSError):  # a pipe takes no advice
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
    while size := os.readv(descriptor, [buffer]):
        if stop is not None and stop.is_set():
            raise Stopping
        yield buffer[:size]


def _digest_of(descriptor: int, stop: Event | None, progress: Callable[[int], None] | None = None) -> str:
    sha256, size = hashlib.sha256(), 0
    for block in _blocks(descriptor, stop):
        sha256.update(block)
        size += len(block)
        if progress is not None:
            progress(size)
    return sha256.hexdigest()


def _write_all(descriptor: int, block: memoryview) -> None:
    while block:
        block = block[os.write(descriptor, block) :]
