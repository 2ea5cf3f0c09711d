"""Writes down how stages ended, and does what follows: for later jobs to learn, for the log, to clean up."""

from __future__ import annotations

import os
import time
from concurrent.futures import wait
from functools import partial
from typing import TYPE_CHECKING

from loguru import logger

from stemd import flow, patience
from stemd.errors import EnvironmentFault, StemdError
from stemd.files.presence import gone
from stemd.ledger import albums, facts, jobs, stopping
from stemd.ledger.jobs import Stale
from stemd.model import Status, Withdrawn
from stemd.results import trim
from stemd.service.folders import put_away
from stemd.service.logbook import about, log_end, shown
from stemd.stages import deliver

if TYPE_CHECKING:
    from concurrent.futures import Future

    from stemd.ledger import Ledger
    from stemd.model import Change, Job
    from stemd.service.inboxes import Inboxes
    from stemd.service.planning import Planning
    from stemd.service.runner import Ended, Runner


class Endings:
    """failed: how many jobs have failed since the start."""

    def __init__(self, ledger: Ledger, runner: Runner, inboxes: Inboxes, planning: Planning) -> None:
        self.failed = 0
        self._clearing: dict[int, Future[bool]] = {}
        self._ledger, self._runner, self._inboxes, self._planning = ledger, runner, inboxes, planning

    def write_down(self, ended: Ended) -> None:
        """Bring the job where its stage's outcome leads. Raises LedgerFull: then nothing was written."""
        change = flow.after(ended.job, ended.outcome)
        if asked := stopping.asked(self._ledger, ended.job.id):
            change = flow.stopped(ended.job, change, asked)
        try:
            job = self._applied(ended.job, change, self._lost_twin(ended.job, change))
        except Stale as stale:
            about(ended.job).error("{}; how its stage ended is not written down", stale.message)
            job = jobs.get(self._ledger, ended.job.id)
        self._runner.finish(ended)
        self._learn(ended, change, job)
        log_end(ended, change)
        if job.status.ended:
            self.failed += job.status is Status.FAILED
            self.clear(job)
            album = albums.album(self._ledger, job)
            if album is not None and not album.at_work:
                logger.bind(rule=job.rule).info("album {}: {}", album.folder.decode("utf-8", "replace"), album.told)

    def forget(self, job: int) -> None:
        """Start a job from the beginning with a clean slate; TAKE drops what was made so far."""
        self._runner.forget(job)
        self._planning.dispatch.forget(job)

    def clear(self, *ended: Job) -> None:
        """Put away what was kept for jobs that have ended, of each as soon as its share has answered."""
        for job in ended:
            self.forget(job.id)
            folder = self._runner.work_folder / str(job.id)
            self._clearing[job.id] = patience.put(partial(deliver.forget, folder))
        wait([self._clearing[job.id] for job in ended], patience.HANGS)
        self.finish_clearing()

    def check_cleared(self, job: Job) -> None:
        """Refuse to begin anew with a job of which something is still being taken back. Raises StemdError."""
        if job.id in self._clearing:
            raise StemdError(
                "share-hangs", f"what job {job.id} has left on a share is still being taken back",
                "ask again once the share answers",
            )  # fmt: skip

    def finish_clearing(self) -> None:
        """Put the folders of those away that have left nothing on any share any more."""
        for number in [number for number, taken_back in self._clearing.items() if taken_back.done()]:
            del self._clearing[number]
            job = jobs.get(self._ledger, number)
            if job.status.ended:
                self._put_away(job)

    def _put_away(self, job: Job) -> None:
        """What cannot be moved now is tidied at the next start."""
        try:
            put_away(self._runner.work_folder / str(job.id), self._runner.results, job)
            limit = self._planning.dispatch.settings.daemon.results_gb * 1e9
            for key in trim(self._runner.results, limit, self._needed()):
                logger.debug("dropped the kept stems {}", key[:12])
        except (OSError, EnvironmentFault) as fault:
            about(job).warning("{} could not be cleaned up after: {}", shown(job), fault)

    def _needed(self) -> set[str]:
        """The keys of separations that jobs need, those among them that are only about to look for theirs."""
        return jobs.needed_keys(self._ledger) | self._planning.wanted(self._runner.running.values())

    def _learn(self, ended: Ended, change: Change, job: Job) -> None:
        """Remember for later jobs what this one has taught."""
        self._planning.settled(ended)
        if isinstance(ended.outcome, Withdrawn):
            self._inboxes.forget(job.rule, job.path)
        if change.facts.measurement is not None:
            self._planning.dispatch.learn([change.facts.measurement])

    def _applied(self, job: Job, change: Change, lost: Job | None) -> Job:
        """Write down a change; what would be a duplicate of a job whose files are lost does its work anew."""
        now = time.time()
        with self._ledger.transaction():
            changed = jobs.apply_within(self._ledger, job, change, now)
            if lost is not None and changed.twin == lost.id:
                return jobs.supersede(self._ledger, lost, changed, now)
            return changed

    def _lost_twin(self, job: Job, change: Change) -> Job | None:
        """Find the finished job that answers for the content that TAKE has read, if its files are no longer there.

        Not while the whole outbox is away: then its share is not mounted, and the files are on it.
        """
        twin = jobs.answering(self._ledger, job, change.facts) if change.facts.sha256 else None
        if twin is None or twin.status is not Status.DONE:
            return None
        made, rule = facts.artifacts(self._ledger, twin.id), self._planning.dispatch.settings.rule(job.rule)
        away = rule is not None and os.fsencode(rule.outbox) in gone([os.fsencode(rule.outbox)])
        return twin if not away and gone(file.path for file in made) else None
