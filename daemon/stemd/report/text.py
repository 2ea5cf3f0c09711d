"""A report as lines for a terminal, the journal or a mail. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stemd.report.words import length, many, moment, size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stemd.report.facts import Recording, Report

_LISTED: Final = 50
"""So many recordings of a kind are named; more would be no summary."""


def text(report: Report) -> str:
    """Tell a report in lines, the most important first."""
    return "\n".join(_lines(report))


def headline(report: Report) -> str:
    """Say in one line how it went."""
    parts = [f"{many(len(report.done), 'recording')} done"] if report.done else []
    parts += [f"{report.doubles} answered from earlier work"] if report.doubles else []
    parts += [f"{len(report.review)} to review"] if report.review else []
    parts += [f"{len(report.held)} held for want of memory"] if report.held else []
    parts += [f"{len(report.failed)} failed"] if report.failed else []
    parts += [f"{report.cancelled} cancelled"] if report.cancelled else []
    parts += [f"{report.waiting} waiting"] if report.waiting else []
    parts += [f"{report.running} running"] if report.running else []
    return ", ".join(parts) or "nothing was done, and nothing waits"


def _lines(report: Report) -> Iterator[str]:
    yield f"stemd, {moment(report.since)} to {moment(report.until)}" + ("" if report.daemon else " (not running now)")
    yield f"  {headline(report)}"
    if report.done:
        yield f"  {length(report.audio_seconds)} of sound, {size(report.delivered_bytes)} delivered"
    for speed in report.speeds:
        where = f"{speed.model} on {speed.device}"
        yield f"  {where}: {speed.x_realtime:.1f} x realtime ({many(speed.recordings, 'separation')})"
    if report.checked:
        bleed = "" if report.bleed_db is None else f", bleed {report.bleed_db:.0f} dB in the middle"
        yield f"  checked {report.checked}, flagged {report.flagged}{bleed}"
    yield from _named("failed", report.failed)
    yield from _named("held for want of memory", report.held)
    yield from _named("wait for their surroundings", report.stuck)
    yield from _named("commands that failed", report.untold)
    yield from _named("to review", report.review)
    yield from _named("went on smaller or slower", report.degraded)
    yield from (
        f"disk {', '.join(disk.folders)}: {size(disk.free)} free of {size(disk.total)}" for disk in report.disks
    )


def _named(title: str, recordings: Sequence[Recording]) -> Iterator[str]:
    if recordings:
        yield f"{title}:"
    for each in recordings[:_LISTED]:
        yield f"  {each.name} ({each.rule}, job {each.job}): {each.why}".rstrip(": ")
        if each.what_to_do:
            yield f"    -> {each.what_to_do}"
    if len(recordings) > _LISTED:
        yield f"  and {len(recordings) - _LISTED} more; see: stemd jobs"
