"""What the planner is asked with, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stemd.model import Need, Stage, Use

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from stemd.model import Option, Rung


QUALITY = "quality"
"""Stands where a device stands for engines: the one process that makes all checks."""


def worker(stage: Stage, rung: Rung | None) -> str:
    """Which process that stays warm works on a stage: an engine's device, QUALITY; empty where none does."""
    if rung:
        return rung.device
    return QUALITY if stage is Stage.CHECK else ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A job that waits at `stage`.

    created: Unix time, the job's age. due: Unix time before which it does not start; reason: why (empty if none).
    need: memory of this stage beside an engine's, and the disk that the whole rest of the walk will write.
    options: SEPARATE only, the rungs it may take, largest first (`ladder.options`); their disk is not looked at.
    key: the separation key where it is known; two jobs of one key do not run at once.
    name: the recording's, below its inbox; it decides between jobs of one age.
    kept: SEPARATE only, whether its stems are there or can be formed of others: it needs no engine.
    """

    job: int
    rule: str
    stage: Stage
    created: float
    priority: int = 0
    due: float = 0.0
    reason: str = ""
    need: Need = field(default_factory=Need)
    options: tuple[Option, ...] = ()
    key: str = ""
    name: bytes = b""
    kept: bool = False


@dataclass(frozen=True, slots=True)
class Promise:
    """What a running job was promised.

    pid: the child whose use is already part of the measurement, if known. hangs: the share that it works on does not
    answer; it may go on in a moment or never.
    """

    job: int
    rule: str
    stage: Stage
    need: Need = field(default_factory=Need)
    rung: Rung | None = None
    pid: int | None = None
    key: str = ""
    hangs: bool = False
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Warm:
    """An idle engine with a loaded model, or the idle checker: what it holds is free for its own next job."""

    device: str
    use: Use = field(default_factory=Use)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may go on at once.

    cpu_jobs: slots of each lane (take | normalise, check | deliver, retire).
    ahead: jobs normalised, or being normalised, in advance of the engines. taken: jobs copied in advance of that. Both
    are counted without jobs of lower priority.
    patience: seconds for which every graphics card must have been too full before a job falls back to the CPU.
    """

    cpu_jobs: int = 1
    ahead: int = 2
    taken: int = 4
    patience: float = 120.0


@dataclass(frozen=True, slots=True)
class Gate:
    """Reasons from outside to start nothing; empty texts: open.

    closed: shown for every job that waits because of it ("paused", "outside hours, next 22:00").
    finish: whether separated jobs may still be checked and delivered while closed.
    yielded: graphics cards that another program uses, and that are left to it.
    """

    closed: str = ""
    finish: bool = True
    yielded: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Start:
    """A job to start, with what it is promised. rung: None where no engine is needed."""

    job: int
    rule: str
    stage: Stage
    need: Need
    rung: Rung | None = None
    key: str = ""
    priority: int = 0

    @property
    def worker(self) -> str:
        """Which process that stays warm will do it; empty where none does."""
        return worker(self.stage, self.rung)

    def promise(self, pid: int | None = None, *, hangs: bool = False) -> Promise:
        """Put it down as running."""
        return Promise(self.job, self.rule, self.stage, self.need, self.rung, pid, self.key, hangs, self.priority)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to start now, in order, and why every other job waits. Hand it back as `before` the next time.

    waits: job -> reason. impossible: job -> the figure that this machine can never offer: hold it.
    drops: devices whose idle engine should be ended, because a job waits for memory.
    crowded: since when all graphics cards were too full for what waited. served: turns taken, for fairness.
    full: folders whose disks lack room for a job -> what is missing.
    """

    starts: tuple[Start, ...] = ()
    waits: Mapping[int, str] = field(default_factory=dict)
    impossible: Mapping[int, str] = field(default_factory=dict)
    drops: tuple[str, ...] = ()
    crowded: float | None = None
    served: Mapping[tuple[Stage, str], int] = field(default_factory=dict)
    full: Mapping[Path, str] = field(default_factory=dict)
