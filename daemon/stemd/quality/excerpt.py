"""Some seconds of one stem for a picture or a second look, made from other files where it is none itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stemd.quality.levels import sound
from stemd.quality.pairing import pair
from stemd.quality.recording import Recording

if TYPE_CHECKING:
    from stemd.quality.recording import Block
    from stemd.quality.report import Report, Request


def excerpt(request: Request, report: Report, name: str, start: float, end: float) -> tuple[Block, int]:
    """Return (frames, channels) float32 from `start` to `end` seconds, and its sample rate; what is no sound is 0."""
    if name in request.stems:
        return _read(name, request.stems[name], start, end)
    pairing = pair(request.stems, report.vocals, None, with_mix=request.mix is not None)
    if pairing.summed:
        parts = [_read(each, request.stems[each], start, end) for each in pairing.summed]
    elif request.mix is not None and report.vocals is not None:
        mix, rate = _read("mix", request.mix, start, end)
        voice, _ = _read(report.vocals, request.stems[report.vocals], start, end)
        parts = [(mix, rate), (-voice, rate)]
    else:
        return np.zeros((0, 1), dtype=np.float32), 1
    length = min(len(part) for part, _ in parts)
    total: Block = parts[0][0][:length]
    for part, _ in parts[1:]:
        total = total + part[:length]  # mono is added to every channel
    return total, parts[0][1]


def _read(name: str, path: str, start: float, end: float) -> tuple[Block, int]:
    with Recording(name, path) as recording:
        first = round(start * recording.rate)
        recording.seek(first)
        block = recording.read(max(0, round(end * recording.rate) - first))
        return np.where(sound(block), block, np.float32(0.0)), recording.rate
