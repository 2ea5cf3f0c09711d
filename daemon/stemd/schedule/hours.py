"""Whether a moment lies in the configured hours, and when that changes.

The clock on the wall decides: when it is put forward, hours that are skipped do not happen; when it is put back,
they happen twice.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import TYPE_CHECKING

from stemd.config.hours import Hours, parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_AHEAD = 9
"""Days: within a week and a day everything that repeats weekly has changed, if it ever does."""


def active(schedule: Sequence[str], now: float, zone: tzinfo | None = None) -> bool:
    """Tell whether work may start. schedule: as in config.toml, empty: always. now: Unix time. zone: None is local."""
    return not schedule or _inside(_windows(tuple(schedule)), now, zone)


def next_change(schedule: Sequence[str], now: float, zone: tzinfo | None = None) -> float | None:
    """Tell when `active` will next be different (Unix time); None if never."""
    if not schedule:
        return None
    windows = _windows(tuple(schedule))
    present = _inside(windows, now, zone)
    later = sorted({moment for moment in _moments(windows, now, zone) if moment > now})
    return next((moment for moment in later if _inside(windows, moment, zone) != present), None)


@lru_cache(maxsize=8)
def _windows(schedule: tuple[str, ...]) -> tuple[Hours, ...]:
    return tuple(parse(text) for text in schedule)


def _inside(windows: Sequence[Hours], now: float, zone: tzinfo | None) -> bool:
    moment = datetime.fromtimestamp(now, zone)
    return any(moment in hours for hours in windows)


def _moments(windows: Sequence[Hours], now: float, zone: tzinfo | None) -> Iterator[float]:
    """Yield every moment at which something may change: borders of windows, midnights, and changes of the clock."""
    today = datetime.fromtimestamp(now, zone).date()
    minutes = {0} | {minute for hours in windows for minute in (hours.start, hours.end)}
    for day in (today + timedelta(days) for days in range(-1, _AHEAD)):
        change = _clock_change(day, zone)
        if change is not None:
            yield change
        for minute in minutes:
            wall = datetime(day.year, day.month, day.day, tzinfo=zone) + timedelta(minutes=minute)
            # An hour that comes twice has two beginnings.
            yield from (wall.replace(fold=0).timestamp(), wall.replace(fold=1).timestamp())


def _clock_change(day: date, zone: tzinfo | None) -> float | None:
    """Find the moment on `day` when the clock is put forward or back, to the second."""
    start = datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()
    end = (datetime(day.year, day.month, day.day, tzinfo=zone) + timedelta(days=1)).timestamp()
    before = _offset(start, zone)
    if _offset(end, zone) == before:
        return None
    while end - start > 1:
        middle = (start + end) // 2
        start, end = (middle, end) if _offset(middle, zone) == before else (start, middle)
    return end


def _offset(moment: float, zone: tzinfo | None) -> timedelta | None:
    local = datetime.fromtimestamp(moment, zone)
    return (local if zone else local.astimezone()).utcoffset()
