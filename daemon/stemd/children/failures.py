"""What the end of a question means: a child's `failed`, or its death, as the error that says what it costs."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any, Final

from stemd.errors import EnvironmentFault, OutOfMemory, StemdError, Stopping, WorkerFault
from stemd.model import MODEL_CODES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stemd.tools import Child

MODEL_CHANGED: Final = "model-changed"
"""The engine has another model under that name than the one whose digest it was told."""
_SURROUNDINGS: Final = MODEL_CODES | {MODEL_CHANGED, "no-gpu", "disk-full"}
_WORKER: Final = frozenset({"internal", "cuda-error", "not-a-number"})


def failure(failed: Mapping[str, Any]) -> Exception:
    """What a child's `failed` means for the daemon."""
    code, message, hint = (str(failed.get(name, "")) for name in ("code", "message", "hint"))
    if code == "cancelled":
        return Stopping(message)
    if code == "out-of-memory":
        return OutOfMemory(code, message, hint)
    if code in _SURROUNDINGS:
        return EnvironmentFault(code, message, hint)
    if code in _WORKER:
        return WorkerFault(code, message, hint)
    return StemdError(code, message, hint)


def death(name: str, child: Child) -> WorkerFault:
    """Why a child is gone. SIGKILL that we did not send is the kernel's way to say that memory ran out."""
    status = child.returncode
    if status == -signal.SIGKILL:
        return OutOfMemory("killed", f"the {name} was killed, as the kernel does when memory runs out", "less is tried")
    how = f"by {signal.Signals(-status).name}" if status is not None and status < 0 else f"with exit status {status}"
    words = [line for line in child.stderr_tail.splitlines() if line.strip()][-1:]
    detail = f": {words[0]}" if words else ""
    return WorkerFault("child-died", f"the {name} ended {how}{detail}", "it is started again")


def as_worker_fault(fault: StemdError) -> WorkerFault:
    """Say of what went wrong between daemon and child that it costs one attempt."""
    return fault if isinstance(fault, WorkerFault) else WorkerFault(fault.code, fault.message, fault.hint)
