"""What is known of a source, of the mix made from it, and of a model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

LOUDEST: Final = 1e6
"""Linear, 120 dB over full scale: beyond it a float file holds no sound but a fault, as it does with NaN."""


@dataclass(frozen=True, slots=True)
class Source:
    """What ffprobe says of a recording, and which of its audio streams is used.

    duration: of its sound in seconds, as the container declares it; None where it does not.
    lead: seconds from the file's beginning to its first sound.
    stream: index among the file's audio streams. tags: names in lower case.
    cover_stream: the cover's index among all streams.
    cut: whether its end is missing, by the container's count of bytes; None where that does not tell.
    frames: per channel at sample_rate, without an encoder's padding, where the container tells; else None.
    """

    container: str
    codec: str
    sample_rate: int
    channels: int
    layout: str
    duration: float | None
    stream: int = 0
    lossless: bool = False
    video: bool = False
    cover: bool = False
    tags: dict[str, str] = field(default_factory=dict)
    cover_stream: int | None = None
    cut: bool | None = None
    frames: int | None = None
    lead: float = 0.0


@dataclass(frozen=True, slots=True)
class Mix:
    """mix.wav as NORMALISE left it: RF64, float32, at the model's rate and channel count.

    frames: per channel. source_frames: the same stretch at the source's rate. peak: linear, may pass 1.
    mean, deviation: of the mono average, as demucs.api normalises by.
    damage: a sentence about what could not be decoded; empty if all could.
    digest: sha256 of the samples, hex: equal for files that differ only in their tags, names or wrapping.
    """

    sample_rate: int
    channels: int
    frames: int
    mean: float
    deviation: float
    peak: float
    source: Source
    source_frames: int = 0
    damage: str = ""
    digest: str = ""

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.frames / self.sample_rate


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What the daemon must know of a model, as the engine describes it once.

    digest: sha256 over the weight files, hex. segment: training length, seconds.
    needs: for each source, the indices of the bag's members that it takes.
    family: htdemucs | hdemucs | demucs. parameters: of the largest member. members: how many the bag has.
    """

    name: str
    digest: str
    sources: tuple[str, ...]
    sample_rate: int
    channels: int
    segment: float
    needs: dict[str, tuple[int, ...]] = field(default_factory=dict)
    family: str = "htdemucs"
    parameters: int = 42_000_000
    members: int = 1
