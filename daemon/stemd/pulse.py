"""When each part of the daemon last moved, so that one that stands still is found. Only keeps stamps; tells nobody."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


class Still(NamedTuple):
    """The part that has stood still the longest. seconds: since its last stamp."""

    part: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.part} has stood still for {self.seconds:.0f} s"


class Pulse:
    """The stamps of all parts. Its methods may be called from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: gives seconds, for tests."""
        self._clock = clock
        self._stamps: dict[str, float] = {}
        self._guard = threading.Lock()

    def stamp(self, *parts: str) -> None:
        """These have got round, or one step further in long work. A part is waited for from its first stamp on."""
        with self._guard:
            self._stamps.update(dict.fromkeys(parts, self._clock()))

    def leave(self, part: str) -> None:
        """The part has ended its work; no stamp of it is waited for any more."""
        with self._guard:
            self._stamps.pop(part, None)

    def still(self, limit: float) -> Still | None:
        """Tell which part has not moved for more than `limit` seconds; None while all move.

        Where parts take turns in one thread, the one that holds up the others has the oldest stamp.
        """
        with self._guard:
            oldest = min(self._stamps.items(), key=lambda stamped: stamped[1], default=None)
        if oldest is None or (seconds := self._clock() - oldest[1]) <= limit:
            return None
        return Still(oldest[0], seconds)
