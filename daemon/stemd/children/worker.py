"""One worker process: started when first asked, followed while it works, replaced after every fault."""

from __future__ import annotations

import math
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from stemd.children.failures import as_worker_fault, death, failure
from stemd.errors import StemdError, Stopping, WorkerFault
from stemd.pulse import Pulse
from stemd.tools import Child, start

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_GRACE: Final = 3.0  # seconds from "cancel" to the end of the process
_LISTEN: Final = 0.2  # seconds between looks at `stop`
_NICE: Final = 10  # a person at the machine comes first
_STALL: Final = 300.0  # seconds; loading a model and one segment on a slow processor take less


class Worker:
    """One process that answers one question at a time, started when it is first asked and again when it has died."""

    def __init__(self, module: str, name: str, pulse: Pulse | None = None) -> None:
        """module: run as `python -m module`. name: for people. pulse: stamped by who waits for the process."""
        self._argv: Sequence[str] = (sys.executable, "-P", "-m", module)  # -P: no stray json.py of the working folder
        self._name = name
        self._pulse = pulse or Pulse()
        self._part = ""
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
                    raise as_worker_fault(fault) from fault
                raise
            finally:
                self._pulse.leave(self._part)
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
            self._part = f"waiting for the {self._name} (process {self._child.pid})"
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
            self._pulse.stamp(self._part)
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
                    raise failure(message["failed"])
                on_progress(message)
            elif not child.alive:
                raise death(self._name, child)
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
