"""Tells a program that its surroundings forbade to work from one that failed by itself. Starts nothing."""

from __future__ import annotations

import signal

from stemd.errors import EnvironmentFault

_NOT_STARTED = "setpriv: failed to execute"
_HINT = (
    "loosen the sandbox (systemctl edit stemd: SystemCallFilter=, NoExecPaths=) or the security module's rules "
    "(journalctl -k tells which); jobs then resume"
)


def forbidden(program: str, status: int, words: str) -> EnvironmentFault | None:
    """Say by which rule of the sandbox a program ended, None if by none: then what it says is about its input.

    status: exit status, or minus the signal. words: of its error output. setpriv(1) starts programs for
    `spawn(dies_with_thread=True)` and reports in its own name what the kernel would not execute.
    """
    if status == -signal.SIGSYS:
        return EnvironmentFault("tool-forbidden", f"{program} was killed for a system call that is forbidden", _HINT)
    if _NOT_STARTED in words:
        why = words[words.index(_NOT_STARTED) :].splitlines()[0].rpartition(": ")[2]
        return EnvironmentFault("tool-forbidden", f"{program} cannot be executed: {why}", _HINT)
    return None
