"""A report as one HTML page that needs nothing else: to be opened from a folder, mailed or printed."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from stemd import __version__
from stemd.report.text import headline
from stemd.report.words import length, many, moment, size

if TYPE_CHECKING:
    from stemd.report.facts import Report, Slot

_DAY: Final = 24 * 3600
_TALL: Final = 100.0  # units of the picture's height that the tallest bar takes
_LABELS: Final = 8  # at most so many bars have their time below them
_LISTED: Final = 500
"""So many recordings of a kind are shown."""

_environment = Environment(
    loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
    lstrip_blocks=True,
)  # fmt: skip
_environment.filters |= {"span": length, "moment": moment, "size": size, "many": many}


@dataclass(frozen=True, slots=True)
class Bar:
    """One slot as drawn. Heights in units of the picture; label: "" where there is no room for one."""

    slot: Slot
    done: float
    review: float
    failed: float
    label: str
    title: str


def page(report: Report) -> str:
    """Draw a report as a whole HTML document."""
    template = _environment.get_template("page.html")
    speed = sum(each.audio for each in report.speeds) / (sum(each.work for each in report.speeds) or 1.0)
    return template.render(
        report=report, headline=headline(report), bars=bars(report), listed=_LISTED, speed=speed,
        host=socket.gethostname(), version=__version__,
    )  # fmt: skip


def bars(report: Report) -> list[Bar]:
    """Measure the bars of a report's slots; none where nothing ended."""
    most = max((slot.done + slot.review + slot.failed for slot in report.slots), default=0)
    if not most:
        return []
    unit = _TALL / most
    every = -(-len(report.slots) // _LABELS)
    return [
        Bar(
            slot, slot.done * unit, slot.review * unit, slot.failed * unit,
            _clock(slot.at, report.slot) if place % every == 0 else "", _words(slot),
        )
        for place, slot in enumerate(report.slots)
    ]  # fmt: skip


def _clock(at: float, slot: int) -> str:
    return time.strftime("%-d %b" if slot >= _DAY else "%H:%M", time.localtime(at))


def _words(slot: Slot) -> str:
    counts = f"{slot.done} done, {slot.review} to review, {slot.failed} failed"
    return f"{moment(slot.at)}: {counts}"
