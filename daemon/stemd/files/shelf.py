"""What is published, and where: a folder of the user's, and finished files with their places in it."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from threading import Event

    from stemd.files.names import Place


@dataclass(frozen=True, slots=True)
class Item:
    """A finished file on a local disk and where it is to appear."""

    file: Path
    place: Place
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Shelf:
    """A folder of the user's to publish to, and what is remembered of doing so.

    what: what the folder is to the user ("outbox", "review"). journal: a file in the job's own folder, one a shelf.
    progress: told the bytes written and read back so far, of twice the items' size.
    """

    folder: Path
    journal: Path
    job: int
    what: str = "outbox"
    stop: Event | None = None
    progress: Callable[[int], None] | None = None


def check_folder(shelf: Shelf) -> None:
    """Tell a missing folder by its own name; it is never made here: a share may not be mounted."""
    if not stat.S_ISDIR(shelf.folder.stat().st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(shelf.folder))
