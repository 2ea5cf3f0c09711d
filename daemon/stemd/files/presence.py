"""Whether what was there still is: a share may not be mounted, with an empty folder in its place, or not answer."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from stemd import patience
from stemd.errors import EnvironmentFault, StemdError
from stemd.files.facts import read_json, write_json
from stemd.files.faults import faults_in
from stemd.files.plan import disk_of, exists

if TYPE_CHECKING:
    from collections.abc import Iterable


def remember_folder(note: Path, folder: Path) -> None:
    """Note by what a folder is known. Raises OSError where it cannot be looked at."""
    write_json(note, disk_of(folder))


def check_present(note: Path, folder: Path, *, but: Path) -> None:
    """Make sure that what is missing in a folder was taken out of it.

    note: as `remember_folder` left it; without one only the folder itself is looked for. but: the part of it that the
    daemon itself may have made meanwhile.
    Raises EnvironmentFault "inbox-missing" and its like, "inbox-offline" for an empty folder that is another one.
    """
    with faults_in("inbox", folder):
        known = disk_of(folder)
        try:
            before = tuple(read_json(note))
        except StemdError:
            return
        if before != known and not _holds_files(folder, but):
            raise EnvironmentFault(
                "inbox-offline", f"the share of the inbox {folder} is not mounted",
                "mount it; the job then resumes",
            )  # fmt: skip


def gone(paths: Iterable[bytes]) -> set[bytes]:
    """Tell which of these files are not there any more. One that cannot be looked at now counts as being there.

    So does one on a share that hangs.
    """
    there = patience.ask({path: partial(_may_be_there, path) for path in paths})
    return {path for path, may_be_there in there.items() if not may_be_there}


def _may_be_there(path: bytes) -> bool:
    try:
        return exists(Path(os.fsdecode(path)))
    except OSError:
        return True


def _holds_files(folder: Path, but: Path) -> bool:
    return any(files for where, _, files in os.walk(folder) if not Path(where).is_relative_to(but))
