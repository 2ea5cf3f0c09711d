"""`choose`: one pass over all that waits, from the last stage to the first."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from stemd.model import Need, Stage
from stemd.planner.engines import Engines
from stemd.planner.facts import Gate, Limits, Plan, Start, worker
from stemd.planner.intake import Intake, at_least
from stemd.planner.order import by_stage, in_turn
from stemd.planner.room import Room

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from stemd.model import Headroom, Rung
    from stemd.planner.facts import Candidate, Promise, Warm

LANE = {
    Stage.TAKE: "take",
    Stage.NORMALISE: "compute",
    Stage.CHECK: "compute",
    Stage.DELIVER: "deliver",
    Stage.RETIRE: "deliver",
}
"""Each lane has its own slots, so that a long normalise delays neither an arrival nor a delivery."""

_ON_ENGINE = frozenset({Stage.SEPARATE, Stage.RECHECK})
_BEFORE_ENGINE = frozenset({Stage.TAKE, Stage.NORMALISE, Stage.SEPARATE})
_FINISHING = frozenset({Stage.CHECK, Stage.RECHECK, Stage.DELIVER, Stage.RETIRE})


def choose(  # noqa: PLR0913 - a pure function is told everything; the last four have their names
    waiting: Iterable[Candidate],
    running: Sequence[Promise],
    headroom: Headroom,
    now: float,
    *,
    limits: Limits | None = None,
    gate: Gate | None = None,
    warm: Sequence[Warm] = (),
    before: Plan | None = None,
) -> Plan:
    """Decide what starts now, and say for each other job why it waits.

    waiting: jobs in any order. A caller may leave out TAKE jobs beyond the first few hundred of each rule and
    priority, but no job that is begun. now: Unix time. before: the last plan; it carries turns and patience.
    Never promises the same memory or disk twice, nor one engine to two jobs.
    """
    draft = _Draft(running, Room(headroom, running, warm), limits or Limits(), gate or Gate(), now, before)
    for stage, candidates in by_stage(waiting).items():
        draft.plan_stage(stage, in_turn(candidates, draft.served))
    return draft.plan()


class _Draft:
    """A plan while it is made."""

    def __init__(
        self, running: Sequence[Promise], room: Room, limits: Limits, gate: Gate, now: float, before: Plan | None
    ) -> None:
        self.room, self.limits, self.gate, self.now = room, limits, gate, now
        self.engines = Engines(room, limits, gate, now, before)
        self.served = dict(before.served) if before else {}
        self.turn = max(self.served.values(), default=0)
        self.starts: list[Start] = []
        self.waits: dict[int, str] = {}
        self.impossible: dict[int, str] = {}
        self.full: dict[Path, str] = {}
        self.keys = {promise.key: promise.job for promise in running if promise.key}
        moving = [promise for promise in running if not promise.hangs]
        # Whoever hangs keeps back its own rule's jobs in its lane, and nobody else.
        self.hanging = {(LANE.get(promise.stage), promise.rule): promise.job for promise in running if promise.hangs}
        self.slots = Counter(LANE.get(promise.stage, "engine") for promise in moving)
        self.places = sum(promise.stage in _BEFORE_ENGINE for promise in running)
        self.queued = Counter[int]()  # on the way to the engine as well, by their priority
        self.intakes = {Stage.NORMALISE: Intake(self.limits.ahead), Stage.TAKE: Intake(self.limits.taken)}
        for promise in running:
            if promise.stage is Stage.NORMALISE or (promise.stage is Stage.TAKE and not promise.hangs):
                self.intakes[promise.stage].add(promise.rule, promise.priority)

    def plan(self) -> Plan:
        """Freeze it."""
        return Plan(
            tuple(self.starts), self.waits, self.impossible, self.engines.drops, self.engines.crowded, self.served,
            self.full,
        )  # fmt: skip

    def plan_stage(self, stage: Stage, candidates: list[Candidate]) -> None:
        """Go through one stage's candidates in their order."""
        if self.gate.closed and not (self.gate.finish and stage in _FINISHING):
            self.waits.update(dict.fromkeys((candidate.job for candidate in candidates), self.gate.closed))
            return
        decide = self._with_engine if stage in _ON_ENGINE else self._without_engine
        for index, candidate in enumerate(candidates):
            if stage is Stage.TAKE and self._nothing_is_copied(candidate.priority):
                self._line_up(candidates[index:])
                return
            if candidate.due > self.now:
                self._wait(candidate, _later(candidate, self.now), stuck=True)
            else:
                decide(candidate)

    def _with_engine(self, candidate: Candidate) -> None:
        twin = self.keys.get(candidate.key) if candidate.key else None
        if twin is not None:
            self._wait(candidate, f"job {twin} is making the same separation")
            return
        if candidate.kept:
            self._without_engine(candidate)
            return
        verdict = self.engines.find(candidate)
        if verdict.impossible:
            self.impossible[candidate.job] = verdict.reason
            self._wait(candidate, verdict.reason, stuck=True)
        elif verdict.option is None:
            reason = verdict.reason or self._place(candidate)
            self._wait(candidate, reason, stuck=bool(verdict.reason), folder=verdict.folder)
        else:
            need = Need(verdict.option.need.ram, verdict.option.need.vram, candidate.need.disk)
            self._start(candidate, need, verdict.option.rung)

    def _without_engine(self, candidate: Candidate) -> None:
        lane = LANE.get(candidate.stage, "compute")
        hanging = self.hanging.get((lane, candidate.rule))
        if hanging is not None:
            self._wait(candidate, f"job {hanging} stands still: does the share of its rule hang?", stuck=True)
            return
        intake = self.intakes.get(candidate.stage)
        too_far = intake is not None and not intake.open_to(candidate.rule, candidate.priority)
        if self.slots[lane] >= self.limits.cpu_jobs or too_far:
            self._wait(candidate, self._place(candidate, lane))
            return
        lack = self.room.lack(candidate.need, worker(candidate.stage, None))
        if lack:
            if lack.what == "RAM":
                self.engines.drops = self.room.idle_engines
            self._wait(candidate, str(lack), stuck=True, folder=lack.folder)
            return
        self.slots[lane] += 1
        self._start(candidate, candidate.need, None)

    def _start(self, candidate: Candidate, need: Need, rung: Rung | None) -> None:
        self.room.take(need, worker(candidate.stage, rung))
        self.starts.append(
            Start(candidate.job, candidate.rule, candidate.stage, need, rung, candidate.key, candidate.priority)
        )
        self.turn += 1
        self.served[candidate.stage, candidate.rule] = self.turn
        if candidate.key:
            self.keys[candidate.key] = candidate.job
        if intake := self.intakes.get(candidate.stage):
            intake.add(candidate.rule, candidate.priority)
        self.places += candidate.stage in _BEFORE_ENGINE

    def _wait(self, candidate: Candidate, reason: str, *, stuck: bool = False, folder: Path | None = None) -> None:
        self.waits[candidate.job] = reason
        if folder:
            self.full[folder] = reason
        self.queued[candidate.priority] += candidate.stage in _BEFORE_ENGINE
        if candidate.stage is Stage.TAKE:
            return
        if not stuck:
            # It will go on: what it still has to write is not given to files that are not begun.
            self.room.take_disk(candidate.need.disk)
        if candidate.stage is Stage.SEPARATE:
            self.intakes[Stage.NORMALISE].add(candidate.rule, candidate.priority, stuck=stuck)
        elif candidate.stage is Stage.NORMALISE:
            self.intakes[Stage.TAKE].add(candidate.rule, candidate.priority, stuck=stuck)

    def _nothing_is_copied(self, priority: int) -> bool:
        """Whether no file of any rule of this priority, or of a lower one, is copied any more, for now."""
        return self.intakes[Stage.TAKE].full(priority) or self.slots["take"] >= self.limits.cpu_jobs

    def _line_up(self, candidates: list[Candidate]) -> None:
        """Give everybody behind a full intake a place: the short way for thousands of files."""
        ahead = {priority: self._ahead(priority) for priority in {candidate.priority for candidate in candidates}}
        for index, candidate in enumerate(candidates):
            place = _before(ahead[candidate.priority] + index)
            self.waits[candidate.job] = place if candidate.due <= self.now else _later(candidate, self.now)

    def _ahead(self, priority: int) -> int:
        """How many jobs on the way to the engine come before one of this priority that is planned now."""
        return self.places + at_least(self.queued, priority)

    def _place(self, candidate: Candidate, lane: str = "") -> str:
        """Say how many jobs come first: in the lane, or on the way to the engine."""
        on_the_way = 0 if lane == "deliver" else self._ahead(candidate.priority)
        return _before(max(on_the_way, self.slots[lane]))


def _before(jobs: int) -> str:
    return f"{jobs} jobs before it" if jobs != 1 else "1 job before it"


def _later(candidate: Candidate, now: float) -> str:
    """Why and for how long a job waits that is not due yet."""
    again = f"tries again in {candidate.due - now:.0f} s"
    return f"{candidate.reason}; {again}" if candidate.reason else again
