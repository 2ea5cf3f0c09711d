"""RETIRE: archives, keeps or deletes the source, or puts it aside with the reason, if it still is what was taken."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from stemd.errors import EnvironmentFault
from stemd.files import digest, faults_in, marker
from stemd.files.companions import KINDS
from stemd.files.enter import entered
from stemd.files.faults import HELD
from stemd.files.move import move
from stemd.files.names import numbered, split
from stemd.files.note import withdraw_notes, write_note
from stemd.files.presence import check_present
from stemd.files.publish import published
from stemd.flow import same_as
from stemd.model import Finished, Stat
from stemd.stages import companions
from stemd.stages.copies import INBOX_NOTE, MOVING, OUTBOX_JOURNAL, take_back

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from stemd.model import Job, Outcome
    from stemd.stages.work import Work

_SECOND_TRIES = 10_000
_NOWHERE = HELD / "none"  # no folder is open by this name


def run(work: Work) -> Outcome:
    """Deal with the source as the rule says; repeatable, since a source that is gone has been dealt with.

    A sender who asked with a marker is answered: the marker goes before the source, the answer comes after all else.
    Raises EnvironmentFault when the inbox cannot be reached, or the archive, the failed or the review folder cannot be
    written, Stopping.
    """
    job, rule = work.job, work.rule
    if rule.source == "keep" and rule.ready != "marker" and not job.failing and job.twin is None:
        return Finished(note=_because(job, "the source stays in the inbox"))
    with _held(work, _path_of(job)) as source:
        if rule.ready == "marker" and _is_what_was_taken(work, source):
            marker.take_away(source)
        outcome = _retired(work, source)
    if rule.ready == "marker":
        _answer(work)
    return outcome


@contextlib.contextmanager
def _held(work: Work, path: Path) -> Iterator[Path]:
    """Give a path to what lies in a folder now, also when others exchange that; to nothing where there is no folder.

    Behind a link there is none. Raises EnvironmentFault("inbox-..").
    """
    with contextlib.ExitStack() as stack:
        with faults_in("inbox", path.parent):
            try:
                folder = stack.enter_context(entered(work.rule, path.parent))
            except OSError as error:
                if error.errno not in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
                    raise
                folder = _NOWHERE
        yield folder / path.name


def _path_of(job: Job) -> Path:
    """The source, as people know it."""
    return Path(os.fsdecode(job.path))


def _answer(work: Work) -> None:
    """Tell the sender how it went, unless a newer version lies there, which has its own answer, or nothing at all."""
    job = work.job
    with faults_in("inbox", work.rule.inbox):
        work.rule.inbox.stat()  # where it is away, its folders only seem to be gone
    files = [os.fsdecode(artifact.path) for artifact in published(work.folder / OUTBOX_JOURNAL)]
    facts = {"status": "done", "job": job.id, "source": os.fsdecode(job.name), "sha256": job.sha256, "files": files}
    with _held(work, work.origin) as origin, faults_in("inbox", work.origin.parent):
        newer = os.path.lexists(origin) and not _is_what_was_taken(work, origin)
        if newer or not origin.parent.is_dir():
            return
        if job.failing:
            write_note(origin, _reason(job), job.id)
        else:
            marker.answer(origin, facts | ({"same_as": job.twin} if job.twin is not None else {}))


def _retired(work: Work, source: Path) -> Outcome:
    """Deal with the source alone. source: as `_held` gives it, here and below."""
    job = work.job
    if job.failing:
        outcome = _put_aside(work, source)
        return _without_copies(work, outcome) if job.code == "rejected" else outcome
    if work.rule.source == "keep":
        return Finished(note=_because(job, f"the source stays in the inbox{companions.left(work, source)}"))
    if not _is_what_was_taken(work, source) and not _was_archived(work, source):
        return Finished(note=_because(job, "the source is no longer the file that was taken; left alone"))
    if work.rule.source == "delete":
        with faults_in("inbox", source.parent):
            companions.delete(work, source)  # first: a repeat finds them by their recording
            source.unlink(missing_ok=True)
        left = companions.left(work, source)
        return Finished(note=_because(job, f"the source was deleted, as its rule says{left}"))
    archived, followed = _moved(work, source, work.rule.archive)
    _take_back_notes(source)
    left = companions.left(work, source)
    return _settled_in(archived, _because(job, f"archived as {_shown(archived)}{followed}{left}"))


def _was_archived(work: Work, source: Path) -> bool:
    """Whether an earlier try, cut off before it was written down, has archived the source already."""
    archives = work.rule.source == "archive"
    return archives and not os.path.lexists(source) and _moved_before(work.job, work.rule.archive) is not None


def _put_aside(work: Work, source: Path) -> Finished:
    """Move what cannot be used to the failed folder, with the reason beside it."""
    path = _path_of(work.job)
    if path.is_relative_to(work.rule.failed):
        _leave_note(work, path)
        return _settled_in(path, "it stays in the failed folder")
    aside, followed = _moved_aside(work, source)
    if aside is None:
        return Finished(note="the source is no longer the file that was taken; left alone")
    _leave_note(work, aside)
    return _settled_in(aside, f"put aside as {_shown(aside)}{followed}")


def _moved_aside(work: Work, source: Path) -> tuple[Path | None, str]:
    """As `_moved`, but never a newer file by the same name; None if there is nothing of the job's to be put aside."""
    if not _is_what_was_taken(work, source):
        before = _moved_before(work.job, work.rule.failed)
        if before is None or os.path.lexists(source):
            return before, ""
    return _moved(work, source, work.rule.failed)


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
        return same and (not job.sha256 or (digest(source) == job.sha256 and _stat_of(work, source) == now))


def _stat_of(work: Work, source: Path) -> Stat | None:
    """Look at the source; None if it is no file or was taken away, which an inbox that is not mounted does not mean."""
    try:
        info = os.lstat(source)
    except (FileNotFoundError, NotADirectoryError):
        check_present(work.root / INBOX_NOTE, work.rule.inbox, but=work.rule.review)
        return None
    return Stat(info.st_size, info.st_mtime_ns, info.st_ctime_ns) if stat.S_ISREG(info.st_mode) else None


def _moved(work: Work, source: Path, folder: Path) -> tuple[Path, str]:
    """Bring the source and its companions below `folder`; where it is, and what came with it, as the end of a note."""
    with_it = companions.following(work, source)
    target = _source_moved(work, source, folder, with_it)
    return target, companions.follow(work, with_it, target)


def _source_moved(work: Work, source: Path, folder: Path, kinds: Iterable[str]) -> Path:
    """Bring the source below `folder` under its name from the inbox; nothing there is ever replaced.

    kinds: of companions for which there must be room under the same name.
    """
    job, size = work.job, max(work.job.stat.size, 1)
    before = _moved_before(job, folder)
    if before is not None and not source.exists():
        return before
    wanted = folder / os.fsdecode(job.name)
    with faults_in("archive", folder):
        if not folder.is_relative_to(work.rule.inbox):
            folder.mkdir(parents=True, exist_ok=True)
        with entered(work.rule, wanted.parent, make=True) as held:
            for number in range(1, _SECOND_TRIES):
                target = held / numbered(wanted.name, number, folder=False)
                if _has_companions(target, kinds):
                    continue
                try:
                    move(
                        source, target, job.id, work.root / MOVING, job.sha256, stop=work.stop,
                        progress=lambda copied: work.progress(copied / size, {}),
                    )  # fmt: skip
                except FileExistsError:
                    continue
                return wanted.with_name(target.name)
    raise EnvironmentFault("archive-full", f"{folder} holds too many files named {wanted.name}", "clear it out")


def _moved_before(job: Job, folder: Path) -> Path | None:
    """Find where an earlier try, cut off before it could be written down, has moved the source."""
    wanted = folder / os.fsdecode(job.name)
    for number in range(1, _SECOND_TRIES):
        target = wanted.with_name(numbered(wanted.name, number, folder=False))
        try:
            info = target.lstat()
        except OSError:
            if _has_companions(target, KINDS):  # the number was left out for their sake
                continue
            return None
        if (info.st_size, info.st_mtime_ns) == (job.stat.size, job.stat.mtime_ns):
            return target
    return None


def _has_companions(recording: Path, kinds: Iterable[str]) -> bool:
    """Whether there are companions by a recording's name, whoever's."""
    base = split(recording.name)[0]
    return any(os.path.lexists(recording.with_name(base + kind)) for kind in kinds)


def _settled_in(path: Path, note: str) -> Finished:
    info = path.lstat()
    seen = Stat(info.st_size, info.st_mtime_ns, info.st_ctime_ns)
    return Finished(note=note, path=os.fsencode(path), stat=seen)


def _leave_note(work: Work, aside: Path) -> None:
    """Say beside the file what happened, and what to do next."""
    with faults_in("failed", aside.parent), entered(work.rule, aside.parent) as held:
        write_note(held / aside.name, _reason(work.job), work.job.id)


def _reason(job: Job) -> str:
    return (
        f"{job.reason}\n\nWhat to do: {job.hint}\n\n"
        f"code: {job.code}\njob: {job.id}\nwhen: {time.strftime('%Y-%m-%d %H:%M:%S')}\n"
        f"the whole story: stemd why {job.id}\n"
    )


def _take_back_notes(source: Path) -> None:
    """A file that was put aside and then went well after all has no fault any more."""
    with faults_in("inbox", source.parent):
        withdraw_notes(source)


def _because(job: Job, note: str) -> str:
    return f"{same_as(job.twin)}; {note}" if job.twin is not None else note


def _shown(path: Path) -> str:
    return os.fsencode(path).decode("utf-8", "replace")
