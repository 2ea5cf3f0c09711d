"""Companions: files that belong to a recording by their name, and are no recordings themselves.

`song.lrc` (lyrics in time), `song.cdg` (karaoke graphics) and `song.narration.wav` (a voice to be laid over it) beside
`song.mp3`. Seen with the recording and waited for until they have settled like it; moves nothing.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - the journal is read back by its annotations
from typing import TYPE_CHECKING, Final

from stemd.files.disk import copy_hashing, open_regular
from stemd.files.facts import read_fact, write_fact
from stemd.files.faults import faults_in
from stemd.files.names import fold, split
from stemd.model import Stat

if TYPE_CHECKING:
    from collections.abc import Iterable
    from threading import Event

NARRATION: Final = ".narration.wav"
KINDS: Final = (".lrc", ".cdg", NARRATION)
"""What their names end with, in any case; before that stands the recording's name without its extension."""


@dataclass(frozen=True, slots=True)
class Companion:
    """One companion as it was seen. since: Unix time from which on it was the same."""

    kind: str
    path: Path
    stat: Stat
    since: float


@dataclass(frozen=True, slots=True)
class Seen:
    """The companions of one recording: the content of their journal."""

    companions: tuple[Companion, ...] = ()


@dataclass(frozen=True, slots=True)
class Copy:
    """A companion's content in the job's folder. size: bytes."""

    kind: str
    file: Path
    sha256: str
    size: int


def kind_of(name: str) -> str:
    """Which kind of companion has such a name; "" for a recording's."""
    return next((kind for kind in KINDS if name.lower().endswith(kind) and len(name) > len(kind)), "")


def base_of(name: str) -> str:
    """What a recording and its companions have in common, equal for names that some system takes for one."""
    kind = kind_of(name)
    return fold(name[: -len(kind)] if kind else split(name)[0])


def beside(recording: Path) -> dict[str, Path]:
    """Find a recording's companions, by kind; none where its folder is gone. Raises OSError."""
    base = base_of(recording.name)
    found: dict[str, Path] = {}
    try:
        names = sorted(os.listdir(recording.parent))  # noqa: PTH208 - names are enough
    except (FileNotFoundError, NotADirectoryError):
        return {}
    for name in names:
        kind = kind_of(name)
        if kind and base_of(name) == base and stat.S_ISREG((recording.parent / name).lstat().st_mode):
            found.setdefault(kind, recording.parent / name)
    return found


def sight(recordings: Iterable[Path], journal: Path, now: float) -> tuple[Companion, ...]:
    """Look for companions beside where a recording is or was, compare with the journal, and write it anew.

    now: Unix time. Raises OSError for a folder that cannot be listed, EnvironmentFault("state-full" and its like).
    """
    before = {each.path: each for each in remembered(journal)}
    found: dict[str, Companion] = {}
    for recording in recordings:
        for kind, path in beside(recording).items():
            seen = Companion(kind, path, _stat(path.lstat()), now)
            known = before.get(path)
            same = known is not None and known.stat == seen.stat and known.since <= now
            found.setdefault(kind, known if known is not None and same else seen)
    companions = tuple(found.values())
    write_fact(journal, Seen(companions))
    return companions


def remembered(journal: Path) -> tuple[Companion, ...]:
    """What the last `sight` has seen; nothing where it never looked or found none."""
    return read_fact(journal, Seen).companions if journal.exists() else ()


def unchanged(companion: Companion) -> bool:
    """Whether a companion still is what was seen. Raises OSError, but not for one that is gone."""
    try:
        return _stat(companion.path.lstat()) == companion.stat
    except FileNotFoundError:
        return False


def copy(companion: Companion, folder: Path, stop: Event | None) -> Copy | None:
    """Copy a companion into a folder; None if it is gone or changed meanwhile.

    Raises EnvironmentFault("inbox-..", "state-full" and their like), Stopping.
    """
    target = folder / f"companion{companion.kind}"
    with faults_in("inbox", companion.path.parent):
        try:
            descriptor = open_regular(companion.path)
        except FileNotFoundError:
            return None
        try:
            sha256, size = copy_hashing(descriptor, target, stop=stop)
        finally:
            os.close(descriptor)
        return Copy(companion.kind, target, sha256, size) if unchanged(companion) else None


def _stat(info: os.stat_result) -> Stat:
    return Stat(info.st_size, info.st_mtime_ns, info.st_ctime_ns)
