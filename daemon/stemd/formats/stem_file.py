"""STEM files: one MP4 with the mix and four stems as tracks, as DJ players expect it. Pure.

The layout is Native Instruments' (https://www.native-instruments.com/en/specials/stems/): five stereo tracks, the mix
first and alone enabled, and a box `moov/udta/stem` with names and colours as JSON.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FORMAT: Final = "stem.m4a"
NAME: Final = "stems"
"""What the one file is called where a single stem has its name."""
MIX: Final = "mix"
STEMS: Final = ("drums", "bass", "other", "vocals")
TRACKS: Final = (MIX, *STEMS)
"""In the file's order."""

_COLOURS: Final = ("#009E73", "#D55E00", "#CC79A7", "#56B4E9")
_COMPRESSOR: Final = {
    "enabled": False, "ratio": 3, "output_gain": 0.5, "release": 0.3, "attack": 0.003, "input_gain": 0.5,
    "threshold": 0, "hp_cutoff": 300, "dry_wet": 50,
}  # fmt: skip
_LIMITER: Final = {"enabled": False, "release": 0.05, "threshold": 0, "ceiling": -0.35}


def metadata() -> bytes:
    """Give the content of the `stem` box. The stems sum to the mix as they are: no processing behind them is on."""
    stems = [{"color": colour, "name": name.title()} for name, colour in zip(STEMS, _COLOURS, strict=True)]
    told = {"mastering_dsp": {"compressor": _COMPRESSOR, "limiter": _LIMITER}, "version": 1, "stems": stems}
    return json.dumps(told).encode()


def bind_command(parts: Sequence[Path], target: Path) -> list[str]:
    """Build the command that puts the tracks' files, in order, into one, undecoded; the first brings tags and cover."""
    inputs = [word for part in parts for word in ("-i", str(part))]
    maps = ["-map", "0"] + [word for at in range(1, len(parts)) for word in ("-map", f"{at}:a")]
    named = [
        word
        for at, name in enumerate(TRACKS)
        for word in (f"-disposition:a:{at}", "0" if at else "default", f"-metadata:s:a:{at}", f"handler_name={name}")
    ]
    return [
        "ffmpeg", "-hide_banner", "-nostdin", "-nostats", "-v", "repeat+level+error", "-y", *inputs, *maps,
        "-map_metadata", "0", "-c", "copy", *named, "-f", "ipod", str(target),
    ]  # fmt: skip
