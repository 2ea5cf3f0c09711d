"""The daemon's side of its worker processes: start, ask, follow, cancel, replace. Knows no stage and no job's fate."""

from __future__ import annotations

import json
import math
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from stemd import __version__
from stemd.errors import EnvironmentFault, OutOfMemory, StemdError, Stopping, WorkerFault
from stemd.files import write_json
from stemd.model import ModelCard
from stemd.tools import Child, start

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_GRACE: Final = 3.0  # seconds from "cancel" to the end of the process
_LISTEN: Final = 0.2  # seconds between looks at `stop`
_ASK_AGAIN: Final = 15.0  # seconds for which a model that is missing is not asked for again
_NICE: Final = 10  # a person at the machine comes first
_STALL: Final = 300.0  # seconds; loading a model and one segment on a slow processor take less
_ENVIRONMENT_CODES: Final = frozenset({"model-missing", "model-damaged", "no-network", "no-gpu", "unknown-stem",
                                       "unknown-model", "segment-too-long", "model-refused", "disk-full"})  # fmt: skip


class Worker:
    """One process that answers one question at a time, started when it is first asked and again when it has died."""

    def __init__(self, module: str, name: str) -> None:
        """module: run as `python -m module`. name: for people."""
        self._argv: Sequence[str] = (sys.executable, "-m", module)
        self._name = name
        self._child: Child | None = None
        self._asking = threading.Lock()
        self.idle_since = time.monotonic()

    @property
    def busy(self) -> bool:
        """Whether it is at a question."""
        return self._asking.locked()

    @property
    def pid(self) -> int | None:
        """Of the running process; None if there is none."""
        child = self._child
        return child.pid if child is not None and child.alive else None

    def ask(
        self,
        question: Mapping[str, Any],
        *,
        stop: threading.Event,
        stall: float = _STALL,
        limit: float = math.inf,
        on_progress: Callable[[dict[str, Any]], None] = lambda _: None,
    ) -> dict[str, Any]:
        """Put a question and wait for the answer.

        stall: seconds without a word, limit: seconds in all, after which the process is killed. It is replaced after
        every fault.
        Raises Stopping, EnvironmentFault, OutOfMemory, WorkerFault, StemdError.
        """
        with self._asking:
            try:
                child = self._ready()
                child.send(question)
                return self._follow(child, stop, stall, limit, on_progress)
            except Stopping:
                raise
            except StemdError as fault:
                if isinstance(fault, WorkerFault) or fault.code.startswith("child-"):
                    self._drop(0.0)
                    raise _as_worker_fault(fault) from fault
                raise
            finally:
                self.idle_since = time.monotonic()

    def unload(self) -> None:
        """End the process and give its memory back, unless it is at work."""
        if self._asking.acquire(blocking=False):
            try:
                self._drop(_GRACE)
            finally:
                self._asking.release()

    def kill(self) -> None:
        """End the process whatever it does; whoever waits for it gets a WorkerFault or Stopping."""
        self._drop(0.0)

    def _ready(self) -> Child:
        if self._child is None or not self._child.alive:
            self._drop(0.0)
            self._child = start(self._argv, nice=_NICE)
        return self._child

    def _drop(self, grace: float) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.terminate(grace)

    def _follow(
        self,
        child: Child,
        stop: threading.Event,
        stall: float,
        limit: float,
        on_progress: Callable[[dict[str, Any]], None],
    ) -> dict[str, Any]:
        began = heard = time.monotonic()
        while True:
            if stop.is_set():
                self._cancel(child)
                raise Stopping(self._name)
            message = child.receive(_LISTEN)
            now = time.monotonic()
            if message is not None:
                heard = now
                if "done" in message:
                    return dict(message["done"])
                if "failed" in message:
                    raise _failure(message["failed"])
                on_progress(message)
            elif not child.alive:
                raise _death(self._name, child)
            self._check_patience(now - heard, stall, now - began, limit)

    def _check_patience(self, silence: float, stall: float, spent: float, limit: float) -> None:
        if silence > stall:
            raise WorkerFault(
                "stalled", f"the {self._name} said nothing for {stall:.0f} s and was killed", "it is started again"
            )
        if spent > limit:
            raise WorkerFault(
                "too-slow", f"the {self._name} was not done after {limit:.0f} s and was killed", "it is tried again"
            )

    def _cancel(self, child: Child) -> None:
        """Ask the process to leave its work; one that does not within the grace is ended."""
        deadline = time.monotonic() + _GRACE
        child.send({"do": "cancel"})
        while time.monotonic() < deadline and child.alive:
            message = child.receive(_LISTEN)
            if message is not None and ("failed" in message or "done" in message):
                return
        self._drop(0.0)


class Limited(Protocol):
    """What the daemon's side wants to know of a running request (see `stages.work.Work`)."""

    @property
    def stop(self) -> threading.Event:
        """Set when the request should end."""

    @property
    def progress(self) -> Callable[[float, Mapping[str, Any]], None]:
        """Told the fraction done."""

    @property
    def limit(self) -> float:
        """Seconds that it may take."""


class WorkerPool:
    """The engines, one a device, and the quality checker."""

    def __init__(self, state: Path, models: str = "") -> None:
        """state: where what is known of models is kept. models: a folder of local models, or ""."""
        self._cards = state / "models"
        self._models = models
        self._engines: dict[str, Worker] = {}
        self._quality = Worker("stemd.quality", "quality check")
        self._known: dict[str, ModelCard] = {}
        self._unknown: dict[str, tuple[EnvironmentFault, float]] = {}
        self._guard = threading.Lock()

    @property
    def processes(self) -> dict[str, int]:
        """Process ids of the engines by device, and of the quality checker as "quality"."""
        workers = {**self._engines, "quality": self._quality}
        return {name: pid for name, worker in workers.items() if (pid := worker.pid) is not None}

    def describe(self, model: str) -> ModelCard:
        """Tell what a model needs and gives: from memory, from the state folder, or from the engine."""
        with self._guard:
            if (card := self.card(model)) is not None:
                return card
            fault, at = self._unknown.get(model, (None, -math.inf))
            if fault is not None and time.monotonic() - at < _ASK_AGAIN:
                raise fault
            try:
                return self._asked(model)
            except EnvironmentFault as missing:
                self._unknown[model] = (missing, time.monotonic())
                raise

    def card(self, model: str) -> ModelCard | None:
        """Tell what is known of a model without asking anybody."""
        if model not in self._known and (kept := self._kept(model)) is not None:
            self._known[model] = kept
        return self._known.get(model)

    def separate(self, request: Mapping[str, Any], work: Limited) -> dict[str, Any]:
        """Have the engine of `request["device"]` separate."""
        worker = self._engines.setdefault(str(request["device"]), _engine())
        return _followed(worker, {"do": "separate", "models": self._models, **request}, work)

    def measure(self, request: Mapping[str, Any], work: Limited) -> dict[str, Any]:
        """Have the stems measured."""
        return _followed(self._quality, {"do": "measure", **request}, work)

    def unload(self, device: str) -> None:
        """End one engine, unless it is at work, and give its memory back."""
        if device in self._engines:
            self._engines[device].unload()

    def drop_idle(self, seconds: float) -> None:
        """End the processes that had nothing to do for so long."""
        now = time.monotonic()
        for worker in (*self._engines.values(), self._quality):
            if worker.pid is not None and now - worker.idle_since >= seconds:
                worker.unload()

    def close(self) -> None:
        """End every process."""
        for worker in (*self._engines.values(), self._quality):
            worker.kill()

    def _kept(self, model: str) -> ModelCard | None:
        """The card in the state folder, if it is of this program and of the local models as they are."""
        try:
            kept = json.loads(self._card_file(model).read_text())
            return _card(model, kept["answer"]) if kept["of"] == self._origin() else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _asked(self, model: str) -> ModelCard:
        question = {"do": "describe", "model": model, "models": self._models}
        if all(worker.busy for worker in self._engines.values()):
            worker = _engine() if self._engines else self._engines.setdefault("cpu", _engine())
        else:
            worker = next(worker for worker in self._engines.values() if not worker.busy)
        answer = worker.ask(question, stop=threading.Event())
        if worker not in self._engines.values():
            worker.kill()
        card = _card(model, answer)
        self._cards.mkdir(parents=True, exist_ok=True)
        self._known[model] = card
        write_json(self._card_file(model), {"of": self._origin(), "answer": answer})
        return card

    def _card_file(self, model: str) -> Path:
        return self._cards / f"{model.replace('/', '_').replace(':', '_')}.json"

    def _origin(self) -> list[Any]:
        """What a card depends on: this version of stemd and the state of the folder of local models."""
        try:
            changed = Path(self._models).stat().st_mtime_ns if self._models else 0
        except OSError:
            changed = 0
        return [__version__, self._models, changed]


def _engine() -> Worker:
    return Worker("stemd.engine", "engine")


def _card(model: str, answer: Mapping[str, Any]) -> ModelCard:
    return ModelCard(
        name=model, digest=str(answer["digest"]), sources=tuple(answer["sources"]),
        sample_rate=int(answer["sample_rate"]), channels=int(answer["channels"]), segment=float(answer["segment"]),
        needs={stem: tuple(members) for stem, members in answer["needs"].items()},
        family=str(answer["family"]), parameters=int(answer["parameters"]),
        members=len(answer["members"]),
    )  # fmt: skip


def _followed(worker: Worker, question: Mapping[str, Any], work: Limited) -> dict[str, Any]:
    def tell(message: dict[str, Any]) -> None:
        work.progress(float(message.get("progress", 0.0)), message)

    return worker.ask(question, stop=work.stop, limit=work.limit, on_progress=tell)


def _failure(failed: Mapping[str, Any]) -> Exception:
    """What a child's `failed` means for the daemon."""
    code, message, hint = (str(failed.get(name, "")) for name in ("code", "message", "hint"))
    if code == "cancelled":
        return Stopping(message)
    if code == "out-of-memory":
        return OutOfMemory(code, message, hint)
    if code in _ENVIRONMENT_CODES:
        return EnvironmentFault(code, message, hint)
    if code in {"internal", "cuda-error", "not-a-number"}:
        return WorkerFault(code, message, hint)
    return StemdError(code, message, hint)


def _death(name: str, child: Child) -> WorkerFault:
    """Why a child is gone. SIGKILL that we did not send is the kernel's way to say that memory ran out."""
    status = child.returncode
    if status == -signal.SIGKILL:
        return OutOfMemory("killed", f"the {name} was killed, as the kernel does when memory runs out", "less is tried")
    how = f"by {signal.Signals(-status).name}" if status is not None and status < 0 else f"with exit status {status}"
    words = [line for line in child.stderr_tail.splitlines() if line.strip()][-1:]
    detail = f": {words[0]}" if words else ""
    return WorkerFault("child-died", f"the {name} ended {how}{detail}", "it is started again")


def _as_worker_fault(fault: StemdError) -> WorkerFault:
    return fault if isinstance(fault, WorkerFault) else WorkerFault(fault.code, fault.message, fault.hint)
