"""Free space below folders, without ever waiting for a share that does not answer."""

from __future__ import annotations

import os
from concurrent.futures import wait
from functools import partial
from typing import TYPE_CHECKING, Final

from stemd import patience
from stemd.model import Disk

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Future
    from pathlib import Path

_PATIENCE: Final = 0.5  # seconds for all folders together


class Disks:
    """Looks again and again. A folder that has not answered is not asked, nor waited for, a second time."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self._folders = tuple(dict.fromkeys(folders))
        self._looks: dict[Path, Future[Disk | str]] = {}

    def look(self) -> tuple[tuple[Disk, ...], list[str]]:
        """Tell the room below each folder that answers, and a problem for each that does not."""
        disks: list[Disk] = []
        problems: list[str] = []
        asked = {folder: patience.put(partial(_look, folder)) for folder in self._folders if folder not in self._looks}
        self._looks |= asked
        wait(asked.values(), _PATIENCE)
        for folder in self._folders:
            if not self._looks[folder].done():
                problems.append(f"{folder} does not answer")
                continue
            answer = self._looks.pop(folder).result()
            if isinstance(answer, Disk):
                disks.append(answer)
            else:
                problems.append(f"cannot look at {folder}: {answer}")
        return tuple(disks), problems


def _look(folder: Path) -> Disk | str:
    try:
        told = os.statvfs(folder)
        volume = folder.stat().st_dev
    except OSError as error:
        return error.strerror or str(error)
    block = told.f_frsize
    return Disk(folder, volume, told.f_blocks * block, told.f_bavail * block)
