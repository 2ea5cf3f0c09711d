"""When work may start: hours and days, and giving way to people and other programs. Pure."""

from stemd.schedule.gate import gate
from stemd.schedule.hours import active, next_change
from stemd.schedule.manners import Manners, Turn, yielding

__all__ = ["Manners", "Turn", "active", "gate", "next_change", "yielding"]
