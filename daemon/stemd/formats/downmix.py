"""How many channels become one or two, without losing any voice. Pure.

Coefficients after ITU-R BS.775-3, annex 4: centre and surrounds enter at -3 dB. The low-frequency channel stays out, as
there: it holds effects, and doubles what the others carry. Nothing is scaled down: samples are float and may pass 1.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_HALF: Final = math.sqrt(0.5)  # -3 dB
_WEIGHTS: Final[dict[str, tuple[float, float]]] = {
    "FL": (1, 0), "FR": (0, 1), "DL": (1, 0), "DR": (0, 1), "FC": (_HALF, _HALF),
    "FLC": (math.cos(math.pi / 8), math.sin(math.pi / 8)), "FRC": (math.sin(math.pi / 8), math.cos(math.pi / 8)),
    "BC": (0.5, 0.5), "TC": (0.5, 0.5), "TFC": (0.5, 0.5), "TBC": (0.5, 0.5), "BFC": (0.5, 0.5),
    "LFE": (0, 0), "LFE2": (0, 0),
}  # fmt: skip
_FRONT: Final = "FL FR"
_LAYOUTS: Final[dict[str, str]] = {
    "mono": "FC", "stereo": _FRONT, "downmix": "DL DR", "2.1": "FL FR LFE", "3.0": "FL FR FC", "3.0(back)": "FL FR BC",
    "4.0": "FL FR FC BC", "quad": "FL FR BL BR", "quad(side)": "FL FR SL SR", "3.1": "FL FR FC LFE",
    "5.0": "FL FR FC BL BR", "5.0(side)": "FL FR FC SL SR", "4.1": "FL FR FC LFE BC", "5.1": "FL FR FC LFE BL BR",
    "5.1(side)": "FL FR FC LFE SL SR", "6.0": "FL FR FC BC SL SR", "6.0(front)": "FL FR FLC FRC SL SR",
    "hexagonal": "FL FR FC BL BR BC", "6.1": "FL FR FC LFE BC SL SR", "6.1(back)": "FL FR FC LFE BL BR BC",
    "6.1(front)": "FL FR LFE FLC FRC SL SR", "7.0": "FL FR FC BL BR SL SR", "7.0(front)": "FL FR FC FLC FRC SL SR",
    "7.1": "FL FR FC LFE BL BR SL SR", "7.1(wide)": "FL FR FC LFE BL BR FLC FRC",
    "7.1(wide-side)": "FL FR FC LFE FLC FRC SL SR", "octagonal": "FL FR FC BL BR BC SL SR",
    "cube": "FL FR BL BR TFL TFR TBL TBR",
    "7.1(top)": "FL FR FC LFE BL BR TFL TFR", "5.1.2(back)": "FL FR FC LFE BL BR TFL TFR",
    "5.1.2": "FL FR FC LFE SL SR TFL TFR", "5.1.4": "FL FR FC LFE BL BR TFL TFR TBL TBR",
    "7.1.2": "FL FR FC LFE BL BR SL SR TFL TFR", "7.1.4": "FL FR FC LFE BL BR SL SR TFL TFR TBL TBR",
    "3.1.2": "FL FR FC LFE TFL TFR",
    "hexadecagonal": "FL FR FC BL BR BC SL SR TFL TFC TFR TBL TBC TBR WL WR",
    "22.2": "FL FR FC LFE BL BR FLC FRC BC SL SR TC TFL TFC TFR TBL TBC TBR LFE2 TSL TSR BFC BFL BFR",
}  # fmt: skip
_UNLABELLED: Final = {3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


def gains(layout: str, channels: int, wanted: int) -> list[tuple[float, ...]] | None:
    """Work out, for each of `wanted` outputs (1 or 2), the gain of each input; None if there is nothing to mix.

    layout: ffmpeg's name or list of speakers; anything else counts as unlabelled: then the usual order of speakers is
    taken for 3 to 8 channels, and beyond that odd places go left and even ones right. Two outputs of a mono file are
    equal; one output is the mean of the two.
    """
    if channels == wanted:
        return None
    pairs = _pairs(layout, channels)
    left, right = tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs)
    if wanted == 1:
        return [tuple((a + b) / 2 for a, b in zip(left, right, strict=True))]
    return [left, right]


def pan(mix: Sequence[Sequence[float]]) -> str:
    """Write gains as ffmpeg's `pan` filter."""
    outputs = []
    for number, row in enumerate(mix):
        terms = "+".join(f"{gain:.9f}*c{at}" for at, gain in enumerate(row) if gain) or "0*c0"
        outputs.append(f"c{number}={terms.replace('+-', '-')}")
    return "pan=" + "|".join(["mono" if len(mix) == 1 else "stereo", *outputs])


def _pairs(layout: str, channels: int) -> list[tuple[float, float]]:
    """Left and right gain of each channel."""
    if channels == 1:
        return [(1, 1)]
    if layout.startswith("ambisonic"):  # W and Y of first order: two cardioids, to the left and to the right
        return [(0.5, 0.5), (0.5, -0.5), *[(0.0, 0.0)] * (channels - 2)]
    speakers = _speakers(layout, channels)
    if speakers is None:
        weight = 1 / math.sqrt((channels + 1) // 2)
        return [(weight, 0) if at % 2 == 0 else (0, weight) for at in range(channels)]
    pairs = [_weights(speaker) for speaker in speakers]
    if not any(any(pair) for pair in pairs):  # nothing but low-frequency channels
        return [(1, 1)] * channels
    return pairs


def _speakers(layout: str, channels: int) -> list[str] | None:
    found = _LAYOUTS.get(layout) or _LAYOUTS.get(layout.split(" ", maxsplit=1)[0])
    names = found.split() if found else re.findall(r"\b(?:[A-Z]{1,4}2?)\b", layout)
    if len(names) == channels:
        return names
    usual = _UNLABELLED.get(channels)
    return _LAYOUTS[usual].split() if usual else None


def _weights(speaker: str) -> tuple[float, float]:
    if speaker in _WEIGHTS:
        return _WEIGHTS[speaker]
    side = speaker.rstrip("0123456789")[-1:]
    return {"L": (_HALF, 0.0), "R": (0.0, _HALF)}.get(side, (0.5, 0.5))
