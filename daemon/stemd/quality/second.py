"""The second look: how much of the vocal the network finds in the accompaniment, where the first look has flagged some.

What the network takes for a voice in an accompaniment is mostly some instrument, whether anything leaked or not: its
level says nothing. So the vocal stem is fitted to it as `bleed` fits it to the accompaniment. Where the vocal did leak,
it stands out there, since most of the band is gone; an instrument on the singer's notes does not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from stemd.quality import decibel, suspects
from stemd.quality.bleed import BleedMeter, Fits, joined
from stemd.quality.estimate import PAUSE, estimate
from stemd.quality.excerpt import excerpt
from stemd.quality.levels import sound
from stemd.quality.recording import Recording
from stemd.quality.spectra import Spectra
from stemd.quality.verdict import span

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from stemd.quality.report import Flag, Range, Report, Request

FOUND: Final = "vocals.wav"
"""What the engine has found in the suspect seconds."""
LESS_DB: Final = 10.0
"""A range is confirmed where the second look finds at most this less than the threshold. No flag is withdrawn: on four
songs an earlier embedded model found leaks of -10 and -15 dB at -16 to -33, those of -20 dB at -29 to -37, and clean
stems and doubled melodies at -31 to -80. What is confirmed is most likely there; the rest may be missed twice."""


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
    """What was found of flagged bleed. limit: dB relative to the vocal, from which on a range is confirmed."""

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
        return f"the second look does not confirm a vocal {where}"

    def as_json(self) -> dict[str, Any]:
        """As in quality.json."""
        return {
            "text": self.text,
            "limit_db": round(self.limit, 2),
            "ranges": [each.as_json(self.limit) for each in self.ranges],
        }


def judged(report: Report, request: Request, folder: str) -> Report:
    """Return the report with what the second look found. Raises StemdError where that cannot be read."""
    return confirmed(report, levels(report, request, folder))


def confirmed(report: Report, found: Mapping[Range, float]) -> Report:
    """Return the report with every flag that was looked at again saying what was found. found: dB by flagged range."""
    limit = (report.thresholds.bleed_db or 0.0) - LESS_DB
    looked = tuple(
        Looked(flag.start, flag.end, flag.value, found[flag.start, flag.end])
        for flag in report.flags
        if flag.metric == "bleed" and flag.value is not None and (flag.start, flag.end) in found
    )
    second = SecondLook(limit, looked)
    return replace(report, second=second, flags=tuple(_marked(flag, found, limit) for flag in report.flags))


def levels(report: Report, request: Request, folder: str) -> dict[Range, float]:
    """Level of the vocal that was found in each flagged range, dB relative to the vocal where it sings."""
    looked = suspects.read(folder)
    with Recording("second look", str(Path(folder) / FOUND)) as recording:
        parts = [_fitted(report, request, span, recording) for span in looked.spans]
    curve = estimate(joined(parts)).curve
    leaked = 10 ** (curve / 10) * _here(report, looked.spans)
    found, before = {}, 0
    for (start, end), part in zip(looked.spans, parts, strict=True):
        for each in looked.ranges:
            if start <= each.first and each.last <= end:
                first, last = (before + round((when - start) / report.step) for when in (each.first, each.last))
                found[each.start, each.end] = decibel.of_power(float(leaked[first : max(last, first + 1)].mean()))
        before += len(part.voice)
    return found


def _fitted(report: Report, request: Request, span: Range, found: Recording) -> Fits:
    """Fit the vocal stem to what was found in one span; `found` is read on from where it stands."""
    meter, spectra = BleedMeter(found.rate, 1), Spectra(found.rate, found.channels, 2)
    for first, last in suspects.blocks(*span):
        voice, _ = excerpt(request, report, str(report.vocals), first, last)
        theirs = found.read(len(voice))
        signals = [np.broadcast_to(voice, (len(voice), found.channels)), np.where(sound(theirs), theirs, np.float32(0))]
        for batch in spectra.feed(signals):
            meter.feed(batch[0], batch[1:])
    for batch in spectra.finish():
        meter.feed(batch[0], batch[1:])
    return meter.fits(0)


def _here(report: Report, spans: Sequence[Range]) -> float:
    """Power of the vocal in these spans relative to the whole recording, each where it sings; linear."""
    whole = np.asarray(report.curves.get(str(report.vocals), ()))
    parts = [whole[round(start / report.step) : round(end / report.step)] for start, end in spans]
    return _singing(np.concatenate(parts)) / max(_singing(whole), 1e-20)


def _decibels(value: float) -> str:
    return "nothing" if value <= decibel.FLOOR else f"{value:.0f} dB"


def _marked(flag: Flag, found: Mapping[Range, float], limit: float) -> Flag:
    value = found.get((flag.start, flag.end)) if flag.metric == "bleed" else None
    if value is None:
        return flag
    said = (
        f"heard again by the second look, about {value:.0f} dB"
        if value > limit
        else "the second look does not confirm it"
    )
    return replace(flag, second=value, text=f"{flag.text}; {said}")


def _singing(curve: NDArray[np.float64]) -> float:
    """Mean power of the vocal stem's windows that are no pause."""
    voice = 10 ** (curve / 10)
    return float(voice[voice > PAUSE * voice.mean()].mean()) if len(voice) else 0.0
