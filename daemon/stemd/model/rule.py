"""A rule: one inbox, one outbox, and how to get from one to the other. The keys are those of config.toml."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

from annotated_types import Ge, Gt, Le, Lt, MinLen

Preset: TypeAlias = Literal["draft", "standard", "best", "low-memory", "asr", "karaoke"]
Format: TypeAlias = Literal["wav", "flac", "mp3", "m4a", "opus", "stem.m4a"]
BitDepth: TypeAlias = Literal[16, 24, "float32"]
Clip: TypeAlias = Literal["joint", "rescale", "clamp", "none"]
Precision: TypeAlias = Literal["auto", "float32"]
Residual: TypeAlias = Literal["minus", "add"]
Metric: TypeAlias = Literal["bleed", "reverse", "null", "seam", "dc", "clipping", "length", "nan"]

OWN_FOLDERS: Final = {"review": "_review", "failed": "_failed", "archive": "_done"}
"""The daemon's folders of a rule, by their keys: what they are called in the inbox unless they are named."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """The part of a rule that decides the sound.

    audio_stream: which of a film's sounds, counted from 0. segment: seconds, or None for the model's training length.
    stems: names, `no_<stem>`, or ("all",).
    """

    audio_stream: int
    model: str
    shifts: int
    overlap: float
    segment: float | None
    precision: Precision
    seed: int
    residual: Residual
    stems: tuple[str, ...]

    @property
    def digest(self) -> str:
        """A short sha256 of all its parts, in hex: equal for equal recipes."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def digest_with(self, weights: str) -> str:
        """Give a short sha256, hex, of all that decides the sound. weights: digest of the model's files."""
        return hashlib.sha256(f"{self.digest} {weights}".encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When a person should hear a result before it is used ([rule.quality]).

    bleed_db: vocals in the accompaniment, dB relative to the vocal; louder is flagged. reverse_db: a vocal stem that
    holds only the band, relative to the accompaniment. null_db: mix less the sum of its stems, relative to the mix.
    seam_db: a click where segments meet, over its surroundings. dc: a stem's mean, full scale is 1.
    ignore: flags that are not raised, by their metric. second_look: whether flagged bleed is looked for once more by
    separating the accompaniment there.
    """

    bleed_db: Annotated[float, Le(0)] = -20.0
    reverse_db: Annotated[float, Le(0)] = -24.0
    null_db: Annotated[float, Le(0)] = -12.0
    seam_db: Annotated[float, Gt(0)] = 26.0
    dc: Annotated[float, Gt(0), Le(1)] = 0.01
    ignore: tuple[Metric, ...] = ()
    second_look: bool = False
    on_flag: Literal["review", "deliver"] = "review"


@dataclass(frozen=True, slots=True)
class Hook:
    """Commands to run ([rule.hook]): argument lists, never a shell.

    delivered: after stems were put into the outbox. timeout: seconds after which it is ended.
    """

    delivered: tuple[str, ...] = ()
    timeout: Annotated[float, Gt(0)] = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One [[rule]] of config.toml, complete: defaults and preset are filled in, folders are absolute.

    names: template of a stem's path below the outbox (DESIGN.md calls it `name` a second time, which TOML refuses).
    ready: what tells that a recording is complete: nothing has changed for `settle` seconds, or its sender's marker.
    """

    name: Annotated[str, MinLen(1)]
    inbox: Path
    outbox: Path
    review: Path
    failed: Path
    archive: Path
    preset: Preset = "standard"
    model: Annotated[str, MinLen(1)] = "htdemucs"
    shifts: Annotated[int, Ge(0), Le(20)] = 2
    overlap: Annotated[float, Ge(0), Lt(1)] = 0.25
    segment: Annotated[float, Gt(0)] | None = None
    precision: Precision = "auto"
    seed: int = 0
    residual: Residual = "minus"
    stems: tuple[str, ...] = ("all",)
    format: Format = "wav"
    bit_depth: BitDepth = 24
    bitrate: Annotated[int, Ge(32), Le(512)] = 320
    mp3_quality: Annotated[int, Ge(2), Le(7)] | None = None
    sample_rate: Literal["source"] | Annotated[int, Ge(8000), Le(192_000)] = "source"
    channels: Literal["source", 1, 2] = "source"
    clip: Clip = "joint"
    names: Annotated[str, MinLen(1)] = "{track}/{stem}.{ext}"
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    source: Literal["archive", "keep", "delete"] = "archive"
    audio_stream: Annotated[int, Ge(0)] = 0
    remux: bool = False
    priority: int = 0
    settle: Annotated[float, Gt(0)] | None = None
    ready: Literal["settle", "marker"] = "settle"
    quality: Thresholds = field(default_factory=Thresholds)
    hook: Hook = field(default_factory=Hook)

    @property
    def recipe(self) -> Recipe:
        """The part that decides the sound."""
        return Recipe(
            audio_stream=self.audio_stream, model=self.model, shifts=self.shifts, overlap=self.overlap,
            segment=self.segment, precision=self.precision, seed=self.seed, residual=self.residual,
            stems=self.stems,
        )  # fmt: skip

    @property
    def own_folders(self) -> tuple[Path, Path, Path]:
        """Folders of the daemon's, which may lie inside the inbox and are never looked into."""
        return (self.review, self.failed, self.archive)
