"""What an event is about and what it cost, in words around its message. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def around(extra: Mapping[str, Any]) -> tuple[str, str]:
    """Give what stands before a message, `[job 3 karaoke take] `, and after it, ` (2.1 s, cuda:0)`."""
    return _where(extra), _cost(extra)


def _where(extra: Mapping[str, Any]) -> str:
    parts = [f"job {extra['job']}"] if "job" in extra else []
    parts += [str(extra[name]) for name in ("rule", "stage") if name in extra]
    return f"[{' '.join(parts)}] " if parts else ""


def _cost(extra: Mapping[str, Any]) -> str:
    parts = [f"{extra['seconds']} s"] if "seconds" in extra else []
    parts += [str(extra["device"])] if "device" in extra else []
    return f" ({', '.join(parts)})" if parts else ""
