"""Presets: names for sets of a rule's keys that practice has settled on. A key given in a rule wins over its preset."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stemd.model.rule import Preset

PRESETS: Mapping[Preset, Mapping[str, Any]] = MappingProxyType(
    {
        "draft": {"model": "htdemucs", "shifts": 1, "overlap": 0.25, "format": "mp3", "bitrate": 320},
        "standard": {"model": "htdemucs", "shifts": 2, "overlap": 0.25, "format": "wav"},
        "best": {"model": "htdemucs_ft", "shifts": 5, "overlap": 0.5, "format": "wav", "bit_depth": "float32"},
        # The MDX networks take any length; memory falls with it, and 8 s lose little (Demucs's own README advises it).
        "low-memory": {
            "model": "mdx_q", "shifts": 1, "overlap": 0.1, "segment": 8.0, "format": "mp3", "bitrate": 320,
        },
        # What speech recognition wants: 16 kHz mono, 16 bit.
        "asr": {
            "model": "htdemucs", "shifts": 1, "overlap": 0.25, "stems": ("vocals",),
            "format": "wav", "bit_depth": 16, "sample_rate": 16_000, "channels": 1,
        },
        "karaoke": {
            "model": "htdemucs", "shifts": 1, "overlap": 0.25, "stems": ("vocals", "no_vocals"),
            "format": "mp3", "bitrate": 320,
        },
    }
)  # fmt: skip
"""Keys and values as in a [[rule]]; what a preset does not name keeps the rule's default."""

PURPOSES: Mapping[Preset, str] = MappingProxyType(
    {
        "draft": "a quick impression, small files",
        "standard": "everyday work",
        "best": "the final mix: five passes, half overlapping, files without rounding",
        "low-memory": "machines with little memory; needs the package diffq",
        "asr": "vocals for speech recognition",
        "karaoke": "the song without its singer, for players",
    }
)
"""What each preset is for, in a few words."""
