"""The workers of one daemon: an engine for each device, and the quality check. Starts each when it is first needed."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

from stemd.children.cards import Cards
from stemd.children.failures import MODEL_CHANGED
from stemd.children.worker import Worker
from stemd.errors import EnvironmentFault
from stemd.pulse import Pulse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from stemd.model import ModelCard


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

    def __init__(self, state: Path, models: str = "", pulse: Pulse | None = None) -> None:
        """state: where what is known of models is kept. models: a folder of local models, or "". pulse: see Worker."""
        self._state = state
        self._pulse = pulse or Pulse()
        self._engines: dict[str, Worker] = {}
        self._quality = Worker("stemd.quality", "quality check", self._pulse)
        self.use_models(models)

    def use_models(self, models: str) -> None:
        """Look for local models in a folder from now on; "" for none."""
        self._models = models
        self._cards = Cards(self._state / "models", models, self._ask_for_card)

    @property
    def processes(self) -> dict[str, int]:
        """Process ids of the engines by device, and of the quality checker as "quality"."""
        workers = {**self._engines, "quality": self._quality}
        return {name: pid for name, worker in workers.items() if (pid := worker.pid) is not None}

    def describe(self, model: str) -> ModelCard:
        """Tell what a model needs and gives: as remembered, or from the engine."""
        return self._cards.describe(model)

    def card(self, model: str) -> ModelCard | None:
        """Tell what is known of a model without asking anybody."""
        return self._cards.known(model)

    def check(self, model: str) -> None:
        """Make sure that a model is known or on this machine. Raises EnvironmentFault "model-missing" and its like."""
        if self.card(model) is None:
            self._ask_idle({"do": "find", "model": model, "models": self._models})

    def separate(self, request: Mapping[str, Any], work: Limited) -> dict[str, Any]:
        """Have the engine of `request["device"]` separate; a model that has changed is described anew from then on."""
        worker = self._engines.setdefault(str(request["device"]), self._engine())
        try:
            return _followed(worker, {"do": "separate", "models": self._models, **request}, work)
        except EnvironmentFault as fault:
            if fault.code == MODEL_CHANGED:
                self._cards.forget(str(request["model"]))
            raise

    def measure(self, request: Mapping[str, Any], work: Limited) -> dict[str, Any]:
        """Have the stems measured."""
        return _followed(self._quality, {"do": "measure", **request}, work)

    def unload(self, device: str) -> None:
        """End one engine, or the "quality" checker, unless it is at work, and give its memory back."""
        worker = self._quality if device == "quality" else self._engines.get(device)
        if worker is not None:
            worker.unload()

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

    def _ask_for_card(self, model: str) -> dict[str, Any]:
        return self._ask_idle({"do": "describe", "model": model, "models": self._models})

    def _ask_idle(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Ask an engine that has nothing to do; where all are at work, one for this question only."""
        idle = next((worker for worker in [*self._engines.values()] if not worker.busy), None)
        worker = idle or self._engine()
        if not self._engines:
            worker = self._engines.setdefault("cpu", worker)
        try:
            return worker.ask(question, stop=threading.Event())
        finally:
            if worker not in self._engines.values():
                worker.kill()

    def _engine(self) -> Worker:
        return Worker("stemd.engine", "engine", self._pulse)


def _followed(worker: Worker, question: Mapping[str, Any], work: Limited) -> dict[str, Any]:
    def tell(message: dict[str, Any]) -> None:
        work.progress(float(message.get("progress", 0.0)), message)

    return worker.ask(question, stop=work.stop, limit=work.limit, on_progress=tell)
