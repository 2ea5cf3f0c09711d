"""Which errors of the kernel are faults of the surroundings, and what to do about them. Decides nothing else."""

from __future__ import annotations

import contextlib
import errno
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from stemd.errors import EnvironmentFault

if TYPE_CHECKING:
    from collections.abc import Iterator


HELD: Final = Path("/proc/self/fd")
"""Where Linux has a path for every open folder, which leads to it whatever becomes of its name."""


class _Kind(NamedTuple):
    """One kind of fault: {place}, {folder} and {why} are filled in where they stand."""

    numbers: frozenset[int]
    code: str
    message: str
    hint: str


_KINDS: Final = (
    _Kind(
        frozenset({errno.ENOSPC, errno.EDQUOT}),
        "{place}-full",
        "no space left in {folder}",
        "free some space or raise the quota; the job then resumes",
    ),
    _Kind(
        frozenset({errno.EFBIG}),
        "{place}-file-too-large",
        "{folder} does not take a file of this size",
        'choose format = "flac" or a file system other than FAT; the job then resumes',
    ),
    _Kind(
        frozenset({errno.EROFS, errno.EACCES, errno.EPERM}),
        "{place}-read-only",
        "cannot write in {folder} ({why})",
        "make it writable for the user that stemd runs as; the job then resumes",
    ),
    _Kind(
        frozenset({
            errno.ENOENT, errno.ENOTDIR, errno.ENOTCONN, errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.EHOSTDOWN,
            errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH, errno.ECONNABORTED, errno.ECONNRESET,
            errno.ESHUTDOWN,
        }),
        "{place}-missing",
        "{folder} is not there ({why})",
        "mount the share, or, if the folder was removed on purpose, make it: mkdir -p {folder}; the job then resumes",
    ),
    _Kind(
        frozenset({errno.ELOOP}),
        "{place}-is-a-link",
        "{folder} cannot be entered ({why}); links in an inbox may lead anywhere, and are not followed",
        "put a folder in its place, or name the folder that it leads to in the rule; the job then resumes",
    ),
    _Kind(
        frozenset({errno.EIO, errno.ETIMEDOUT, errno.EREMOTEIO, errno.EUCLEAN, errno.ENOLCK, errno.EBUSY}),
        "{place}-failing",
        "the disk or share of {folder} reports an error ({why})",
        "check the disk, the cable or the network (dmesg tells more); the job resumes when it works again",
    ),
    _Kind(
        frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}),
        "no-resources",
        "the system refuses more files or memory ({why})",
        "raise LimitNOFILE or free memory; the job then resumes",
    ),
)  # fmt: skip


def fault_of(error: OSError, place: str, folder: Path) -> EnvironmentFault | None:
    """What an error met while writing below `folder` says about the surroundings; None if it says nothing.

    place: what the folder is to the user ("outbox", "review", "state"); the code starts with it ("outbox-full").
    """
    for kind in _KINDS:
        if error.errno in kind.numbers:
            name = _name_of(folder)
            message = kind.message.format(folder=name, why=error.strerror)
            return EnvironmentFault(kind.code.format(place=place), message, kind.hint.format(folder=name))
    return None


def _name_of(folder: Path) -> Path:
    """What people know a folder by that is held open: see `files.enter`."""
    return folder.readlink() if folder.parent == HELD else folder


@contextlib.contextmanager
def faults_in(place: str, folder: Path) -> Iterator[None]:
    """Turn errors of writing below `folder` into EnvironmentFault where `fault_of` knows them."""
    try:
        yield
    except OSError as error:
        fault = fault_of(error, place, folder)
        if fault is None:
            raise
        raise fault from error
