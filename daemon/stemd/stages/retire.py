"""RETIRE: archives, keeps or deletes the source, or puts it aside with the reason, if it still is what was taken."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from stemd.errors import EnvironmentFault
from stemd.files import copy_hashing, digest, faults_in, rename_noreplace, sync_folder
from stemd.files.names import numbered
from stemd.files.presence import check_present
from stemd.model import Finished, Stat
from stemd.stages.copies import INBOX_NOTE, take_back

if TYPE_CHECKING:
    from stemd.model import Job, Outcome
    from stemd.stages.work import Work

REASON = ".error.txt"
"""What the name of the note beside a file that was put aside ends with."""

_SECOND_TRIES = 10_000


def run(work: Work) -> Outcome:
    """Deal with the source as the rule says; repeatable, since a source that is gone has been dealt with.

    Raises EnvironmentFault when the inbox cannot be reached, or the archive, the failed or the review folder cannot be
    written.
    """
    job, source = work.job, Path(os.fsdecode(work.job.path))
    if job.failing:
        outcome = _put_aside(work, source)
        return _without_copies(work, outcome) if job.code == "rejected" else outcome
    if work.rule.source == "keep":
        return Finished(note=_because(job, "the source stays in the inbox"))
    if not _is_what_was_taken(work, source):
        return Finished(note=_because(job, "the source is no longer the file that was taken; left alone"))
    if work.rule.source == "delete":
        with faults_in("inbox", source.parent):
            source.unlink(missing_ok=True)
        return Finished(note=_because(job, "the source was deleted, as its rule says"))
    archived = _moved(job, source, work.rule.archive)
    _take_back_note(source)
    return _settled_in(archived, _because(job, f"archived as {_shown(archived)}"))


def _put_aside(work: Work, source: Path) -> Finished:
    """Move what cannot be used to the failed folder, with the reason beside it."""
    job = work.job
    if source.is_relative_to(work.rule.failed):
        _leave_note(job, source)
        return _settled_in(source, "it stays in the failed folder")
    if not _is_what_was_taken(work, source) and not _moved_before(job, work.rule.failed):
        return Finished(note="the source is no longer the file that was taken; left alone")
    aside = _moved(job, source, work.rule.failed)
    _leave_note(job, aside)
    return _settled_in(aside, f"put aside as {_shown(aside)}")


def _without_copies(work: Work, outcome: Finished) -> Outcome:
    """Nobody needs the copies of what was rejected; they go last, so that the reason is there before they are gone."""
    return replace(outcome, note=outcome.note + take_back(work), artifacts=())


def _is_what_was_taken(work: Work, source: Path) -> bool:
    """Compare with the file that was seen; where only its change time differs, by content."""
    job, seen = work.job, work.job.stat
    with faults_in("inbox", work.rule.inbox):
        now = _stat_of(work, source)
        if now is None or now == seen:
            return now is not None
        same = (now.size, now.mtime_ns) == (seen.size, seen.mtime_ns)
        return same and (not job.sha256 or digest(source) == job.sha256)


def _stat_of(work: Work, source: Path) -> Stat | None:
    """Look at the source; None if it was taken away, which an inbox that is not mounted does not mean."""
    try:
        info = os.lstat(source)
    except (FileNotFoundError, NotADirectoryError):
        check_present(work.root / INBOX_NOTE, work.rule.inbox, but=work.rule.review)
        return None
    return Stat(info.st_size, info.st_mtime_ns, info.st_ctime_ns)


def _moved(job: Job, source: Path, folder: Path) -> Path:
    """Bring the source below `folder` under its name from the inbox; nothing there is ever replaced."""
    before = _moved_before(job, folder)
    if before is not None and not source.exists():
        return before
    wanted = folder / os.fsdecode(job.name)
    with faults_in("archive", folder):
        wanted.parent.mkdir(parents=True, exist_ok=True)
        for number in range(1, _SECOND_TRIES):
            target = wanted.with_name(numbered(wanted.name, number, folder=False))
            try:
                _rename_or_copy(source, target, job)
            except FileExistsError:
                continue
            return target
    raise EnvironmentFault("archive-full", f"{folder} holds too many files named {wanted.name}", "clear it out")


def _moved_before(job: Job, folder: Path) -> Path | None:
    """Find where an earlier try, cut off before it could be written down, has moved the source."""
    wanted = folder / os.fsdecode(job.name)
    for number in range(1, _SECOND_TRIES):
        target = wanted.with_name(numbered(wanted.name, number, folder=False))
        try:
            info = target.lstat()
        except OSError:
            return None
        if (info.st_size, info.st_mtime_ns) == (job.stat.size, job.stat.mtime_ns):
            return target
    return None


def _rename_or_copy(source: Path, target: Path, job: Job) -> None:
    """Rename; on another file system copy, check, let the copy appear, and only then remove the original."""
    if source.stat().st_dev == target.parent.stat().st_dev:
        rename_noreplace(source, target)
        sync_folder(target.parent)
        sync_folder(source.parent)
        return
    unfinished = target.with_name(f".stemd-{job.id}-{time.time_ns()}")
    with source.open("rb") as file:
        copied, _ = copy_hashing(file.fileno(), unfinished, place="archive")
    if job.sha256 and copied != job.sha256:
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


def _settled_in(path: Path, note: str) -> Finished:
    info = path.lstat()
    stat = Stat(info.st_size, info.st_mtime_ns, info.st_ctime_ns)
    return Finished(note=note, path=os.fsencode(path), stat=stat)


def _leave_note(job: Job, aside: Path) -> None:
    """Say beside the file what happened, and what to do next."""
    text = (
        f"{job.reason}\n\nWhat to do: {job.hint}\n\n"
        f"code: {job.code}\njob: {job.id}\nwhen: {time.strftime('%Y-%m-%d %H:%M:%S')}\n"
        f"the whole story: stemd why {job.id}\nonce more: stemd retry {job.id}\n"
    )
    with faults_in("failed", aside.parent):
        note = _note_of(aside)
        note.write_text(text, encoding="utf-8", errors="backslashreplace")
        sync_folder(note.parent)


def _take_back_note(source: Path) -> None:
    """A file that was put aside and then went well after all has no fault any more."""
    _note_of(source).unlink(missing_ok=True)


def _note_of(path: Path) -> Path:
    return path.with_name(path.name + REASON)


def _because(job: Job, note: str) -> str:
    return f"{job.reason}; {note}" if job.twin is not None else note


def _shown(path: Path) -> str:
    return os.fsencode(path).decode("utf-8", "replace")
