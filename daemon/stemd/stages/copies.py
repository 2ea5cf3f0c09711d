"""A job's copies in the review folder: which of them stand, and how they are taken back once nobody needs them."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from stemd.files import faults_in
from stemd.files.enter import entered
from stemd.files.plan import remembered
from stemd.files.presence import check_present
from stemd.files.publish import Shelf, withdraw

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from stemd.model import Artifact
    from stemd.stages.work import Work

JOURNAL: Final = "review.json"
OUTBOX_JOURNAL: Final = "outbox.json"
"""What was published where, in the folder of the result; `files.publish` writes and reads them."""

INBOX_NOTE: Final = "inbox.json"
"""Which folder the source was taken from, in the job's own folder; `files.presence` writes and reads it."""
MOVING: Final = "moving.json"
"""As what a file of the user's appears on another file system, in the job's own folder; `files.move` uses it."""


def standing(work: Work) -> tuple[Artifact, ...]:
    """All files that the job has in the review folder, each with the number of its result."""
    plans = [(number, remembered(journal)) for number, journal in _journals(work)]
    whole = [(number, plan) for number, plan in plans if plan is not None and plan.complete]
    return tuple(replace(artifact, result=number) for number, plan in whole for artifact in plan.artifacts)


def take_back(work: Work) -> str:
    """Take every unchanged copy away; tell what became of them, as the end of a note. May be repeated after a kill.

    Raises EnvironmentFault("inbox-offline", "review-missing", "review-read-only", ..), Stopping.
    """
    journals = list(_journals(work))
    if not journals:
        return ""
    make_folder(work)
    gone = [withdraw(Shelf(work.rule.review, journal, work.job.id, "review", work.stop)) for _, journal in journals]
    return "; the review copy is gone" if all(gone) else "; the review copy was changed and stays"


def make_folder(work: Work) -> None:
    """Make the review folder if it is missing; never on the mount point of an inbox that is not mounted.

    Raises EnvironmentFault("inbox-offline", "review-missing", "review-is-a-link", ..).
    """
    rule = work.rule
    if rule.review.is_relative_to(rule.inbox):
        check_present(work.root / INBOX_NOTE, rule.inbox, but=rule.review)
        with faults_in("review", rule.review), entered(rule, rule.review, make=True):
            return
    with faults_in("review", rule.review), contextlib.suppress(FileExistsError):
        rule.review.mkdir()


def _journals(work: Work) -> Iterator[tuple[int, Path]]:
    """Every journal of the job with its result's number: those of results that were given up, too."""
    if (first := work.root / JOURNAL).exists():
        yield 1, first
    for journal in sorted(work.root.glob(f"result-*/{JOURNAL}")):
        yield int(journal.parent.name.partition("-")[2]), journal
