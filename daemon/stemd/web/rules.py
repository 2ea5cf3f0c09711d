"""The rules as the pages know them: read anew when config.toml has changed, which the daemon does at a reload only."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, TypeAlias

from stemd.config import load
from stemd.errors import StemdError

if TYPE_CHECKING:
    from pathlib import Path

    from stemd.config import Settings
    from stemd.model import Rule

Version: TypeAlias = tuple[int, int, int] | None
"""A file's time, size and inode; None where it is not there."""


class Rules:
    """The rules of a configuration file; as they were before, while it cannot be read or has mistakes."""

    def __init__(self, settings: Settings) -> None:
        """settings: in force until the file is looked at, which the first question does."""
        self._path = settings.path
        self._read: tuple[Version, Settings] = (None, settings)

    def find(self, name: str) -> Rule | None:
        """Find a rule by its name."""
        version, settings = self._read
        now = _version(self._path)
        if now != version:
            with contextlib.suppress(StemdError):
                settings = load(self._path)
            self._read = (now, settings)
        return settings.rule(name)


def _version(path: Path) -> Version:
    try:
        info = path.stat()
    except OSError:
        return None
    return info.st_mtime_ns, info.st_size, info.st_ino
