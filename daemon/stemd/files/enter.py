"""Folders below an inbox, where others may write as well: entered part by part, never through a link."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

from stemd.files.faults import HELD

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from stemd.model import Rule


@contextlib.contextmanager
def entered(rule: Rule, folder: Path, *, make: bool = False) -> Iterator[Path]:
    """Hold a folder open, and give a path that leads to it, and to nothing else, until this ends.

    The rule's own folders may be reached by links where they lie outside its inbox, and so may the inbox; what lies
    below them may not.
    make: make what is missing below them. Raises OSError, ELOOP for a link on the way.
    """
    guarded = next((each for each in (rule.inbox, *rule.own_folders) if folder.is_relative_to(each)), folder)
    with contextlib.ExitStack() as held:
        descriptor = _opened(os.fspath(guarded), 0, None, held)
        for part in folder.relative_to(guarded).parts:
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, dir_fd=descriptor)
            descriptor = _opened(part, os.O_NOFOLLOW, descriptor, held)
        yield HELD / str(descriptor)


def _opened(name: str, flags: int, folder: int | None, held: contextlib.ExitStack) -> int:
    """Open a folder in a folder. flags: O_NOFOLLOW, or 0 where links are followed."""
    try:
        descriptor = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC | flags, dir_fd=folder)
    except NotADirectoryError:
        if flags and stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, f"{name} is a symbolic link", name) from None
        raise
    held.callback(os.close, descriptor)
    return descriptor
