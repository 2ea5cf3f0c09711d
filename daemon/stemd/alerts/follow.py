"""Looks again and again, and sends what is to be told; what cannot be sent is tried again, ever more rarely."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from loguru import logger

from stemd.alerts.letter import Letter
from stemd.alerts.look import look
from stemd.alerts.memory import Memory, channels
from stemd.alerts.send import send
from stemd.errors import StemdError
from stemd.files import read_fact, write_fact

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from stemd.config import Notify, Settings

FILE: Final = "alerts.json"
_LOOK: Final = 10.0  # seconds between two looks
_AGAIN: Final = 30.0  # seconds until a letter is sent again, doubled each time
_MOST: Final = 3600.0
_DOUBLINGS: Final = 10  # of _AGAIN, more than lead to _MOST
_PASSING: Final = frozenset({"no-ledger", "ledger-older", "ledger-full"})
"""It passes: the daemon starts, the disk has room again, or the program that holds the ledger is done."""


class Alerts:
    """The one who tells. Made, run once, and thrown away."""

    def __init__(self, settings: Settings) -> None:
        self._notify = settings.notify
        self._state = settings.daemon.state_dir
        self.memory = Memory()
        with contextlib.suppress(StemdError):  # the first time, or an unreadable file: nothing old is told
            self.memory = read_fact(self._state / FILE, Memory)

    def run(self) -> None:
        """Look and send for ever. Raises StemdError "another-alerts"."""
        with _alone(self._state):
            logger.info("tells of {} by {}", ", ".join(self._notify.events), " and ".join(channels(self._notify)))
            while True:
                self.round(time.time())
                time.sleep(_LOOK)

    def round(self, now: float) -> None:
        """Look once, and send what is due. now: Unix time."""
        before = deepcopy(self.memory)
        try:
            self.memory.take_in(look(self._state, self.memory.step, self.memory.at), now)
        except StemdError as fault:
            if fault.code not in _PASSING:
                raise
            return
        self.memory.write(self._notify, now)
        if self.memory != before:
            self._keep()
        self._send(now)

    def _send(self, now: float) -> None:
        """Send the letters that are due, and keep those that could not be sent."""
        for letter in [letter for letter in self.memory.letters if _is_due(letter, now)]:
            fault = self._try(letter)
            rest = (_again(letter, fault, now),) if fault else ()
            self.memory.letters = (*(each for each in self.memory.letters if each is not letter), *rest)
            self._keep()

    def _try(self, letter: Letter) -> StemdError | None:
        try:
            send(letter, self._notify)
        except StemdError as fault:
            return fault
        logger.info("told by {}: {}", letter.channel, letter.text)
        return None

    def _keep(self) -> None:
        """Remember over restarts; on a full disk only until then."""
        with contextlib.suppress(StemdError):
            write_fact(self._state / FILE, self.memory)


@contextlib.contextmanager
def _alone(state: Path) -> Iterator[None]:
    """See to it that nobody else tells the same."""
    try:
        file = os.open(state / "alerts.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as fault:
        raise StemdError(
            "no-state", f"the state folder {state} cannot be used: {fault.strerror}", "start the daemon once: stemd run"
        ) from fault
    with os.fdopen(file):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            hint = "let only one do it, the service stemd-alerts or this"
            raise StemdError("another-alerts", f"another process tells what happens in {state}", hint) from None
        yield


def _is_due(letter: Letter, now: float) -> bool:
    """Whether to send a letter now; one that is due later than any can be was put off before the clock was set back."""
    return not now < letter.due <= now + _MOST


def _again(letter: Letter, fault: StemdError, now: float) -> Letter:
    """When a letter is sent again. Its first failure is a warning, the others are more of the same."""
    pause = min(_AGAIN * 2.0 ** min(letter.attempts, _DOUBLINGS), _MOST)
    level = "DEBUG" if letter.attempts else "WARNING"
    logger.bind(code=fault.code).log(
        level, "not told by {}: {}; again in {:.0f} s", letter.channel, fault.message, pause
    )
    return replace(letter, attempts=letter.attempts + 1, due=now + pause)


def try_out(notify: Notify, now: float) -> list[tuple[str, StemdError | None]]:
    """Send a message to every receiver, and tell what became of it."""
    results: list[tuple[str, StemdError | None]] = []
    for channel in channels(notify):
        try:
            send(Letter(channel, "test", "stemd can reach you", now), notify)
        except StemdError as fault:
            results.append((channel, fault))
        else:
            results.append((channel, None))
    return results
