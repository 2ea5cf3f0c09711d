"""Which names in an inbox are recordings that a rule takes, and whose companions others are. Decides by names only."""

from __future__ import annotations

import fnmatch
import os
import re
from typing import TYPE_CHECKING, Final

from stemd.files.companions import base_of, kind_of
from stemd.files.marker import is_marker
from stemd.model.album import is_paper

if TYPE_CHECKING:
    from pathlib import Path

    from stemd.model import Rule

IGNORED: Final = (
    ".*", "Thumbs.db", "desktop.ini", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found",
    "*.part", "*.partial", "*.crdownload", "*.filepart",
    "*.tmp", "~*", "*.error.txt",
)  # fmt: skip
"""Names that are never recordings: hidden and unfinished files, and what systems leave lying about.

`.*` covers `._*`, `.DS_Store` and `.syncthing.*`; the daemon's own `*.error.txt` are left by a move out of `_failed`.
"""

_NEVER: Final = re.compile("|".join(fnmatch.translate(pattern) for pattern in IGNORED), re.IGNORECASE)


def ignored(name: bytes) -> bool:
    """Whether nothing by this name, file or folder, is of any concern."""
    return _NEVER.match(os.fsdecode(name)) is not None


def wanted(name: bytes, rule: Rule) -> bool:
    """Whether a rule takes a file as a recording, which companions, markers and an album's papers never are.

    name: its path below the inbox. The rule's include and exclude patterns are matched with it and with its last part.
    """
    text = os.fsdecode(name).lower()
    forms = (text, text.rpartition("/")[2])
    if kind_of(forms[1]) or is_marker(name) or is_paper(name):
        return False
    if rule.include == ("*",) and not rule.exclude:
        return True

    def matches(patterns: tuple[str, ...]) -> bool:
        return any(fnmatch.fnmatchcase(form, pattern.lower()) for pattern in patterns for form in forms)

    return matches(rule.include) and not matches(rule.exclude)


def role(name: bytes) -> str:
    """Say what a file is beside a recording; "" if it may be one itself. name: as in `wanted`."""
    if kind_of(os.fsdecode(name).lower().rpartition("/")[2]):
        return "goes along with the recording beside it"
    if is_marker(name):
        return "is a marker of the recording beside it"
    return "belongs to its album, but is no sound" if is_paper(name) else ""


def left_alone(name: bytes, rule: Rule) -> str:
    """Say why a file or folder in the rule's inbox is taken for no recording; "" if it is. name: as in `wanted`."""
    parts = [os.fsdecode(part).lower() for part in name.split(b"/")]
    for pattern in IGNORED:
        if any(fnmatch.fnmatchcase(part, pattern.lower()) for part in parts):
            return f"what is named {pattern} is hidden, unfinished or a system's own"
    return "" if wanted(name, rule) else f'include and exclude of rule "{rule.name}" leave it out'


def is_shared(companion: Path, recording: Path, name: bytes, rule: Rule) -> bool:
    """Whether a companion beside a recording belongs to another one there too. name: the recording's, below the inbox.

    Raises OSError.
    """
    folder, base = b"".join(name.rpartition(b"/")[:2]), base_of(companion.name)
    others = [os.fsencode(entry.name) for entry in companion.parent.iterdir() if entry != recording]
    return any(
        base_of(os.fsdecode(other)) == base and not ignored(other) and wanted(folder + other, rule) for other in others
    )
