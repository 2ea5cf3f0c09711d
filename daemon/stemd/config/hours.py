"""Hours and days in which work may start, as [schedule] names them. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_MINUTES = 24 * 60
_ENTRY = re.compile(
    r"(?:(?P<day>[a-z]+)(?:\s*-\s*(?P<last>[a-z]+))?)?\s*(?:(?P<start>\d{1,2}:\d{2})\s*-\s*(?P<end>\d{1,2}:\d{2}))?",
    re.IGNORECASE,
)
EXAMPLES = 'write "22:00-07:00", "sat", "mon-fri 22:00-07:00" or "sat 08:00-20:00"'


@dataclass(frozen=True, slots=True)
class Hours:
    """Minutes of the day from `start` up to `end` on some days (0 is Monday); past midnight where end <= start.

    A span past midnight belongs to the day on which it begins: "fri 22:00-07:00" ends on Saturday morning.
    """

    days: frozenset[int]
    start: int = 0
    end: int = _DAY_MINUTES

    def __contains__(self, moment: datetime) -> bool:
        minute = moment.hour * 60 + moment.minute
        day = moment.weekday()
        if self.start < self.end:
            return day in self.days and self.start <= minute < self.end
        if minute >= self.start:
            return day in self.days
        return minute < self.end and (day - 1) % 7 in self.days


def parse(text: str) -> Hours:
    """Read "22:00-07:00", "sat", "mon-fri" or "sat 08:00-20:00"; ValueError says what is wrong."""
    found = _ENTRY.fullmatch(text.strip())
    if not text.strip() or found is None:
        message = "neither hours nor a day"
        raise ValueError(message)
    days = _days(found["day"], found["last"])
    if found["start"] is None:
        return Hours(days)
    start, end = _minute(found["start"]), _minute(found["end"])
    if start == end:
        message = "it begins when it ends"
        raise ValueError(message)
    return Hours(days, start, end)


def _days(first: str | None, last: str | None) -> frozenset[int]:
    if first is None:
        return frozenset(range(7))
    begin = _day(first)
    count = (_day(last) - begin) % 7 if last else 0
    return frozenset((begin + step) % 7 for step in range(count + 1))


def _day(name: str) -> int:
    """Accept the short and the full English name."""
    short = name.lower()[:3]
    full = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
    if name.lower() not in DAYS and name.lower() not in full:
        message = f"{name!r} is no day"
        raise ValueError(message)
    return DAYS.index(short)


def _minute(clock: str) -> int:
    """24:00 is the end of the day."""
    hour, minute = (int(part) for part in clock.split(":"))
    if minute > 59 or hour * 60 + minute > _DAY_MINUTES:  # noqa: PLR2004 - the clock's own numbers
        message = f"{clock!r} is no time of day"
        raise ValueError(message)
    return hour * 60 + minute
