"""The second look: how much vocal the network finds in the accompaniment, where the first look has flagged some."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from stemd.quality import decibel, suspects
from stemd.quality.estimate import PAUSE
from stemd.quality.levels import sound
from stemd.quality.recording import Recording
from stemd.quality.verdict import span
from stemd.quality.windows import power

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stemd.quality.report import Flag, Range, Report

FOUND: Final = "vocals.wav"
"""What the engine has found in the suspect seconds."""
LESS_DB: Final = 10.0
"""A flag stands if the second look finds no more than this less than the threshold."""


@dataclass(frozen=True, slots=True)
class Looked:
    """One flagged range. value, found: dB relative to the vocal, of the first look and of the second."""

    start: float
    end: float
    value: float
    found: float

    def as_json(self, limit: float) -> dict[str, Any]:
        """Seconds to a hundredth; found_db null for nothing at all."""
        return {
            "start": round(self.start, 2),
            "end": round(self.end, 2),
            "value": round(self.value, 2),
            "found_db": decibel.or_none(self.found),
            "confirmed": self.found > limit,
        }


@dataclass(frozen=True, slots=True)
class SecondLook:
    """What became of flagged bleed. limit: dB relative to the vocal, from which on a range is confirmed."""

    limit: float
    ranges: tuple[Looked, ...]

    @property
    def text(self) -> str:
        """One clause for the story and for the listener."""
        missed = [each for each in self.ranges if each.found <= self.limit]
        if not missed:
            return "the second look found the vocal too"
        where = ", ".join(
            f"{span(each.start, each.end)} (first look {each.value:.0f} dB, second {_decibels(each.found)})"
            for each in missed
        )
        return f"the second look found no vocal {where}"

    def as_json(self) -> dict[str, Any]:
        """As in quality.json."""
        return {
            "text": self.text,
            "limit_db": round(self.limit, 2),
            "ranges": [each.as_json(self.limit) for each in self.ranges],
        }


def judged(report: Report, folder: str) -> Report:
    """Return the report with what the second look found. Raises StemdError where that cannot be read."""
    return confirmed(report, levels(report, folder))


def confirmed(report: Report, found: Mapping[Range, float]) -> Report:
    """Return the report without the flags that the second look does not confirm. found: dB by flagged range."""
    limit = (report.thresholds.bleed_db or 0.0) - LESS_DB
    looked = tuple(
        Looked(flag.start, flag.end, flag.value, found[flag.start, flag.end])
        for flag in report.flags
        if flag.metric == "bleed" and flag.value is not None and (flag.start, flag.end) in found
    )
    second = SecondLook(limit, looked)
    flags = tuple(each for flag in report.flags for each in _kept(flag, found, limit))
    return replace(report, second=second, flags=flags, verdict="flagged" if flags else "pass")


def levels(report: Report, folder: str) -> dict[Range, float]:
    """Level of the vocal that was found in each flagged range, dB relative to the vocal where it sings."""
    singing = _singing(report.curves.get(report.vocals or "", ()))
    with Recording("second look", str(Path(folder) / FOUND)) as recording:
        return {
            (each.start, each.end): decibel.of_power(_power(recording, each), singing) for each in suspects.read(folder)
        }


def _decibels(value: float) -> str:
    return "nothing" if value <= decibel.FLOOR else f"{value:.0f} dB"


def _kept(flag: Flag, found: Mapping[Range, float], limit: float) -> Sequence[Flag]:
    value = found.get((flag.start, flag.end)) if flag.metric == "bleed" else None
    if value is None:
        return (flag,)
    if value <= limit:
        return ()
    return (replace(flag, second=value, text=f"{flag.text}; heard again by the second look, about {value:.0f} dB"),)


def _singing(curve: Sequence[float]) -> float:
    """Mean power of the vocal stem's windows that are no pause."""
    voice = 10 ** (np.asarray(curve) / 10)
    return float(voice[voice > PAUSE * voice.mean()].mean()) if len(voice) else 0.0


def _power(recording: Recording, suspect: suspects.Suspect) -> float:
    recording.seek(round(suspect.at * recording.rate))
    block = recording.read(round((suspect.last - suspect.first) * recording.rate))
    return float(power(np.where(sound(block), block, np.float32(0.0))).mean()) if len(block) else 0.0
