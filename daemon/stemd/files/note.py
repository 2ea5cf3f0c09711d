"""The note beside a recording that could not be used: written anew, never through a link, nor over another's file."""

from __future__ import annotations

import contextlib
import os
import re
from itertools import count
from typing import TYPE_CHECKING, Final

from stemd.files.disk import open_regular, sync_folder
from stemd.files.names import LONGEST, cut, numbered
from stemd.files.rename import rename_noreplace

if TYPE_CHECKING:
    from pathlib import Path

_ENDING: Final = ".error.txt"
_ROOM: Final = LONGEST - len(_ENDING)
_LAST: Final = "once more: stemd retry {job}\n"
_OWN: Final = re.compile(rb"\nonce more: stemd retry \d+\n\Z")
_END: Final = 64  # bytes, in which the last line fits


def write_note(recording: Path, text: str, job: int) -> None:
    """Say durably beside a recording what is wrong with it; in place of an earlier note, and beside any other file.

    job: whose note it is; how to try that once more is its last line. Raises OSError.
    """
    unfinished = recording.with_name(f".stemd-{job}-note")
    unfinished.unlink(missing_ok=True)
    try:
        with unfinished.open("x", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text + _LAST.format(job=job))
            file.flush()
            os.fsync(file.fileno())
        _place(unfinished, recording)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    sync_folder(recording.parent)


def withdraw_notes(recording: Path) -> None:
    """Remove the notes about a recording, and no other's file. Raises OSError."""
    for number in count(1):
        note = _named(recording, number)
        if not os.path.lexists(note):
            return
        if _is_own(note):
            note.unlink(missing_ok=True)


def _place(unfinished: Path, recording: Path) -> None:
    """Give the note the first name that is free or an earlier note's."""
    for number in count(1):
        note = _named(recording, number)
        if _is_own(note):
            unfinished.replace(note)
            return
        with contextlib.suppress(FileExistsError):
            rename_noreplace(unfinished, note)
            return


def _named(recording: Path, number: int) -> Path:
    name = numbered(cut(recording.name, _ROOM), number, folder=True, longest=_ROOM)
    return recording.with_name(name + _ENDING)


def _is_own(note: Path) -> bool:
    """Whether there is a note of ours by this name."""
    try:
        descriptor = open_regular(note)
    except OSError:  # not there, no regular file, or not to be read
        return False
    try:
        end = os.pread(descriptor, _END, max(os.fstat(descriptor).st_size - _END, 0))
        return _OWN.search(end) is not None
    finally:
        os.close(descriptor)
