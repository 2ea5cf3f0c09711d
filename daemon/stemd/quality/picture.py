"""quality.png: what a person should see before listening. Waveforms, levels, bleed over time, and the worst range."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
import numpy as np

from stemd.quality import decibel
from stemd.quality.excerpt import excerpt
from stemd.quality.verdict import clock

mpl.use("Agg")
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from stemd.quality.report import Flag, Report, Request

VOCAL: Final = "#c2410c"
BAND: Final = "#1d4ed8"
MARK: Final = "#dc2626"
SECOND: Final = "#7c3aed"
QUIET: Final = "#6b7280"
LEAST_DB: Final = -60.0
POINTS: Final = 1200
"""Of a curve at most; longer ones show the loudest of each stretch."""
SHOWN_SECONDS: Final = 10.0
"""Of the worst range at most."""


def draw(path: Path, report: Report, request: Request, outlines: Mapping[str, NDArray[np.float32]]) -> None:
    """Draw the report into a PNG file of 1,400 by 1,100 points."""
    figure = Figure(figsize=(14, 11), dpi=100, layout="constrained")
    grid = figure.add_gridspec(5, 2, height_ratios=[1, 1, 1.5, 1.5, 2.2])
    axes = [figure.add_subplot(grid[row, :]) for row in range(4)]
    _headline(figure, report)
    pair = (report.vocals, report.accompaniment)
    for axis, name, colour in zip(axes[:2], pair, (VOCAL, BAND), strict=True):
        _waveform(axis, report, name, outlines, colour)
    _levels(axes[2], report)
    _bleed(axes[3], report)
    for axis in axes:
        _timeline(axis, report)
    for column, (name, colour) in enumerate(zip(_heard(report), (BAND, VOCAL), strict=False)):
        _spectrogram(figure.add_subplot(grid[4, column]), report, request, name, colour)
    figure.savefig(path, format="png")


def _heard(report: Report) -> list[str]:
    """The stems whose spectrograms are shown: the accompaniment, and the vocal to compare; else the first two."""
    main = [name for name in (report.accompaniment, report.vocals) if name is not None]
    return main if len(main) > 1 else [stem.name for stem in report.stems[:2]]


def _headline(figure: Figure, report: Report) -> None:
    """Title, verdict and the flags' sentences, the first three."""
    good = report.verdict == "pass"
    words = f"{report.title or 'stems'}   {'PASS' if good else 'LISTEN FIRST'}"
    figure.suptitle(words, fontsize=17, fontweight="bold", color="#15803d" if good else MARK, x=0.01, ha="left")
    shown = [flag.text for flag in report.flags[:3]]
    more = len(report.flags) - len(shown)
    lines = shown + ([f"and {more} more, see quality.json"] if more > 0 else [])
    if not lines:
        lines = [_figures(report)]
    figure.axes[0].set_title("\n".join(lines), loc="left", fontsize=11, color="#111827")


def _figures(report: Report) -> str:
    main = report.main
    if report.second is not None:
        return report.second.text
    if main is None or main.db is None:
        return "no vocal found: nothing can have bled"
    return f"vocal in {main.into}: {main.db:.0f} dB relative to the vocal, nothing to hear"


def _waveform(
    axis: Axes, report: Report, name: str | None, outlines: Mapping[str, NDArray[np.float32]], colour: str
) -> None:
    outline = outlines.get(name or "")
    axis.set_ylabel(name or "", rotation=0, ha="right", va="center", color=colour, fontsize=11)
    axis.set_yticks([])
    if outline is None or not len(outline):
        axis.text(0.5, 0.5, "not a file", transform=axis.transAxes, ha="center", color=QUIET)
        return
    when = np.linspace(0, report.seconds, len(outline))
    top = max(float(outline.max()), 1e-6)
    axis.fill_between(when, -outline / top, outline / top, color=colour, linewidth=0)
    axis.set_ylim(-1.05, 1.05)


def _levels(axis: Axes, report: Report) -> None:
    for name, colour in ((report.vocals, VOCAL), (report.accompaniment, BAND)):
        values = report.curves.get(name or "")
        if values is not None:
            axis.plot(*_thinned(np.asarray(values), report.step), color=colour, linewidth=1.2, label=name)
    axis.set_ylim(-70, 0)
    axis.set_ylabel("RMS dBFS")
    if axis.lines:
        axis.legend(loc="lower right", ncols=2, frameon=False, fontsize=9)


def _bleed(axis: Axes, report: Report) -> None:
    axis.set_ylabel("vocal heard in\nthe accompaniment, dB")
    axis.set_ylim(LEAST_DB, 0)
    limit = report.thresholds.bleed_db
    if limit is not None:
        axis.axhline(limit, color=MARK, linewidth=1, linestyle="--")
        axis.set_title(f"flagged above {limit:g} dB", loc="right", color=MARK, fontsize=9, pad=2)
    if report.main is None:
        return
    when, values = _thinned(np.asarray(report.main.windows), report.main.step)
    values = np.where(values <= LEAST_DB, LEAST_DB, values)
    axis.fill_between(when, LEAST_DB, values, step="post", color=VOCAL, alpha=0.35, linewidth=0)
    axis.step(when, values, where="post", color=VOCAL, linewidth=1)
    _second_look(axis, report)


def _second_look(axis: Axes, report: Report) -> None:
    """What the second look found in each range: a bar, broken where that does not confirm the first."""
    second = report.second
    if second is None:
        return
    for number, each in enumerate(second.ranges):
        confirmed = each.found > second.limit
        level = max(each.found, LEAST_DB + 1)
        axis.plot(
            (each.start, each.end), (level, level), color=SECOND, linewidth=3, solid_capstyle="butt",
            linestyle="-" if confirmed else (0, (1, 1)), label=None if number else "second look",
        )  # fmt: skip
    axis.legend(loc="lower right", frameon=False, fontsize=9)


def _timeline(axis: Axes, report: Report) -> None:
    """The same seconds under each other, with the flagged ranges marked."""
    axis.set_xlim(0, max(report.seconds, report.step))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: clock(seconds)))
    axis.grid(axis="x", color="#e5e7eb", linewidth=0.6)
    axis.set_axisbelow(True)
    for flag in report.flags:
        if flag.end - flag.start < 0.95 * report.seconds:
            axis.axvspan(
                flag.start, max(flag.end, flag.start + report.seconds / 400), color=MARK, alpha=0.12, linewidth=0
            )
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def worst(report: Report) -> Flag | None:
    """The range that the spectrogram shows: the loudest bleed, else the first flag."""
    bleeds = [flag for flag in report.flags if flag.metric == "bleed"]
    if bleeds:
        return max(bleeds, key=lambda flag: flag.value if flag.value is not None else decibel.FLOOR)
    return report.flags[0] if report.flags else None


def _spectrogram(axis: Axes, report: Report, request: Request, name: str, colour: str) -> None:
    """The seconds worth hearing: a leak shows as the vocal's lines in the accompaniment."""
    flag = worst(report)
    start, end = _shown(report, flag)
    block, rate = excerpt(request, report, name, start, end)
    sound = block.mean(axis=1, dtype=np.float32)
    size = 2048
    if len(sound) < size:
        axis.axis("off")
        return
    picture = 10 * np.log10(np.maximum(_power(sound, size).T, 1e-12))
    top = float(picture.max())
    extent = (start, end, 0.0, rate / 2000)
    axis.imshow(picture, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=top - 75, vmax=top)
    axis.set_ylim(0, min(8.0, rate / 2000))
    axis.set_ylabel("kHz")
    axis.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: clock(seconds)))
    what = "the worst range" if flag is not None else "where the vocal is loudest"
    axis.set_title(f"{name}, {clock(start)} to {clock(end)}: {what}", loc="left", fontsize=11, color=colour)


def _shown(report: Report, flag: Flag | None) -> tuple[float, float]:
    """The seconds of the spectrogram: the worst range, else where the vocal is loudest."""
    if flag is not None and flag.end - flag.start < 0.95 * report.seconds:
        start = max(0.0, flag.start - 0.5)
        return start, min(report.seconds, start + min(SHOWN_SECONDS, flag.end - start + 0.5))
    voice = np.asarray(report.curves.get(report.vocals or "", (0.0,)))
    start = max(0.0, float(np.argmax(voice)) * report.step - SHOWN_SECONDS / 2)
    return start, min(report.seconds, start + SHOWN_SECONDS)


def _power(sound: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Power spectra of a mono sound, (frames, bins)."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, size)[:: size // 8]
    return np.asarray(np.abs(np.fft.rfft(frames * np.hanning(size).astype(np.float32))) ** 2)


def _thinned(values: NDArray[Any], step: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Times and values, at most POINTS of them; the loudest of each stretch stands for it."""
    stretch = max(1, -(-len(values) // POINTS))
    padded = np.pad(values.astype(np.float64), (0, -len(values) % stretch), constant_values=decibel.FLOOR)
    when = (np.arange(len(padded) // stretch) * step * stretch).astype(np.float64)
    return when, padded.reshape(-1, stretch).max(axis=1)
