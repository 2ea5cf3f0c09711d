"""Asks what a hanging share never answers: a call to a dead NFS mount may last for ever, and holds its thread."""

from __future__ import annotations

import threading
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HANGS: Final = 2.0
"""Seconds without an answer after which a share is taken to hang."""
STILL: Final = 60.0
"""Seconds without a step forward after which work on a share, slow as it may be, is taken to hang as well."""

Key = TypeVar("Key")
Answer = TypeVar("Answer")


def put(question: Callable[[], Answer]) -> Future[Answer]:
    """Put a question in a thread of its own, which ends with the program if it never gets an answer."""
    answer: Future[Answer] = Future()

    def run() -> None:
        try:
            answer.set_result(question())
        except BaseException as error:  # noqa: BLE001 - whoever takes the answer gets it
            answer.set_exception(error)

    threading.Thread(target=run, name="question", daemon=True).start()
    return answer


def ask(questions: Mapping[Key, Callable[[], Answer]], seconds: float = HANGS) -> dict[Key, Answer]:
    """Put questions all at once; returns the answers that came within `seconds`. Raises what a question raises."""
    answers = {key: put(question) for key, question in questions.items()}
    wait(answers.values(), seconds)
    return {key: answer.result() for key, answer in answers.items() if answer.done()}
