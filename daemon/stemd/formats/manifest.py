"""manifest.json: which stems these are, where they come from, and how they were made. Pure but for the date."""

from __future__ import annotations

import dataclasses
import math
import os
import time
from typing import TYPE_CHECKING, Any, Final

from stemd import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stemd.formats.outgoing import Shape
    from stemd.model import Job, Mix, Rule

_MADE_WITH: Final = ("device", "precision", "segment", "batch", "reruns_float32", "silent_segments")
"""What the engine really used (segment in seconds), which lack of memory may have made less than the recipe."""


def manifest(
    job: Job,
    rule: Rule,
    mix: Mix,
    shape: Shape,
    *,
    files: Sequence[Mapping[str, Any]],
    separation: Mapping[str, Any],
    quality: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Form the content of a manifest.

    files: each with name (as seen from the manifest), sha256 and size in bytes; what was made of the sound with stem
    and gain (linear), a STEM file with its tracks' names; what only came along with kind.
    """
    return {
        "stemd": __version__,
        "job": job.id,
        "rule": rule.name,
        "source": _source(job, mix),
        "result": {"number": job.result, "preset": rule.preset},
        "recipe": _recipe(job, rule, separation),
        "model": {"name": separation.get("model", rule.model), "digest": separation.get("digest", "")},
        "made_with": {name: separation[name] for name in _MADE_WITH if name in separation},
        "separation": job.key,
        "delivery": _delivery(rule, shape),
        "files": [_file(file) for file in files],
        "quality": quality,
        "reasons": list(job.reasons),
        "approved": job.approved,
        "made": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def _file(file: Mapping[str, Any]) -> dict[str, Any]:
    told = {key: value for key, value in file.items() if key != "gain"}
    return told | ({"gain_db": _decibel(file["gain"])} if "gain" in file else {})


def _recipe(job: Job, rule: Rule, separation: Mapping[str, Any]) -> dict[str, Any]:
    """What the stems were made by, and the digest under which the job was admitted; a further result has its own."""
    settings: dict[str, Any] = separation.get("settings", dataclasses.asdict(rule.recipe))
    digest = rule.recipe.digest_with(separation.get("digest", "")) if job.preset else job.recipe
    return settings | {"digest": digest}


def text_of(name: str) -> str:
    """A name as valid text; what is not UTF-8 in it becomes a replacement character."""
    return os.fsencode(name).decode("utf-8", "replace")


def _source(job: Job, mix: Mix) -> dict[str, Any]:
    source = mix.source
    told = {
        "name": job.name.decode("utf-8", "replace"), "sha256": job.sha256, "seconds": round(mix.seconds, 6),
        "frames": mix.source_frames, "sample_rate": source.sample_rate, "channels": source.channels,
        "codec": source.codec, "stream": source.stream, "lead": round(source.lead, 6),
        "damage": mix.damage,
    }  # fmt: skip
    if job.name.decode("utf-8", "replace").encode() != job.name:
        told["name_hex"] = job.name.hex()
    return told


def _delivery(rule: Rule, shape: Shape) -> dict[str, Any]:
    return {
        "format": rule.format, "bit_depth": None if shape.lossy else rule.bit_depth, "sample_rate": shape.rate,
        "channels": shape.channels, "frames": shape.frames, "clip": rule.clip,
    }  # fmt: skip


def _decibel(gain: float) -> float:
    return round(20 * math.log10(gain), 4)
