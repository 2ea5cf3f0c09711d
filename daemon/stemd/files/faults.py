"""Which errors of the kernel are faults of the surroundings, and what to do about them. Decides nothing else."""

from __future__ import annotations

import contextlib
import errno
from typing import TYPE_CHECKING, Final

from stemd.errors import EnvironmentFault

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_LOCKED: Final = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_GONE: Final = frozenset({
    errno.ENOENT, errno.ENOTDIR, errno.ENOTCONN, errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.EHOSTDOWN,
    errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH, errno.ECONNABORTED, errno.ECONNRESET, errno.ESHUTDOWN,
})  # fmt: skip
_ILL: Final = frozenset({errno.EIO, errno.ETIMEDOUT, errno.EREMOTEIO, errno.EUCLEAN, errno.ENOLCK, errno.EBUSY})
_SCARCE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})


def fault_of(error: OSError, place: str, folder: Path) -> EnvironmentFault | None:
    """What an error met while writing below `folder` says about the surroundings; None if it says nothing.

    place: what the folder is to the user ("outbox", "review", "state"); the code starts with it ("outbox-full").
    """
    if error.errno in _FULL:
        return EnvironmentFault(
            f"{place}-full", f"no space left in {folder}", "free some space or raise the quota; the job then resumes"
        )
    if error.errno in _LOCKED:
        return EnvironmentFault(
            f"{place}-read-only",
            f"cannot write in {folder} ({error.strerror})",
            "make it writable for the user that stemd runs as; the job then resumes",
        )
    if error.errno in _GONE:
        return EnvironmentFault(
            f"{place}-missing",
            f"{folder} is not there ({error.strerror})",
            "mount the share or create the folder; the job then resumes",
        )
    if error.errno in _ILL:
        return EnvironmentFault(
            f"{place}-failing",
            f"the disk or share of {folder} reports an error ({error.strerror})",
            "check the disk, the cable or the network (dmesg tells more); the job resumes when it works again",
        )
    if error.errno in _SCARCE:
        return EnvironmentFault(
            "no-resources",
            f"the system refuses more files or memory ({error.strerror})",
            "raise LimitNOFILE or free memory",
        )
    return None


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
