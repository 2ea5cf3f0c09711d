"""A job, where it stands, and the arrows between its statuses."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from stemd.model.result import Result


class Stage(StrEnum):
    """The walk of one file, in order. RECHECK is gone through only where CHECK has asked for a second look."""

    TAKE = "take"
    NORMALISE = "normalise"
    SEPARATE = "separate"
    CHECK = "check"
    RECHECK = "recheck"
    DELIVER = "deliver"
    RETIRE = "retire"

    @property
    def following(self) -> Stage | None:
        """The stage that usually comes after this one; None after the last."""
        order = [stage for stage in Stage if stage is not Stage.RECHECK or stage is self]
        place = order.index(self) + 1
        return order[place] if place < len(order) else None


class Status(StrEnum):
    """Where a job stands. The arrows a status may follow stand in `ARROWS`."""

    WAITING = "waiting"
    RUNNING = "running"
    HELD = "held"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to such a job unless a person asks for it."""
        return self in {Status.DONE, Status.FAILED, Status.CANCELLED}


ARROWS: dict[Status, frozenset[Status]] = {
    Status.WAITING: frozenset({Status.WAITING, Status.RUNNING, Status.HELD, Status.DONE, Status.CANCELLED}),
    Status.RUNNING: frozenset({Status.WAITING, Status.HELD, Status.DONE, Status.FAILED, Status.CANCELLED}),
    Status.HELD: frozenset({Status.WAITING, Status.FAILED, Status.CANCELLED}),
    Status.DONE: frozenset({Status.WAITING}),
    Status.FAILED: frozenset({Status.WAITING}),
    Status.CANCELLED: frozenset({Status.WAITING}),
}
"""Which status may follow which: anything else is a mistake in the program and refused by the ledger."""


@dataclass(frozen=True, slots=True)
class Stat:
    """What identifies one version of a file on disk, as the kernel reports it."""

    size: int
    mtime_ns: int
    ctime_ns: int


@dataclass(frozen=True, slots=True)
class Arrival:
    """A path seen in an inbox. Paths are bytes: names need not be UTF-8."""

    rule: str
    path: bytes
    stat: Stat


@dataclass(frozen=True, slots=True)
class Job:
    """One content under one rule and recipe, and where it stands.

    path: where the source is now; name: its path below the inbox (both bytes). stat: of the version that was seen.
    sha256: of the content, hex; empty until TAKE has read it. recipe: its digest.
    key: the separation key, hex; empty until SEPARATE has computed it.
    attempts: how often the present stage was started; interruptions: how often the daemon died meanwhile.
    code: of the fault, once the job is failing or waits for its surroundings.
    due: wall-clock second (Unix time) before which the job does not start again.
    reason: why it waits, is held, failed, was cancelled or not delivered again; empty otherwise.
    reasons: why a person should hear it first; such a job is published to the review folder.
    twin: the job of the same content, rule and recipe that answers for this one.
    result, preset, model: which of its results the job is at, and what that is made with instead of the rule's own.
    others: its other results, kept beside it until one is approved.
    again: whether it was delivered before, and its files are made once more from the kept result.
    failing: whether only its source is still to be put aside before the job is FAILED.
    seconds: length of the recording; 0 until NORMALISE has read it.
    created, changed: Unix time in seconds.
    """

    id: int
    rule: str
    path: bytes
    name: bytes
    stat: Stat
    stage: Stage = Stage.TAKE
    status: Status = Status.WAITING
    sha256: str = ""
    recipe: str = ""
    key: str = ""
    attempts: int = 0
    interruptions: int = 0
    due: float = 0.0
    code: str = ""
    reason: str = ""
    hint: str = ""
    reasons: tuple[str, ...] = ()
    approved: bool = False
    twin: int | None = None
    result: int = 1
    preset: str = ""
    model: str = ""
    others: tuple[Result, ...] = ()
    seconds: float = 0.0
    again: bool = False
    failing: bool = False
    created: float = 0.0
    changed: float = 0.0

    @property
    def present(self) -> Result:
        """The result that the job is at."""
        return Result(self.result, self.preset, self.model, self.key, self.reasons)

    @property
    def results(self) -> tuple[Result, ...]:
        """All results, in the order in which they were asked for."""
        return tuple(sorted((self.present, *self.others), key=lambda result: result.number))

    @property
    def for_review(self) -> bool:
        """Whether the job's stems belong in the review folder until a person has decided."""
        return bool(self.reasons or self.others) and not self.approved

    @property
    def redelivery_failed(self) -> bool:
        """Whether files that were asked for once more could not be made: the job is done, as it was before."""
        return self.status is Status.DONE and bool(self.code)


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a job's story, written in the transaction of what it tells."""

    at: float
    job: int
    stage: Stage
    status: Status
    text: str
    code: str = ""
