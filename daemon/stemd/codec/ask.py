"""The daemon's side of `stemd.codec`: puts one question to one process. Decides nothing."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any, Final

from stemd.errors import EnvironmentFault, StemdError, WorkerFault
from stemd.tools import Limits, run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from threading import Event

FAULTS: Final[dict[str, type[StemdError]]] = {"environment": EnvironmentFault, "worker": WorkerFault}
"""What both sides call the kinds of faults. Any other kind is a fault of the file."""

_LIMITS: Final = Limits(memory=4 * 1024**3)
_STALL: Final = 180.0  # seconds without a word, which come every few seconds of work


def ask(
    question: Mapping[str, Any], *, timeout: float, stop: Event, progress: Callable[[float], None]
) -> dict[str, Any]:
    """Have `stemd.codec` answer a question; returns what it says under "done".

    question: as `decode` or `encode` wants it, with "name", what the user calls the recording.
    timeout: seconds. progress: told the fraction done, 0 to 1.
    Raises what the child reports as StemdError or EnvironmentFault; WorkerFault("codec-died", "timeout"), Stopping.
    """
    last: dict[str, Any] = {}

    def hear(line: str) -> None:
        message = json.loads(line)
        if "progress" in message:
            progress(float(message["progress"]))
        else:
            last.update(message)

    argv = (sys.executable, "-P", "-m", "stemd.codec", json.dumps(question))  # -P: nothing from the present folder
    env = dict(os.environ) | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    try:
        ended = run(argv, timeout=timeout, stop=stop, on_line=hear, env=env, limits=_LIMITS, stall=_STALL, nice=5)
    except WorkerFault as fault:
        if fault.code != "timeout":
            raise
        what = f"to {question['do']} {question['name']} took too long"
        raise WorkerFault("timeout", what, fault.hint) from fault
    if "done" in last:
        return dict(last["done"])
    if "failed" in last:
        told = last["failed"]
        raise FAULTS.get(told["kind"], StemdError)(told["code"], told["message"], told["hint"])
    raise WorkerFault(
        "codec-died",
        f"the process that works on the sound ended with status {ended.returncode}: {ended.last_words}",
        "it is tried again; if it keeps failing, report the file",
    )
