"""A few seconds of one stem for a picture or a second look, made from other files where it is none itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stemd.quality.levels import sound
from stemd.quality.pairing import pair
from stemd.quality.recording import Recording

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stemd.quality.report import Report, Request


def excerpt(request: Request, report: Report, name: str, start: float, end: float) -> tuple[NDArray[np.float32], int]:
    """Return (frames,) float32, the mean of the channels, from `start` to `end` seconds, and its sample rate."""
    if name in request.stems:
        return _mono(name, request.stems[name], start, end)
    pairing = pair(request.stems, report.vocals, None, with_mix=request.mix is not None)
    if pairing.summed:
        parts = [_mono(each, request.stems[each], start, end) for each in pairing.summed]
    elif request.mix is not None and report.vocals is not None:
        mix, rate = _mono("mix", request.mix, start, end)
        voice, _ = _mono(report.vocals, request.stems[report.vocals], start, end)
        parts = [(mix, rate), (-voice, rate)]
    else:
        return np.zeros(0, dtype=np.float32), 1
    length = min(len(part) for part, _ in parts)
    return np.sum([part[:length] for part, _ in parts], axis=0, dtype=np.float32), parts[0][1]


def _mono(name: str, path: str, start: float, end: float) -> tuple[NDArray[np.float32], int]:
    with Recording(name, path) as recording:
        recording.seek(round(start * recording.rate))
        block = recording.read(max(0, round((end - start) * recording.rate)))
        return np.where(sound(block), block, np.float32(0.0)).mean(axis=1, dtype=np.float32), recording.rate
