"""What automated senders and stemd tell each other in an inbox: `name.wav.ready` asks, `name.wav.done` answers.

Only for rules with `ready = "marker"`. Nobody but the sender makes `.ready` and removes `.done`, but for a new version.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from stemd.files.disk import sync_folder
from stemd.files.facts import write_json
from stemd.files.faults import faults_in

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from stemd.model import Stat

READY: Final = ".ready"
DONE: Final = ".done"


def is_marker(name: bytes) -> bool:
    """Whether a file is one of the two, whoever asked for them: it is never a recording."""
    return name.lower().endswith((READY.encode(), DONE.encode()))


def vouched_for(recordings: Mapping[bytes, Stat], markers: Mapping[bytes, Stat]) -> set[bytes]:
    """Tell which recordings are complete by their marker. A marker older than its recording is of an earlier version.

    Either time will do: a sender may have given the recording another time of modification, or renamed it afterwards.
    """
    found = ((path, stat, markers.get(path + READY.encode())) for path, stat in recordings.items())
    return {
        path
        for path, stat, marker in found
        if marker is not None and (marker.mtime_ns >= stat.mtime_ns or marker.ctime_ns >= stat.ctime_ns)
    }


def set_ready(source: Path) -> None:
    """Mark a recording as complete. Raises EnvironmentFault("inbox-full" and its like)."""
    with faults_in("inbox", source.parent):
        source.with_name(source.name + READY).touch()
        sync_folder(source.parent)


def take_away(source: Path) -> None:
    """Remove the marker of a recording that is about to leave the inbox. Raises EnvironmentFault("inbox-..")."""
    _remove(source, READY)


def withdraw_answer(source: Path) -> None:
    """Remove the answer about an earlier version. Raises EnvironmentFault("inbox-..")."""
    _remove(source, DONE)


def answer(source: Path, facts: Mapping[str, Any]) -> None:
    """Tell the sender durably, as JSON, that a recording is delivered. Raises EnvironmentFault("inbox-..")."""
    write_json(source.with_name(source.name + DONE), dict(facts), place="inbox")


def _remove(source: Path, ending: str) -> None:
    with faults_in("inbox", source.parent), contextlib.suppress(FileNotFoundError):
        source.with_name(source.name + ending).unlink()
        sync_folder(source.parent)
