"""A recording's companions on its walk: seen by TAKE, carried along by DELIVER, gone with the source by RETIRE."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stemd.files import faults_in
from stemd.files.companions import NARRATION, beside, copy, remembered, sight, unchanged
from stemd.files.enter import entered
from stemd.files.move import move
from stemd.files.names import numbered, readable, split
from stemd.files.presence import check_present
from stemd.files.wanted import is_shared
from stemd.model import Retry
from stemd.mounts import filesystem
from stemd.stages.copies import INBOX_NOTE, MOVING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stemd.files.companions import Companion, Copy
    from stemd.stages.work import Work

JOURNAL: Final = "companions.json"
"""Which companions the recording has, in the job's own folder; `files.companions` writes and reads it."""
CARRIED: Final = "carried"
"""The folder of their copies, in the result's."""

_SOON: Final = 1.0  # seconds until something that changes is looked at again
_SECOND_TRIES: Final = 10_000


def look(work: Work) -> None:
    """Begin to wait for what lies beside the recording. Raises OSError, EnvironmentFault("state-full", ..)."""
    sight([Path(os.fsdecode(work.job.path))], work.root / JOURNAL, time.time())


def carried(work: Work) -> tuple[Copy, ...] | Retry:
    """Copy the companions, once they have stopped changing for as long as a recording has to.

    Raises EnvironmentFault("inbox-..", "state-..."), Stopping.
    """
    journal, rule, now = work.root / JOURNAL, work.rule, time.time()
    before = remembered(journal)
    with faults_in("inbox", rule.inbox):
        recordings = dict.fromkeys([work.origin, Path(os.fsdecode(work.job.path))])  # what came late, first
        seen = sight(recordings, journal, now)
    if before and not seen:
        check_present(work.root / INBOX_NOTE, rule.inbox, but=rule.review)
    settle = rule.settle or filesystem(rule.inbox).settle
    rest = max((settle - (now - companion.since) for companion in seen), default=0.0)
    with faults_in("state", work.folder):
        (work.folder / CARRIED).mkdir(exist_ok=True)
    copies = [_copied(work, companion) for companion in seen] if rest <= 0 else [None]
    if None in copies:
        names = ", ".join(readable(companion.path.name) for companion in seen)
        return Retry(max(rest, _SOON), f"waits until {names} has arrived", counts=False)
    return tuple(filter(None, copies))


def _copied(work: Work, companion: Companion) -> Copy | None:
    path = companion.path
    with faults_in("inbox", path.parent), entered(work.rule, path.parent) as held:
        return copy(replace(companion, path=held / path.name), work.folder / CARRIED, work.stop)


def following(work: Work, source: Path) -> dict[str, Path]:
    """Tell, by kind, which go where the source goes: what was delivered, or all that wait beside what was not.

    They stay for another recording of their name. What has come since the delivery stays to be seen, and beside another
    copy of a delivered recording what its delivery has not seen.
    Raises EnvironmentFault("inbox-..").
    """
    job = work.job
    with faults_in("inbox", source.parent):
        if job.failing:
            found = beside(source)
        elif job.twin is not None:
            new = _new(work, source)
            found = {kind: path for kind, path in beside(source).items() if kind not in new}
        else:
            known = [_reached(work, companion, source) for companion in remembered(work.root / JOURNAL)]
            found = {companion.kind: companion.path for companion in known if unchanged(companion)}
        return {kind: path for kind, path in found.items() if not is_shared(path, source, job.name, work.rule)}


def _reached(work: Work, companion: Companion, source: Path) -> Companion:
    """Reach a companion by the folder in which its recording is held."""
    together = companion.path.parent == Path(os.fsdecode(work.job.path)).parent
    return replace(companion, path=source.with_name(companion.path.name)) if together else companion


def left(work: Work, source: Path) -> str:
    """Name what stays since another copy was delivered without it, and what to do, as the end of a note; "" for none.

    Raises EnvironmentFault("inbox-..").
    """
    job = work.job
    if job.twin is None:
        return ""
    with faults_in("inbox", source.parent):
        stay = [path for path in _new(work, source).values() if not is_shared(path, source, job.name, work.rule)]
    names = ", ".join(readable(path.name) for path in stay)
    what = (
        f"; not used: {names}. Job {job.twin} was delivered before that came: let it lie where the recording of job "
        f"{job.twin} was saved, by its name, then: stemd redeliver {job.twin}"
    )
    return what if names else ""


def _new(work: Work, source: Path) -> dict[str, Path]:
    """Those beside another copy of a delivered recording that are no copies of what its delivery has seen.

    None where it is no longer known what that has seen: then it cannot be delivered once more either.
    """
    delivered = (*work.results.glob(f"*/{work.job.twin}"), work.root.with_name(str(work.job.twin)))
    folders = [folder for folder in delivered if folder.is_dir()]
    if not folders:
        return {}
    journals = [folder / JOURNAL for folder in folders]
    known = {(each.kind, each.stat.size, each.stat.mtime_ns) for journal in journals for each in remembered(journal)}
    seen = {kind: (path, path.lstat()) for kind, path in beside(source).items()}
    return {kind: path for kind, (path, stat) in seen.items() if (kind, stat.st_size, stat.st_mtime_ns) not in known}


def follow(work: Work, companions: Mapping[str, Path], recording: Path) -> str:
    """Bring companions beside their recording, under its name; tell of it as the end of a note.

    Raises EnvironmentFault("archive-..", "inbox-..", "state-.."), Stopping.
    """
    for kind, companion in companions.items():
        name = split(recording.name)[0] + companion.name[-len(kind) :]
        with (
            faults_in("archive", recording.parent),
            entered(work.rule, companion.parent) as beside_it,
            entered(work.rule, recording.parent) as held,
        ):
            for number in range(1, _SECOND_TRIES):
                try:
                    target = held / numbered(name, number, folder=False)
                    move(beside_it / companion.name, target, work.job.id, work.root / MOVING, stop=work.stop)
                except FileExistsError:
                    continue
                break
    names = ", ".join(readable(companion.name) for companion in companions.values())
    return f" with {names}" if names else ""


def delete(work: Work, source: Path) -> None:
    """Delete what was delivered with a source that is deleted; a narration only if it was mixed in. Raises OSError."""
    if work.job.twin is None:
        for kind, path in following(work, source).items():
            if kind != NARRATION or work.rule.remux:
                with entered(work.rule, path.parent) as held:
                    (held / path.name).unlink(missing_ok=True)
