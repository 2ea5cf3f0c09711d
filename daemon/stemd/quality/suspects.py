"""What the second look listens to: the accompaniment's flagged seconds, cut out with some context before and after."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from stemd import wav
from stemd.errors import StemdError
from stemd.quality.excerpt import excerpt

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from stemd.quality.recording import Block
    from stemd.quality.report import Range, Report, Request

SOUND: Final = "suspects.wav"
PLACES: Final = "suspects.json"
CONTEXT: Final = 4.0
"""Seconds before and after, which the network needs to tell a voice from what sounds like one."""
LONGEST: Final = 30.0
"""Seconds of one range at most: its loudest. So a second look at a long recording costs no more than at a song."""
_FADE: Final = 0.02
"""Seconds; a cut in the middle of a sound would be a click."""
_BLOCK: Final = 10.0
"""Seconds read at a time."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """A flagged range. start, end: seconds, as flagged. first, last: what is looked at of it."""

    start: float
    end: float
    first: float
    last: float


@dataclass(frozen=True, slots=True)
class Suspects:
    """spans: ranges of the recording, seconds, which stand one behind the other in the sound."""

    ranges: tuple[Suspect, ...]
    spans: tuple[Range, ...]


def suspects(report: Report) -> Suspects:
    """Say what of flagged bleed is to be looked at, and which ranges of the recording that needs."""
    flagged = [(flag.start, flag.end) for flag in report.flags if flag.metric == "bleed"]
    found = tuple(Suspect(start, end, *_loudest(start, end, report)) for start, end in flagged)
    around = ((max(0.0, each.first - CONTEXT), min(report.seconds, each.last + CONTEXT)) for each in found)
    return Suspects(found, _joined(around))


def cut(report: Report, request: Request, folder: str) -> Suspects:
    """Write the suspect seconds and their places into a folder. Raises StemdError "report-unwritable"."""
    found = suspects(report)
    if found.ranges:
        try:
            _write(report, request, found.spans, Path(folder) / SOUND)
            (Path(folder) / PLACES).write_text(json.dumps(asdict(found)), encoding="utf-8")
        except OSError as error:
            raise StemdError(
                "report-unwritable", f"{folder}: {error.strerror}", "Check the folder's space and permissions."
            ) from error
    return found


def read(folder: str) -> Suspects:
    """Read the places that `cut` has written."""
    found = json.loads((Path(folder) / PLACES).read_text(encoding="utf-8"))
    return Suspects(tuple(Suspect(**each) for each in found["ranges"]), tuple((a, b) for a, b in found["spans"]))


def blocks(start: float, end: float) -> Iterator[Range]:
    """Cut a span into what is read of it at a time."""
    for first in np.arange(start, end, _BLOCK):
        yield float(first), float(min(end, first + _BLOCK))


def _loudest(start: float, end: float, report: Report) -> Range:
    """The range, or the LONGEST of it where the most vocal was heard."""
    count, part = int(LONGEST / report.step), slice(round(start / report.step), round(end / report.step))
    curve = report.main.windows[part] if report.main else ()
    if len(curve) <= count:
        return start, end
    sums = np.convolve(10 ** (np.asarray(curve) / 10), np.ones(count), "valid")
    first = start + int(np.argmax(sums)) * report.step
    return first, min(end, first + LONGEST)


def _joined(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """Ranges in the order of time, with those that touch made one."""
    found: list[Range] = []
    for start, end in sorted(ranges):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return tuple(found)


def _write(report: Report, request: Request, spans: Sequence[Range], path: Path) -> None:
    """Write the accompaniment's spans one behind the other, each faded in and out."""
    beside = path.with_name(f".{path.name}.tmp")
    beside.unlink(missing_ok=True)
    writer: wav.Writer | None = None
    for start, end in spans:
        for first, last in blocks(start, end):
            block, rate = excerpt(request, report, str(report.accompaniment), first, last)
            writer = writer or wav.Writer(beside, rate, block.shape[1])
            writer.write(_faded(block, rate, first == start > 0, last == end < report.seconds).T)
    if writer is not None:
        writer.close()
        beside.replace(path)


def _faded(block: Block, rate: int, begins: bool, ends: bool) -> Block:  # noqa: FBT001 - which sides
    length = min(round(_FADE * rate), len(block))
    weight = np.ones((len(block), 1), dtype=np.float32)
    rise = np.linspace(0, 1, length, dtype=np.float32)[:, None]
    if begins:
        weight[:length] *= rise
    if ends:
        weight[len(block) - length :] *= rise[::-1]
    return block * weight
