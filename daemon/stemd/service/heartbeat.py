"""Tells systemd that the daemon lives: only while every part of it moves. A part that stands still is named instead."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from loguru import logger

from stemd import notify

if TYPE_CHECKING:
    from stemd.pulse import Pulse

_UNWATCHED: Final = 60.0
"""Seconds taken for the watchdog's where systemd wants no sign of life: what stands still is told all the same."""


class Heartbeat:
    """A thread that looks at the stamps and does nothing else, so that it goes on when another one is blocked."""

    def __init__(self, pulse: Pulse) -> None:
        self.limit = (notify.watchdog_seconds() or _UNWATCHED) / 2
        self._pulse = pulse
        self._told = ""
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Send nothing more."""
        self._end.set()

    def beat(self) -> None:
        """Send one sign of life, or say in the log and in systemd's status who keeps it from being sent."""
        still = self._pulse.still(self.limit)
        if still is None:
            if self._told:
                logger.warning("{} moves again", self._told)
            self._told = ""
            notify.watchdog()
            return
        notify.status(str(still))
        if still.part != self._told:
            self._told = still.part
            watched = notify.watchdog_seconds() is not None
            after = "unless it moves soon, systemd starts the daemon again" if watched else "restart the daemon"
            logger.error("{}; {}", still, after)

    def _run(self) -> None:
        while not self._end.wait(self.limit / 4):
            self.beat()
