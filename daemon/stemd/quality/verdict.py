"""From a report's figures to its flags and its verdict. Pure: thresholds in, sentences out.

What a studio wants to hear about before it uses a stem: numbers that are none, a stem that is not as long as its
source, clipping that the mix did not have, DC, stems that do not add up to the mix, clicks where segments meet, the
vocal in the accompaniment, a vocal stem that is nothing but the band, and two stems that are one sound. What is no
flag: a silent stem (an instrumental has no vocal, an a cappella no band) and clipping that the mix already has; both
stand in the report.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from stemd.quality import decibel
from stemd.quality.ranges import few
from stemd.quality.report import Bleed, Flag, Levels, Report

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

LOSSY_SECONDS: Final = 0.1
"""Encoder delay and padding of a lossy file that is no fault."""


NAMED_SECONDS: Final = 0.01
"""From where on a difference of length is told in seconds; less is told in samples."""
NO_VOICE: Final = 0.55
"""Share of a vocal stem that is the band, from which on it has no voice; see `estimate.reverse_share`."""
SAME_DB: Final = -12.0
"""Vocal stem less accompaniment, relative to the vocal stem, under which both are one sound: 0.45 to 0.57 of the mix
and the rest of it. Clean stems have nothing in common that cancels, and stay near 0 or above; bleed of -6 dB reaches
-2, what a weak network smears -6."""
PAIR: Final = 2
NEAR_DB: Final = 6.0
"""Quieter neighbours of what is flagged belong to the range."""
MOST: Final = 8
"""Flags of one kind for one stem; more are joined: nobody reads thirty sentences."""


def judged(
    report: Report,
    null: NDArray[np.float64] | None,
    lossy: Mapping[str, bool],
    seams: Mapping[str, tuple[tuple[float, float], ...]],
) -> Report:
    """Return the report with its flags and verdict.

    null: the null test's windows in dB, if there was one. seams: (seconds, dB) of each stem's clicks, and the mix's.
    """
    flags = (
        *(flag for stem in report.stems for flag in _of_stem(stem, report, lossy=lossy.get(stem.name, False))),
        *_of_null(report, null),
        *_of_seams(report, seams),
        *(flag for bleed in report.bleed for flag in of_bleed(bleed, report)),
        *_of_reverse(report),
    )
    wanted = (flag for flag in flags if flag.metric not in report.ignored)
    order = sorted(wanted, key=lambda flag: (flag.start, flag.metric))
    return replace(report, flags=tuple(order), verdict="flagged" if order else "pass")


def clock(seconds: float) -> str:
    """Give minutes and seconds as a player shows them: 1:12, 1:02:03."""
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, second = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{second:02}" if hours else f"{minutes}:{second:02}"


def span(start: float, end: float) -> str:
    """Give "at 1:12" or "at 1:12 to 1:19"."""
    return f"at {clock(start)}" if clock(start) == clock(end) else f"at {clock(start)} to {clock(end)}"


def _of_stem(stem: Levels, report: Report, *, lossy: bool) -> Iterator[Flag]:
    yield from _not_finite(stem)
    yield from _length(stem, lossy=lossy)
    yield from _clipping(stem, report.mix)
    yield from _dc(stem, report)


def _not_finite(stem: Levels) -> Iterator[Flag]:
    if stem.not_finite:
        start, end = stem.not_finite_at[0][0], stem.not_finite_at[-1][1]
        places = "place" if len(stem.not_finite_at) == 1 else "places"
        text = (
            f"{stem.name} has {stem.not_finite} samples that are no sound (not a number) "
            f"in {len(stem.not_finite_at)} {places}, first {span(*stem.not_finite_at[0])}: separate it again"
        )
        yield Flag("nan", start, end, float(stem.not_finite), 0.0, text)


def _length(stem: Levels, *, lossy: bool) -> Iterator[Flag]:
    missing = (stem.missing_frames or 0) / stem.rate
    allowed = LOSSY_SECONDS if lossy else 0.0
    if abs(missing) <= allowed:
        return
    seconds = stem.frames / stem.rate
    much = f"{abs(missing):.2f} s" if abs(missing) >= NAMED_SECONDS else f"{abs(stem.missing_frames or 0)} samples"
    text = f"{stem.name} is {much} {'shorter' if missing > 0 else 'longer'} than the mix and may not line up with it"
    yield Flag("length", min(seconds, seconds + missing), max(seconds, seconds + missing), missing, allowed, text)


def _clipping(stem: Levels, mix: Levels | None) -> Iterator[Flag]:
    """Flat tops that the mix does not have at the same time."""
    theirs = mix.clipping if mix else ()
    own = [
        (start, end) for start, end in stem.clipping if not any(a <= end + 0.1 and b >= start - 0.1 for a, b in theirs)
    ]
    for start, end in _joined(own):
        text = f"{stem.name} is clipped {span(start, end)} where the mix is not: it may crackle"
        yield Flag("clipping", start, end, stem.peak_db, 0.0, text)


def _joined(ranges: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most MOST ranges: the ones with the smallest gaps become one."""
    kept = list(ranges)
    while len(kept) > MOST:
        gaps = [after[0] - before[1] for before, after in pairwise(kept)]
        place = gaps.index(min(gaps))
        kept[place : place + 2] = [(kept[place][0], kept[place + 1][1])]
    return kept


def _dc(stem: Levels, report: Report) -> Iterator[Flag]:
    limit = report.thresholds.dc
    if limit is None or abs(stem.dc) <= limit:
        return
    also = " (the mix has it too)" if report.mix and abs(report.mix.dc) > limit else ""
    text = f"{stem.name} sits {abs(stem.dc):.1%} of full scale off zero{also}: cuts in it will click"
    yield Flag("dc", 0.0, stem.frames / stem.rate, stem.dc, limit, text)


def _of_null(report: Report, null: NDArray[np.float64] | None) -> Iterator[Flag]:
    limit = report.thresholds.null_db
    if null is None or limit is None or report.null_db is None:
        return
    for start, end in few(null > limit, 2, MOST):
        value = float(null[start:end].max())
        a, b = start * report.step, min(end * report.step, report.seconds)
        names = " and ".join(report.null_of) if len(report.null_of) <= PAIR else "the stems"
        what = f"{value:.0f} dB" if value > decibel.FLOOR else "nothing"
        text = f"{names} do not add up to the mix {span(a, b)}: the difference is {what} relative to the mix"
        yield Flag("null", a, b, value, limit, text)


def _of_seams(report: Report, seams: Mapping[str, tuple[tuple[float, float], ...]]) -> Iterator[Flag]:
    """Clicks at segment borders that the mix does not have itself."""
    theirs = {when for when, _ in seams.get("mix", ())}
    limit = report.thresholds.seam_db
    for stem in report.stems:
        found = [(when, value) for when, value in seams.get(stem.name, ()) if when not in theirs]
        if found:
            more = f" and {len(found) - 1} more" if len(found) > 1 else ""
            text = (
                f"{stem.name} clicks {span(found[0][0], found[0][0])}{more}, where two segments meet: separate it again"
            )
            yield Flag("seam", found[0][0], found[-1][0], max(value for _, value in found), limit, text)


def _of_reverse(report: Report) -> Iterator[Flag]:
    """A vocal stem that is the accompaniment again, or the band turned down: nobody sings, or who does was missed."""
    main, limit = report.main, report.thresholds.reverse_db
    if main is None or limit is None:
        return
    if main.apart_db is not None and main.apart_db < SAME_DB:
        text = f"{report.vocals} and {main.into} are the same sound: nothing was separated"
        yield Flag("reverse", 0.0, report.seconds, main.apart_db, SAME_DB, text)
        return
    share = main.reverse_share
    if share is None or share < NO_VOICE or main.reverse_db is None:
        return
    if main.reverse_db > limit:
        text = (
            f"{report.vocals} holds only the band, about {main.reverse_db:.0f} dB down: "
            "if somebody sings here, the separation missed it"
        )
        yield Flag("reverse", 0.0, report.seconds, main.reverse_db, limit, text)


def of_bleed(bleed: Bleed, report: Report) -> Iterator[Flag]:
    """Flag where the vocal is louder in another stem than the threshold allows."""
    limit = report.thresholds.bleed_db
    if limit is None or bleed.db is None or bleed.into != report.accompaniment or bleed.score <= limit:
        return
    curve = np.asarray(bleed.windows)
    loud = curve > min(limit - NEAR_DB, float(curve.max(initial=decibel.FLOOR)) - NEAR_DB)
    for start, end in few(loud & (curve > decibel.FLOOR), 2, MOST) or [(0, len(curve))]:
        inside = curve[start:end][curve[start:end] > decibel.FLOOR]
        value = decibel.of_power(float(np.mean(10 ** (inside / 10)))) if len(inside) else bleed.score
        a, b = start * bleed.step, min(end * bleed.step, report.seconds)
        text = f"vocal audible in {bleed.into} {span(a, b)}, about {value:.0f} dB"
        yield Flag("bleed", a, b, value, limit, text)
