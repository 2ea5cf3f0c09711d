"""TAKE: copies a settled file into the job's own folder while hashing it, and admits its content."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

from stemd.errors import EnvironmentFault
from stemd.files import copy_hashing, drop_tree, faults_in, marker, open_regular, sync_folder
from stemd.files.enter import entered
from stemd.files.note import withdraw_notes
from stemd.files.presence import remember_folder
from stemd.files.publish import abandon
from stemd.model import Failed, Finished, Stat, Withdrawn
from stemd.stages import companions
from stemd.stages.copies import INBOX_NOTE, OUTBOX_JOURNAL, take_back

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stemd.model import Job, ModelCard, Outcome
    from stemd.stages.work import Work

SOURCE = "source"
"""The copy, in the job's folder."""


def run(work: Work) -> Outcome:
    """Copy the source as it was seen; a file that vanished or changed meanwhile is withdrawn, and seen anew.

    Raises EnvironmentFault when the inbox, the review folder or the state folder cannot be used, or the model is not
    there yet.
    """
    card = work.children.describe(work.rule.model)
    _begin_anew(work)
    try:
        remember_folder(work.folder / INBOX_NOTE, work.rule.inbox)
        with _opened(work) as source:
            return _copied(work, source, card)
    except OSError as error:
        return _refused(work, error)


@contextlib.contextmanager
def _opened(work: Work) -> Iterator[int]:
    path = Path(os.fsdecode(work.job.path))
    with entered(work.rule, path.parent) as folder:
        descriptor = open_regular(folder / path.name)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _copied(work: Work, source: int, card: ModelCard) -> Outcome:
    job, size = work.job, max(work.job.stat.size, 1)
    if _stat(source) != job.stat:
        return _changed(job)
    if work.rule.ready == "marker":
        _withdraw_answers(work)
    sha256, _ = copy_hashing(
        source, work.folder / SOURCE, stop=work.stop, progress=lambda copied: work.progress(copied / size, {})
    )
    if _stat(source) != job.stat:
        return _changed(job)
    companions.look(work)
    with faults_in("state", work.folder):
        sync_folder(work.folder)
    recipe = work.rule.recipe.digest_with(card.digest)
    return Finished(note=f"taken, sha256 {sha256[:12]}", sha256=sha256, recipe=recipe)


def _withdraw_answers(work: Work) -> None:
    """What the sender was told of an earlier version is no longer true."""
    folder = work.origin.parent
    with faults_in("inbox", folder), contextlib.suppress(FileNotFoundError), entered(work.rule, folder) as held:
        marker.withdraw_answer(held / work.origin.name)
        withdraw_notes(held / work.origin.name)


def _begin_anew(work: Work) -> None:
    """Take back what an earlier walk has left for review, and drop its files."""
    take_back(work)
    for journal in work.root.rglob(OUTBOX_JOURNAL):
        abandon(journal, published=False)
    with faults_in("state", work.folder):
        for left in list(work.folder.iterdir()):
            drop_tree(left)


def _stat(descriptor: int) -> Stat:
    info = os.fstat(descriptor)
    return Stat(info.st_size, info.st_mtime_ns, info.st_ctime_ns)


def _changed(job: Job) -> Outcome:
    name = job.name.decode("utf-8", "replace")
    return Withdrawn("changed", f"{name} was written to again; it is taken once it has settled")


def _refused(work: Work, error: OSError) -> Outcome:
    """Say whose fault it is that the source cannot be read: the inbox's, the user's, or the file's."""
    name = work.job.name.decode("utf-8", "replace")
    if error.errno in {errno.ENOENT, errno.ENOTDIR} and work.rule.inbox.is_dir():
        return Withdrawn("vanished", f"{name} was taken away before it was read")
    if error.errno == errno.ELOOP:
        return Withdrawn("vanished", f"{name} is a symbolic link now, or lies behind one; links are not followed")
    if error.errno == errno.ENXIO:
        return Withdrawn("vanished", f"{name} is no file any more")
    if error.errno in {errno.EACCES, errno.EPERM}:
        return Failed(
            "unreadable", f"{name} cannot be read: {error.strerror}",
            "give the user that stemd runs as the right to read it, then: stemd retry",
        )  # fmt: skip
    raise EnvironmentFault(
        "inbox-offline", f"the inbox {work.rule.inbox} cannot be read: {error.strerror}",
        "check the share or the disk; the job then resumes",
    ) from error  # fmt: skip
