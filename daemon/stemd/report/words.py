"""Moments, durations and sizes as a report says them. Pure."""

from __future__ import annotations

import time
from typing import Final

_MINUTE: Final = 60
_PREFIXES: Final = ("kB", "MB", "GB", "TB")


def moment(at: float) -> str:
    """Show a moment in the local time zone: Sat 21 Nov 22:05."""
    return time.strftime("%a %-d %b %H:%M", time.localtime(at))


def length(seconds: float) -> str:
    """Show a duration: 42 s, 12 min, 3 h 07 min."""
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / _MINUTE), 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min"


def size(count: float) -> str:
    """Show bytes in decimal units, as disks are sold: 3.2 GB."""
    shown, unit = float(count), "bytes"
    for prefix in _PREFIXES:
        if shown < 1000:  # noqa: PLR2004
            break
        shown, unit = shown / 1000, prefix
    return f"{shown:.0f} {unit}" if unit == "bytes" or shown >= 100 else f"{shown:.1f} {unit}"  # noqa: PLR2004


def many(count: int, one: str, more: str = "") -> str:
    """Count things: 1 recording, 3 recordings."""
    return f"{count} {one if count == 1 else more or one + 's'}"
