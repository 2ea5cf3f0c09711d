"""Moving a file of the user's, whole or not at all, also to another file system. Never replaces anything."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from stemd.errors import EnvironmentFault
from stemd.files.disk import copy_hashing, digest, sync_folder
from stemd.files.rename import rename_noreplace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def move(
    source: Path, target: Path, job: int, sha256: str = "", *, progress: Callable[[int], None] | None = None
) -> None:
    """Rename; on another file system copy, check, let the copy appear, and only then remove the original.

    job: whose temporary file the copy is. sha256: what must come out, hex; "" where nobody knows. progress: told the
    bytes copied so far, where they are copied.
    Raises FileExistsError, OSError, EnvironmentFault("archive-failing", "archive-full", ..).
    """
    if source.stat().st_dev == target.parent.stat().st_dev:
        rename_noreplace(source, target)
        sync_folder(target.parent)
        sync_folder(source.parent)
        return
    unfinished = target.with_name(f".stemd-{job}-{time.time_ns()}")
    with source.open("rb") as file:
        copied, _ = copy_hashing(file.fileno(), unfinished, progress=progress, place="archive")
    if copied != (sha256 or digest(unfinished)):
        unfinished.unlink()
        raise EnvironmentFault("archive-failing", f"{target} reads back differently", "check the disk; tried again")
    info = source.stat()
    os.utime(unfinished, ns=(info.st_atime_ns, info.st_mtime_ns))
    try:
        rename_noreplace(unfinished, target)
    finally:
        unfinished.unlink(missing_ok=True)
    sync_folder(target.parent)
    source.unlink()
    sync_folder(source.parent)
