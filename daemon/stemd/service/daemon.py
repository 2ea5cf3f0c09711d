"""The composition root of `stemd run`: start-up, tick, shutdown. The only thread that writes the ledger runs here."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import queue
import signal
import time
from collections import deque
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from loguru import logger

from stemd import __version__, live, notify, patience
from stemd.children import WorkerPool
from stemd.errors import StemdError
from stemd.inbox import Look
from stemd.ledger import LedgerFull, Lock, arrivals, facts, jobs, open_for_writing, requests
from stemd.ledger.folders import see, seen
from stemd.model import Finished, Stage, Status, effective
from stemd.mounts import filesystem
from stemd.pulse import Pulse
from stemd.results import beside
from stemd.service import answers
from stemd.service import live as describe
from stemd.service.endings import Endings
from stemd.service.folders import left_over, make_state, own_ever, prepare, remember_own, tidy
from stemd.service.heartbeat import Heartbeat
from stemd.service.hooks import Called, Hooks
from stemd.service.inboxes import Inboxes, summary
from stemd.service.logbook import about, shown
from stemd.service.planning import Planning
from stemd.service.runner import Ended, Runner

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from stemd.config import Settings
    from stemd.ledger import Ledger
    from stemd.model import Job
    from stemd.stages.work import Children

_TICK: Final = 1.0  # seconds between looks at the requests, and between plans while jobs wait
_CLOSED: Final = 5.0  # seconds between plans outside hours and while paused
_REST: Final = 30.0  # seconds between measurements while nothing waits
_PATIENCE: Final = 6.0  # seconds that running stages get to end at a stop; systemd and people wait 10
_AT_ONCE: Final = 1000  # arrivals that become jobs in one transaction: a second of work
_FULL: Final = 5.0  # seconds until a ledger that could not be written is tried again


class Service:
    """The daemon. Made, run once, and thrown away."""

    def __init__(self, settings: Settings, *, once: bool = False, pool: Children | None = None) -> None:
        """settings: in force until a reload. once: end when nothing is left to do. pool: other workers, for tests."""
        self.settings = settings
        self.once = once
        self.paused = ""
        self.state = settings.daemon.state_dir
        self._mail: queue.SimpleQueue[Ended | Called | Look | str | None] = queue.SimpleQueue()
        self._unsettled: deque[Ended | Called | Look | str] = deque()
        self._stopping = self._full = False
        self._reload: Callable[[], Settings] | None = None
        self._reload_wanted = False
        self._next_plan = self._next_live = 0.0
        self._children = pool
        self._exit = contextlib.ExitStack()
        self._rounds: dict[str, Callable[[], None]] = {
            "reading the mail": self._take_mail, "reloading": self._reload_if_wanted, "writing down": self._settle_all,
            "answering requests": self._answer_requests, "looking at inboxes": self._look_at_inboxes,
            "measuring headroom": self._measure, "starting work": self._start_work, "starting hooks": self._start_hooks,
            "ending idle workers": self._rest, "cleaning up": self._clear_up, "telling the state": self._tell,
        }  # fmt: skip
        self._pulse = Pulse()
        self._heartbeat = Heartbeat(self._pulse)
        self.ledger: Ledger
        self.pool: Any
        self.runner: Runner
        self.inboxes: Inboxes
        self.planning: Planning
        self.endings: Endings
        self.hooks: Hooks

    def run(self) -> int:
        """Work until told to stop, or until nothing is left. Returns the exit code, 0 or 3."""
        with self._exit:
            self._start_up()
            while not self._stopping and not (self.once and self._nothing_left()):
                self._tick()
            unlucky = (
                self.endings.failed + jobs.counts(self.ledger)[Status.HELD] + self._stuck()
                + self.inboxes.offline() + self.inboxes.unreadable()
            )  # fmt: skip
            self._shut_down()
        return 3 if self.once and unlucky else 0

    def listen_to_signals(self, reload: Callable[[], Settings]) -> None:
        """SIGTERM and SIGINT stop the daemon, SIGHUP has it read its configuration again with `reload`.

        At SIGABRT, which systemd's watchdog sends, every thread says in the log where it stands.
        """
        self._reload = reload
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_hangup)
        faulthandler.enable()

    def stop(self) -> None:
        """End soon, in good order. May be called from any thread."""
        self._stopping = True
        self._mail.put(None)

    def _on_stop(self, _number: int, _frame: FrameType | None) -> None:
        self.stop()

    def _on_hangup(self, _number: int, _frame: FrameType | None) -> None:
        self._reload_wanted = True
        self._mail.put(None)

    def _start_up(self) -> None:
        make_state(self.state)
        lock = Lock(self.state)
        self._exit.callback(lock.release)
        self.ledger = open_for_writing(self.state)
        self._exit.callback(self.ledger.close)
        prepare(self.settings, self.ledger)
        remember_own(self.ledger, self.settings)
        now = time.time()
        for job in jobs.recover(self.ledger, now):
            if job.code == "interrupted":
                about(job).bind(code=job.code).error("{}: {}", shown(job), job.reason)
            elif job.status is Status.CANCELLED:
                about(job).info("{} was asked to stop; is cancelled", shown(job))
            else:
                about(job).info("{} was interrupted; goes on", shown(job))
        tidy(self.state, self.ledger)
        self.pool = self._children or WorkerPool(self.state, str(self.settings.daemon.models or ""), self._pulse)
        self._exit.callback(self.pool.close)
        self.runner = Runner(self.state, self.pool, self._mail.put)
        self.inboxes = Inboxes(self.settings.daemon.rescan, self._mail.put)
        self._exit.callback(self.inboxes.close)
        self._follow_inboxes()
        self.planning = Planning(self.settings, self.ledger, self.pool, self.state)
        self.endings = Endings(self.ledger, self.runner, self.inboxes, self.planning)
        self.endings.clear(*left_over(self.state, self.ledger))
        self.hooks = Hooks(self.ledger, self._mail.put)
        self.paused = facts.setting(self.ledger, answers.PAUSED)
        self._greet()

    def _greet(self) -> None:
        rules = ", ".join(rule.name for rule in self.settings.rules)
        logger.info("stemd {} works by the rules {}", __version__, rules)
        measured = self.planning.measure({})
        if self.settings.resources.device == "auto" and not measured.gpus:
            logger.warning(
                "no GPU found: separations run on the CPU, which takes many times as long; if that is intended, "
                'set device = "cpu" in [resources]'
            )
        for problem in measured.problems:
            logger.warning("{}", problem)
        if self.paused:
            logger.warning("paused by {}; go on with: stemd resume", self.paused)
        self._pulse.stamp(*self._rounds)
        self._heartbeat.start()
        self._exit.callback(self._heartbeat.close)
        notify.ready(self._line())

    def _tick(self) -> None:
        """One round: what has come in, what is asked, what is due, what can start. Every part leaves its stamp."""
        try:
            for part, get_round in self._rounds.items():
                get_round()
                self._pulse.stamp(part)
        except LedgerFull as fault:
            self._wait_for_room(fault)
        else:
            if self._full:
                logger.info("the ledger can be used again")
            self._full = False

    def _wait_for_room(self, fault: LedgerFull) -> None:
        """Let some seconds pass. A fault of the surroundings: told once, and nobody stands still meanwhile."""
        if not self._full:
            logger.error("{}: {}", fault.message, fault.hint)
        self._full = True
        time.sleep(_FULL)
        self._pulse.stamp(*self._rounds)
        self._rest()
        with contextlib.suppress(LedgerFull):
            self._tell()
        self._pulse.stamp(*self._rounds)

    def _take_mail(self) -> None:
        """Wait for something to do, at most until the next look or tick is due, and take all that has come."""
        seconds = min(_TICK, max(0.0, self.inboxes.next_due() - time.monotonic()))
        with contextlib.suppress(queue.Empty):
            item = self._mail.get(timeout=seconds)
            while True:
                if item is not None:
                    self._unsettled.append(item)
                item = self._mail.get_nowait()

    def _reload_if_wanted(self) -> None:
        if self._reload_wanted:
            self._swap_settings()

    def _settle_all(self) -> None:
        while self._unsettled:
            self._settle(self._unsettled[0])
            self._unsettled.popleft()
            self._pulse.stamp("writing down")

    def _look_at_inboxes(self) -> None:
        self.inboxes.start_due(time.monotonic())

    def _measure(self) -> None:
        if time.monotonic() >= self._next_plan:
            self.planning.measure(self.runner.running)

    def _start_hooks(self) -> None:
        if not self.paused:
            self.hooks.start_owed(self.settings)

    def _rest(self) -> None:
        self.pool.drop_idle(self.settings.daemon.idle_unload)

    def _clear_up(self) -> None:
        self.endings.finish_clearing()

    def _settle(self, item: Ended | Called | Look | str) -> None:
        """Take in what a thread has posted. What cannot be written down yet stays first in the line."""
        match item:
            case Ended():
                self._see_outbox(item)
                self.endings.write_down(item)
                self._next_plan = 0.0
            case Called():
                self.hooks.write_down(item)
            case Look():
                self._admit(item)
            case rule:
                self.inboxes.wake(rule, time.monotonic())

    def _see_outbox(self, ended: Ended) -> None:
        """Where something was delivered, the outbox is there. Raises LedgerFull."""
        job, rule = ended.job, self.settings.rule(ended.job.rule)
        delivered = job.stage is Stage.DELIVER and not job.for_review and isinstance(ended.outcome, Finished)
        if delivered and rule is not None and rule.outbox not in seen(self.ledger):
            see(self.ledger, patience.ask({rule.outbox: partial(filesystem, rule.outbox)}))

    def _admit(self, seen: Look) -> None:
        if not seen.offline:
            see(self.ledger, {Path(os.fsdecode(seen.inbox)): seen.disk})
        settled = self.inboxes.receive(seen, time.monotonic())
        if not settled:
            return
        root, now = len(seen.inbox) + 1, time.time()
        for start in range(0, len(settled), _AT_ONCE):
            part = settled[start : start + _AT_ONCE]
            admitted = jobs.admit(self.ledger, [(arrival, arrival.path[root:]) for arrival in part], now)
            self.inboxes.taken_in(part)
            for job in admitted:
                about(job).info("arrived: {}", shown(job))
            self._pulse.stamp("writing down")
        self._next_plan = 0.0

    def _answer_requests(self) -> None:
        for request in requests.unanswered(self.ledger):
            now = time.time()
            try:
                ok, text = True, answers.answer(answers.Asked(self, request, now))
            except LedgerFull:
                raise
            except StemdError as refusal:
                ok, text = False, f"{refusal.message}; {refusal.hint}"
            except Exception as mistake:  # noqa: BLE001 - whoever asks gets an answer, and the daemon goes on
                logger.exception("{} asked to {}", request.who, request.verb)
                ok, text = False, f"unexpected {type(mistake).__name__}: {mistake}; see the daemon's log"
            requests.answer(self.ledger, request, ok=ok, text=text, now=now)
            logger.info("{} asked to {}: {}", request.who, request.verb, text)
            self._pulse.stamp("answering requests")
            self._next_plan = self._next_live = 0.0

    def _start_work(self) -> None:
        now = time.monotonic()
        if now < self._next_plan:
            return
        self.runner.warn()
        for start in self.planning.plan(self.runner.running, time.time(), self.paused):
            written = self.settings.rule(start.rule)
            if written is not None:
                text = f"{start.stage} started" + (f" on {start.rung}" if start.rung else "")
                job = jobs.claim(self.ledger, jobs.get(self.ledger, start.job), time.time(), text)
                rule = effective(written, job.preset, job.model)
                limit = self.planning.dispatch.limit(job, rule, start.rung)
                self.runner.start(job, rule, start, limit, beside(rule, self.settings.rules))
        for number in self.planning.outstayed(self.runner.running):
            self.runner.stop(number)
        idle = not self.runner.running and not self.planning.waits
        self._next_plan = now + self._until_next_plan(idle=idle)

    def _until_next_plan(self, *, idle: bool) -> float:
        """Seconds until the machine is measured again, if nothing happens that calls for a plan at once."""
        if self.runner.running:
            return _TICK
        if idle:
            return _REST
        return _CLOSED if self.planning.gate and self.planning.gate.closed else _TICK

    def _tell(self) -> None:
        """Leave the present state for `stemd status`, and tell systemd."""
        now = time.monotonic()
        if now < self._next_live:
            return
        self._next_live = now + (_TICK if self.runner.running else 5 * _TICK)
        with contextlib.suppress(OSError):  # a full disk: the next second is as good
            live.write(self.state, self._facts())
        notify.status(self._line())

    def _facts(self) -> dict[str, Any]:
        planning = self.planning
        return {
            "pid": os.getpid(), "version": __version__, "at": time.time(), "config": str(self.settings.path),
            "paused": self.paused, "closed": planning.gate.closed if planning.gate else "",
            "inboxes": summary(self.inboxes.all), "running": describe.running(self.runner.running.values()),
            "hooks": self.hooks.live(), "waits": {str(job): reason for job, reason in planning.waits.items()},
            "full": {os.fspath(folder): lack for folder, lack in planning.full.items()},
            "headroom": describe.headroom(planning.headroom),
            "cpu_only": bool(planning.headroom and not planning.headroom.gpus),
        }  # fmt: skip

    def _line(self) -> str:
        closed = self.planning.gate.closed if self.planning.gate else ""
        still = self._pulse.still(self._heartbeat.limit)
        return "; ".join(part for part in (describe.counts(self.ledger), closed, str(still or "")) if part)

    def _nothing_left(self) -> bool:
        """Whether all inboxes are quiet and no job waits that could still go on by itself."""
        if self.runner.running or self.hooks.left() or self._unsettled or not self.inboxes.quiet():
            return False
        counts = jobs.counts(self.ledger)
        return counts[Status.WAITING] == self._stuck()

    def _stuck(self) -> int:
        """How many jobs wait and cannot go on by themselves."""
        return sum(self._stays(job) for job in jobs.select(self.ledger, statuses=(Status.WAITING,)))

    def _stays(self, job: Job) -> bool:
        """Whether a job, or its twin, waits for a person, for its rule, or after several tries for its surroundings."""
        if job.status is not Status.WAITING:
            return job.status is Status.HELD
        if job.twin is not None and not job.failing and self._stays(jobs.get(self.ledger, job.twin)):
            return True
        return self.settings.rule(job.rule) is None or (bool(job.code) and self.runner.patience_lost(job.id))

    def _swap_settings(self) -> None:
        """Take a valid new configuration in; keep the old one otherwise."""
        self._reload_wanted = False
        if self._reload is None:
            return
        notify.reloading()
        try:
            settings = self._reload()
            self._accept(settings)
        except StemdError as fault:
            logger.error("the new configuration is not used: {} - {}", fault.message, fault.hint)
        else:
            if settings.daemon.models != self.settings.daemon.models:
                self.pool.use_models(str(settings.daemon.models or ""))
            self.settings = settings
            self._follow_inboxes()
            self.planning.reload(settings)
            self._next_plan = 0.0
            logger.info("the new configuration is in force")
        notify.ready(self._line())

    def _accept(self, settings: Settings) -> None:
        if settings.daemon.state_dir != self.state:
            raise StemdError("restart", "another state_dir needs a restart", "run: systemctl restart stemd")
        prepare(settings, self.ledger)
        remember_own(self.ledger, settings)

    def _follow_inboxes(self) -> None:
        self.inboxes.rescan = self.settings.daemon.rescan
        self.inboxes.once_own = own_ever(self.ledger)
        self.inboxes.follow(self.settings.rules, lambda rule: arrivals.known(self.ledger, rule))

    def _shut_down(self) -> None:
        """Have running stages end; what does not end in time is found RUNNING and recovered by the next start."""
        notify.stopping("stopping: running stages end, nothing half-done stays visible")
        logger.info("stopping")
        self.runner.stop_all()
        self.hooks.stop_all()
        for item in self._unsettled:
            self._write_down(item)
        deadline = time.monotonic() + _PATIENCE
        while (self.runner.running or self.hooks.running) and (left := deadline - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty):
                self._write_down(self._mail.get(timeout=left))
        with contextlib.suppress(OSError):
            live.write(self.state, {})

    def _write_down(self, item: Ended | Called | Look | str | None) -> None:
        """Take in how something ended, and nothing else: the daemon stops."""
        if isinstance(item, Ended):
            self.endings.write_down(item)
        elif isinstance(item, Called):
            self.hooks.write_down(item)
