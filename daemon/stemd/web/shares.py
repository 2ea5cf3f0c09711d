"""Asks of files that may lie on a hanging share, so that no page waits for it and its unanswered questions stay few."""

from __future__ import annotations

import threading
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any, Final, TypeVar

from stemd import patience
from stemd.errors import StemdError
from stemd.files.names import readable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Answer = TypeVar("Answer")
_PATIENCE: Final = 5.0  # seconds


class Shares:
    """The folders that owe an answer. May be used by several threads."""

    def __init__(self) -> None:
        self._owed: dict[Path, Future[Any]] = {}
        self._guard = threading.Lock()

    def ask(self, folder: Path, question: Callable[[], Answer]) -> Answer:
        """Put a question about what lies in a folder; not to one that still owes the answer to an earlier one.

        Raises StemdError "share-hangs" without an answer within five seconds, in which a sleeping disk wakes, and what
        the question raises.
        """
        with self._guard:
            owed = self._owed.get(folder)
        if owed is not None and not owed.done():
            raise _hangs(folder)
        answer = patience.put(question)
        wait([answer], _PATIENCE)
        if not answer.done():
            with self._guard:
                self._owed[folder] = answer
            raise _hangs(folder)
        return answer.result()


def _hangs(folder: Path) -> StemdError:
    return StemdError(
        "share-hangs", f"{readable(str(folder))} does not answer: its share hangs", "look again once it answers"
    )
