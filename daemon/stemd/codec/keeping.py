"""A set of files that is made once and kept in its folder until it is published, whatever is killed in between."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from stemd.errors import EnvironmentFault, StemdError
from stemd.files import drop_tree, faults_in, free_bytes, read_json, sync_folder, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

Files: TypeAlias = "Mapping[str, Mapping[str, Any]]"

_FACT: Final = "delivery.json"
_RESERVE: Final = 64 * 1024**2  # bytes that stay free on the state folder's disk


def once(folder: Path, wishes: str, needed: int, encode: Callable[[], Files]) -> Files:
    """Have a set made in a folder of its own, or find it made by an earlier try with the same wishes.

    wishes: a digest of all that decides about the files' bytes. needed: bytes that it may take.
    Raises EnvironmentFault("state-full", ..) and what `encode` raises.
    """
    with contextlib.suppress(StemdError):
        kept = read_json(folder / _FACT)
        if kept["wishes"] == wishes:
            return dict(kept["files"])
    home = folder.parent
    with faults_in("state", home):
        drop_tree(folder)
        folder.mkdir()
        check_room(home, needed + _RESERVE, "state")
    files = encode()
    with faults_in("state", home):
        sync_folder(folder)
        sync_folder(home)
    write_json(folder / _FACT, {"wishes": wishes, "files": files})
    return files


def check_room(folder: Path, needed: int, what: str) -> None:
    """Raise EnvironmentFault(f"{what}-full") unless `needed` bytes are free; OSError if nobody can tell."""
    free = free_bytes(folder)
    if free < needed:
        raise EnvironmentFault(
            f"{what}-full",
            f"the stems need {needed / 1e6:,.0f} MB in {folder}, {free / 1e6:,.0f} MB are free",
            "free some space; the job then resumes",
        )
