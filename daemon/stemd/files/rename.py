"""Renaming that never replaces anything, on every file system. Makes nothing durable: `sync_folder` does."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path
from typing import Final

_AT_FDCWD: Final = -100
_RENAME_NOREPLACE: Final = 1
_UNKNOWN: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTTY})
_NO_LINKS: Final = frozenset({errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EMLINK, errno.EACCES})

_renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
if _renameat2 is not None:
    _renameat2.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]


def rename_noreplace(source: Path, target: Path) -> None:
    """Give a file or folder a new name on the same file system; the new name must be free.

    Raises FileExistsError if it is not, and OSError.
    """
    try:
        _by_kernel(source, target)
    except OSError as error:
        if error.errno not in _UNKNOWN:
            raise
        if source.is_dir() and not source.is_symlink():
            _folder(source, target)
        else:
            _file(source, target)


def one_mount(first: Path, second: Path) -> bool:
    """Whether a renaming can lead from one folder to the other. Raises OSError."""
    return _mount_of(first) == _mount_of(second)


def _mount_of(folder: Path) -> tuple[int, str]:
    """Device and mount: parts of one mount may have devices of their own (btrfs), and mounts of one device (bind)."""
    descriptor = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    try:
        told = Path(f"/proc/self/fdinfo/{descriptor}").read_text(encoding="ascii")
        return os.fstat(descriptor).st_dev, next(line for line in told.splitlines() if line.startswith("mnt_id"))
    finally:
        os.close(descriptor)


def _by_kernel(source: Path, target: Path) -> None:
    """Ask Linux for RENAME_NOREPLACE: one step, and no race. https://man7.org/linux/man-pages/man2/rename.2.html."""
    if _renameat2 is None:  # a C library that is not glibc
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    names = (os.fsencode(source), os.fsencode(target))
    if _renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_NOREPLACE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(source), None, str(target))


def _folder(source: Path, target: Path) -> None:
    """Rename a folder plainly: rename(2) puts a folder over nothing but an empty folder, so no content can be lost."""
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    try:
        source.rename(target)
    except OSError as error:
        if error.errno in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from error
        raise


def _file(source: Path, target: Path) -> None:
    """Link the file under its new name, which fails if that exists; where there are no links, claim the name first."""
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        source.replace(target)  # over our own empty claim
    else:
        source.unlink()
