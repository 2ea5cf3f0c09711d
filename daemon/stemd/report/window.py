"""Reads since when a report is wanted. Pure, but for the local time zone."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

from stemd.errors import StemdError

_SPAN: Final = re.compile(r"(\d{1,5})\s*(min|h|d|w)")
_UNITS: Final = {"min": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def beginning(words: str, now: float) -> float:
    """Tell the moment that `yesterday`, `today`, `12h`, `7d` or an ISO time names. now, result: Unix time.

    Times without a zone are local. Raises StemdError "usage" for what is no such moment, or lies ahead.
    """
    said, present = words.strip(), datetime.fromtimestamp(now).astimezone()
    moment = _named(said.lower(), present) or _written(said)
    if moment is None:
        raise StemdError(
            "usage", f"{words!r} is no moment", 'write "yesterday", "today", "12h", "7d" or "2026-11-21T22:00"'
        )
    if moment > present:
        raise StemdError("usage", f"{words!r} has not come yet", "name a moment in the past")
    return moment.timestamp()


def _named(word: str, present: datetime) -> datetime | None:
    midnight = present.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    if word in {"today", "yesterday"}:
        day = midnight if word == "today" else midnight - timedelta(days=1)
        return day.astimezone()
    found = _SPAN.fullmatch(word)
    return present - int(found[1]) * _UNITS[found[2]] if found else None


def _written(words: str) -> datetime | None:
    try:
        return datetime.fromisoformat(words).astimezone()
    except (ValueError, OverflowError):
        return None
