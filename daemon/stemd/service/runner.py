"""Runs stages, each in a thread of its own, and posts how they ended. Decides nothing and writes no ledger."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from stemd import patience
from stemd.errors import EnvironmentFault, OutOfMemory, StemdError, Stopping, WorkerFault
from stemd.model import Failed, Job, Outcome, Retry, Stage
from stemd.service.logbook import about, shown
from stemd.stages import check, deliver, normalise, recheck, retire, separate, take
from stemd.stages.work import Work, folder_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from stemd.model import Rule
    from stemd.planner import Start
    from stemd.stages.work import Children

STAGES: Final[Mapping[Stage, Callable[[Work], Outcome]]] = {
    Stage.TAKE: take.run,
    Stage.NORMALISE: normalise.run,
    Stage.SEPARATE: separate.run,
    Stage.CHECK: check.run,
    Stage.RECHECK: recheck.run,
    Stage.DELIVER: deliver.run,
    Stage.RETIRE: retire.run,
}

_ON_SHARES: Final = frozenset({Stage.TAKE, Stage.DELIVER, Stage.RETIRE})
_AGAIN: Final = 2.0  # seconds before a worker that failed is asked again
_MOST: Final = 60.0  # seconds between two looks at a fault of the surroundings
_DOUBLINGS: Final = 10  # of _AGAIN, more than lead to _MOST


@dataclass(frozen=True, slots=True)
class Ended:
    """How a stage ended. seconds: of wall-clock time. lacking: whether memory ran out."""

    job: Job
    start: Start
    outcome: Outcome
    seconds: float
    lacking: bool = False


@dataclass(slots=True)
class Running:
    """A stage at work. Times are monotonic seconds.

    fraction: done, 0 to 1. details: its worker's last words. moved: when they came; None before the first.
    warned: whether the log tells that it stands still.
    """

    job: Job
    start: Start
    since: float
    stop: threading.Event = field(default_factory=threading.Event)
    fraction: float = 0.0
    details: Mapping[str, Any] = field(default_factory=dict)
    moved: float | None = None
    warned: bool = False

    def tell(self, fraction: float, details: Mapping[str, Any]) -> None:
        """Note the progress."""
        if self.moved is None:
            about(self.job).debug("first word of progress")
        self.fraction, self.details, self.moved, self.warned = fraction, details, time.monotonic(), False

    def still(self, now: float) -> float:
        """Seconds for which a stage at work on shares has stood still; 0 while it moves, or its worker is watched."""
        seconds = now - (self.since if self.moved is None else self.moved)
        return seconds if self.start.stage in _ON_SHARES and seconds > patience.STILL else 0.0


class Runner:
    """The stages at work."""

    def __init__(self, state: Path, children: Children, post: Callable[[Ended], None]) -> None:
        """state: the state folder. post: told how a stage ended, from the stage's thread."""
        self.work_folder = state / "work"
        self.results = state / "results"
        self.running: dict[int, Running] = {}
        self._children = children
        self._post = post
        self._faults: dict[int, int] = {}

    def start(self, job: Job, rule: Rule, start: Start, limit: float, beside: tuple[Rule, ...]) -> None:
        """Set a claimed job to work. limit: seconds after which its worker is given up. beside: as in `Work`."""
        running = Running(job, start, time.monotonic())
        self.running[job.id] = running
        folder = folder_of(self.work_folder, job)
        work = Work(
            job, rule, folder, self.results, self._children, running.stop, running.tell, start.rung, limit, beside
        )
        threading.Thread(target=self._run, args=(work, running), name=f"{job.stage}-{job.id}", daemon=True).start()

    def warn(self) -> None:
        """Say in the log, once, of each stage that stands still."""
        for running in self.running.values():
            if not running.warned and running.still(time.monotonic()):
                running.warned = True
                about(running.job).warning("{} stands still: does the share of its rule hang?", shown(running.job))

    def finish(self, ended: Ended) -> None:
        """Take an ended stage off the list."""
        self.running.pop(ended.job.id, None)

    def stop(self, job: int) -> None:
        """Ask one job's stage to end soon."""
        if job in self.running:
            self.running[job].stop.set()

    def stop_all(self) -> None:
        """Ask every stage to end soon."""
        for running in self.running.values():
            running.stop.set()

    def forget(self, job: int) -> None:
        """The job has ended: its faults no longer matter."""
        self._faults.pop(job, None)

    def _run(self, work: Work, running: Running) -> None:
        try:
            work.folder.mkdir(parents=True, exist_ok=True)
            outcome, fault = STAGES[work.job.stage](work), None
        except Exception as error:  # noqa: BLE001 - whatever happens in a stage is an outcome, not the daemon's end
            outcome, fault = self._outcome_of(error, work.job), error
        seconds = time.monotonic() - running.since
        self._post(Ended(work.job, running.start, outcome, seconds, isinstance(fault, OutOfMemory)))

    def _outcome_of(self, error: Exception, job: Job) -> Outcome:
        """What an exception means for the job."""
        match error:
            case Stopping():
                return Retry(0.0, f"{job.stage} was interrupted", counts=False)
            case OutOfMemory():
                return Retry(0.0, error.message, counts=False, code=error.code, hint=error.hint)
            case EnvironmentFault():
                return Retry(self._patience(job), error.message, counts=False, code=error.code, hint=error.hint)
            case WorkerFault():
                return Retry(_AGAIN * job.attempts, error.message, counts=True, code=error.code, hint=error.hint)
            case StemdError():
                return Failed(error.code, error.message, error.hint)
            case _:
                about(job).opt(exception=error).error("{} met an unexpected error", shown(job))
                return Retry(
                    _AGAIN * job.attempts, f"unexpected {type(error).__name__}: {error}", counts=True,
                    code="internal", hint="this is a mistake in stemd; please report it with the log",
                )  # fmt: skip

    def _patience(self, job: Job) -> float:
        """Seconds until a fault of the surroundings is met again: longer each time, up to a minute."""
        times = self._faults[job.id] = self._faults.get(job.id, 0) + 1
        return min(_AGAIN * 2.0 ** min(times - 1, _DOUBLINGS), _MOST)

    def patience_lost(self, job: int) -> bool:
        """Whether the job met so many faults of its surroundings in a row that waiting on is a matter of minutes."""
        return self._faults.get(job, 0) > 3  # noqa: PLR2004
