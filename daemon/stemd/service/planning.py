"""Plans what starts: measures the machine when it matters, asks the planner, says what every other job waits for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from stemd import flow, ladder
from stemd.headroom import Meter
from stemd.ledger import facts, jobs
from stemd.model import Stage, Status, Use
from stemd.planner import Limits, Plan, Warm, choose
from stemd.schedule import Manners, active, gate, yielding
from stemd.service.dispatch import Dispatch, newcomers
from stemd.service.logbook import about, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from stemd.children import WorkerPool
    from stemd.config import Settings
    from stemd.ledger import Ledger
    from stemd.model import Headroom, Job
    from stemd.planner import Gate, Promise, Start
    from stemd.service.runner import Ended, Running

_GIB: Final = 1 << 30
_FRESH: Final = 1.0  # seconds for which a measurement is good enough to plan with
_LONG: Final = frozenset({Stage.NORMALISE, Stage.SEPARATE})
_STEMS_NEEDED: Final = frozenset({Stage.CHECK, Stage.RECHECK, Stage.DELIVER})


class Planning:
    """The plan in force.

    waits: why each waiting job waits. full: what folders' disks lack. headroom: the last measurement, None before it.
    """

    def __init__(self, settings: Settings, ledger: Ledger, pool: WorkerPool, state: Path) -> None:
        self.dispatch = Dispatch(settings, pool.card)
        self.dispatch.learn(facts.measurements(ledger))
        self.headroom: Headroom | None = None
        self.gate: Gate | None = None
        self.waits: dict[int, str] = {}
        self.full: Mapping[Path, str] = {}
        self._ledger, self._pool, self._state = ledger, pool, state
        self._manners = Manners()
        self._before: Plan | None = None
        self._engines: dict[str, int] = {}
        self._follow(settings)

    def _follow(self, settings: Settings) -> None:
        resources = settings.resources
        self._meter = Meter(
            self.dispatch.folders(),
            ram_reserve=round(resources.ram_reserve_gb * _GIB), vram_reserve=round(resources.vram_reserve_gb * _GIB),
        )  # fmt: skip

    def reload(self, settings: Settings) -> None:
        """Plan by other settings from now on."""
        self.dispatch.settings = settings
        self._follow(settings)

    def measure(self, running: dict[int, Running]) -> Headroom:
        """Measure the machine, unless that was done a moment ago; and see who else uses it."""
        if self.headroom is None or abs(time.time() - self.headroom.at) > _FRESH:
            engaged = [stage.start.rung.device for stage in running.values() if stage.start.rung]
            self.headroom = self._meter.measure(engaged)
            schedule = self.dispatch.settings.schedule
            self._manners = yielding(
                self._manners, self.headroom, schedule.yield_cpu_percent, schedule.yield_gpu_percent, time.monotonic()
            )
        return self.headroom

    def plan(self, running: dict[int, Running], now: float, paused: str) -> tuple[Start, ...]:
        """Say what to start now; holds what this machine can never do, and ends idle engines whose memory is needed."""
        settings = self.dispatch.settings
        rules = {rule.name: rule for rule in settings.rules}
        measured = self.measure(running)
        self._engines = dict(self._pool.processes)
        self.gate = gate(settings.schedule.active, self._manners, now, paused=bool(paused))
        self.waits = {}
        waiting = [job for job in jobs.waiting(self._ledger, newcomers(len(rules))) if self._ready(job, now)]
        plan = choose(
            self.dispatch.candidates(waiting, rules, measured, now, self._state / "work"),
            [self._promise(stage) for stage in running.values()], measured, now,
            limits=Limits(cpu_jobs=settings.resources.cpu_jobs), gate=self.gate, warm=self._warm(running),
            before=self._before,
        )  # fmt: skip
        self._before = plan
        self.waits |= plan.waits
        self.full = plan.full
        self.waits |= {job.id: f'no rule "{job.rule}" in config.toml' for job in waiting if job.rule not in rules}
        for number, reason in plan.impossible.items():
            self._hold(jobs.get(self._ledger, number), reason, now)
        for device in plan.drops:
            self._pool.unload(device)
        return plan.starts

    def wanted(self, running: Iterable[Running]) -> set[str]:
        """Give the separation keys of jobs at SEPARATE: what is kept under them must stay."""
        keys = {stage.start.key for stage in running} | self.dispatch.wanted
        return keys | {self.dispatch.key_at(stage.job, stage.start.rung, self._state / "work") for stage in running}

    def outstayed(self, running: dict[int, Running]) -> list[int]:
        """Tell which running jobs should stop, because the hours have ended and nothing is to be finished outside."""
        settings = self.dispatch.settings.schedule
        if settings.at_end == "finish" or active(settings.active, time.time()):
            return []
        return [job for job, stage in running.items() if stage.start.stage in _LONG]

    def settled(self, ended: Ended) -> None:
        """Learn from how a separation ended: where memory ran out, and which card is of no use."""
        rung, code, now = ended.start.rung, getattr(ended.outcome, "code", ""), time.time()
        if rung is None:
            return
        if code == "no-gpu" and rung.on_gpu:
            self.dispatch.cannot_use(rung.device, now)
        if ended.lacking and self.headroom is not None:
            own = self.headroom.own.get(self._engines.get(rung.device, 0), Use())
            model = self.dispatch.model_of(ended.job)
            fall = ladder.fallen(rung, ended.start.need, self.headroom, own, now, model=model, killed=code == "killed")
            self.dispatch.fell(ended.job.id, fall)

    def _ready(self, job: Job, now: float) -> bool:
        """Whether a waiting job is the planner's to place; what its twin or the disk decides is settled here."""
        if job.twin is not None and not job.failing:
            return self._answered(job, jobs.get(self._ledger, job.twin), now)
        lost = job.stage in _STEMS_NEEDED and not (self._state / "results" / job.key).is_dir()
        begun = job.stage not in {Stage.TAKE, Stage.RETIRE}
        if lost or (begun and not (self._state / "work" / str(job.id) / "source").exists()):
            text = "its files in the state folder are gone" + ("" if job.again else "; from the beginning")
            change = flow.as_before(text, "stems-missing") if job.again else flow.retried(text)
            jobs.apply(self._ledger, job, change, now)
            about(job).warning("{}: {}", shown(job), text)
            self.waits[job.id] = text
            return False
        return True

    def _answered(self, job: Job, twin: Job, now: float) -> bool:
        """A duplicate follows its twin: retired when that is done, set aside or taken over when it failed."""
        change = flow.answered(job, twin)
        if change is not None:
            jobs.apply(self._ledger, job, change, now)
            about(job).bind(code=change.code).log("ERROR" if change.code else "INFO", "{}: {}", shown(job), change.text)
            self.waits[job.id] = change.text
            return False
        if twin.status is Status.DONE:
            return True
        self.waits[job.id] = f"same recording as job {twin.id}, which is {twin.status} at {twin.stage}"
        return False

    def _hold(self, job: Job, reason: str, now: float) -> None:
        change = flow.held(job, self.dispatch.lacking(job.id) or reason, "out-of-memory")
        jobs.apply(self._ledger, job, change, now)
        about(job).bind(code=change.code).warning("{} is held: {}; {}", shown(job), change.reason, change.hint)

    def _promise(self, stage: Running) -> Promise:
        hangs = stage.still(time.monotonic()) > 0
        return stage.start.promise(self._pool.processes.get(stage.start.worker), hangs=hangs)

    def _warm(self, running: dict[int, Running]) -> list[Warm]:
        """Engines that hold a model and do nothing, and the checker when it has nothing to check."""
        busy = {stage.start.worker for stage in running.values()}
        own = self.headroom.own if self.headroom else {}
        return [
            Warm(device, own[pid]) for device, pid in self._pool.processes.items() if device not in busy and pid in own
        ]
