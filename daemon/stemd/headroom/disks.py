"""Free space below folders, without ever waiting for a share that does not answer."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Final

from stemd.model import Disk

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_PATIENCE: Final = 0.5  # seconds for all folders together


class Disks:
    """Looks at folders from threads of their own: statfs on a dead NFS mount never returns and cannot be killed."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self._folders = tuple(dict.fromkeys(folders))
        self._looks: dict[Path, _Look] = {}

    def look(self) -> tuple[tuple[Disk, ...], list[str]]:
        """Tell the room below each folder that answers, and a problem for each that does not."""
        disks: list[Disk] = []
        problems: list[str] = []
        for folder in self._folders:
            if folder not in self._looks:
                self._looks[folder] = _Look(folder)
        for folder in self._folders:
            look = self._looks[folder]
            if not look.done.wait(_PATIENCE / len(self._folders)):
                problems.append(f"{folder} does not answer")
                continue
            del self._looks[folder]
            if isinstance(look.answer, Disk):
                disks.append(look.answer)
            else:
                problems.append(f"cannot look at {folder}: {look.answer}")
        return tuple(disks), problems


class _Look:
    """One question to one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.answer: Disk | str = ""
        self.done = threading.Event()
        threading.Thread(target=self._run, name="disk", daemon=True).start()

    def _run(self) -> None:
        try:
            told = os.statvfs(self.folder)
            volume = self.folder.stat().st_dev
            block = told.f_frsize
            self.answer = Disk(self.folder, volume, told.f_blocks * block, told.f_bavail * block)
        except OSError as error:
            self.answer = error.strerror or str(error)
        finally:
            self.done.set()
