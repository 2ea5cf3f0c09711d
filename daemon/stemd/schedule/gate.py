"""Everything from outside that keeps work from starting, in one value for the planner, with words for people."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING

from stemd.planner import Gate
from stemd.schedule.hours import active, next_change

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stemd.schedule.manners import Manners


def gate(
    schedule: Sequence[str], manners: Manners, now: float, *, paused: bool = False, zone: tzinfo | None = None
) -> Gate:
    """Tell what may start at `now` (Unix time). A pause stops everything; hours and manners let begun jobs finish."""
    yielded = frozenset(device for device, turn in manners.gpus.items() if turn.gives_way)
    if paused:
        return Gate("paused", finish=False, yielded=yielded)
    if not active(schedule, now, zone):
        return Gate(_until(next_change(schedule, now, zone), now, zone), yielded=yielded)
    if manners.cpu.gives_way:
        return Gate("gives way: other programs use the processor", yielded=yielded)
    return Gate(yielded=yielded)


def _until(change: float | None, now: float, zone: tzinfo | None) -> str:
    if change is None:
        return "outside hours"
    moment = datetime.fromtimestamp(change, zone)
    soon = moment - datetime.fromtimestamp(now, zone) < timedelta(days=1)
    return f"outside hours, next {moment:%H:%M}" if soon else f"outside hours, next {moment:%a %H:%M}".lower()
