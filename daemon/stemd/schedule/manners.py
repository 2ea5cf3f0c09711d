"""Giving way: when other programs use processor or card beyond the limits, and when they no longer do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stemd.model import Headroom

BUSY_FOR: Final = 10.0
"""Seconds above the limit before stemd gives way: opening a program is not using the machine."""
CALM_FOR: Final = 60.0
"""Seconds of calm before it resumes: a pause in playing is not the end of the session."""
CALM: Final = 0.7
"""Calm is less than this part of the limit: a load at the limit does not make stemd flutter."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Whether stemd gives way, and since when (Unix time) the load has spoken for the contrary; None: it does not."""

    gives_way: bool = False
    since: float | None = None


@dataclass(frozen=True, slots=True)
class Manners:
    """Of the processors and of each graphics card by its device name."""

    cpu: Turn = field(default_factory=Turn)
    gpus: Mapping[str, Turn] = field(default_factory=dict)


def yielding(before: Manners, headroom: Headroom, cpu_limit: float, gpu_limit: float, now: float) -> Manners:
    """Go one step. limits: percent, 0 for never giving way. now: seconds, of any clock that does not jump."""
    return Manners(
        turn(before.cpu, headroom.cpu_percent, cpu_limit, now),
        {
            gpu.device: turn(before.gpus.get(gpu.device, Turn()), gpu.busy_percent, gpu_limit, now)
            for gpu in headroom.gpus
        },
    )


def turn(before: Turn, load: float, limit: float, now: float) -> Turn:
    """Go one step for one resource."""
    if limit <= 0:
        return Turn()
    contrary = load < CALM * limit if before.gives_way else load > limit
    if not contrary:
        return Turn(before.gives_way)
    since = now if before.since is None else before.since
    if now - since >= (CALM_FOR if before.gives_way else BUSY_FOR):
        return Turn(not before.gives_way)
    return Turn(before.gives_way, since)
