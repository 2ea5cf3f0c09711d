"""A job's surroundings without the daemon: real folders, real files, and a model that nobody has to load."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from stemd import wav
from stemd.files import read_fact, write_json
from stemd.model import Job, Mix, ModelCard, Rule, Stat
from stemd.stages import normalise
from stemd.stages.work import Work

NORMALISED: dict[Path, dict[str, bytes]] = {}
NOTHING: Mapping[str, Any] = MappingProxyType({})


class OneModel:
    """Describes one model, as the engine would."""

    def describe(self, model: str) -> ModelCard:
        return ModelCard(model, "d1935", ("vocals", "drums"), 44100, 2, 2.0)

    def separate(self, request: Mapping[str, Any], work: Work) -> dict[str, Any]:
        raise NotImplementedError

    def measure(self, request: Mapping[str, Any], work: Work) -> dict[str, Any]:
        raise NotImplementedError


@dataclass
class Studio:
    """Folders of one rule and one job."""

    root: Path
    progress: list[float] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        for name in ("in", "out", "work", "results"):
            (self.root / name).mkdir(parents=True, exist_ok=True)

    @property
    def outbox(self) -> Path:
        return self.root / "out"

    @property
    def folder(self) -> Path:
        return self.root / "work"

    def work(
        self, source: Path | None = None, name: bytes = b"song.wav", job: Mapping[str, Any] = {}, **keys: Any
    ) -> Work:
        """A job whose source is already taken. keys: of the rule."""
        if source is not None:
            (self.folder / "source").unlink(missing_ok=True)
            os.link(source, self.folder / "source")
        inbox = self.root / "in"
        rule = Rule(
            **{
                "name": "rule", "inbox": inbox, "outbox": self.outbox, "review": inbox / "_review",
                "failed": inbox / "_failed", "archive": inbox / "_done", "model": "demo", **keys,
            }
        )  # fmt: skip
        path = os.fsencode(inbox) + b"/" + name
        made = Job(7, "rule", path, name, Stat(1, 1, 1), sha256="5" * 64, recipe="r1", key="k1", created=1e9)
        told = lambda fraction, _: self.progress.append(fraction)  # noqa: E731
        return Work(replace(made, **job), rule, self.folder, self.root / "results", OneModel(), self.stop, told)

    def normalised(self, source: Path, name: bytes | None = None, **keys: Any) -> Mix:
        """Run NORMALISE and return what it left."""
        normalise.run(self.work(source, name or os.fsencode(source.name), **keys))
        return read_fact(self.folder / "mix.json", Mix)

    def mix(self) -> np.ndarray:
        """mix.wav as (channels, frames)."""
        with wav.Reader(self.folder / "mix.wav") as reader:
            return reader.read(0, reader.frames)

    def separated(self, source: Path, gains: Mapping[str, float], **keys: Any) -> Work:
        """Normalise, once for each source, and leave the mix times a gain as each stem."""
        if source in NORMALISED:
            for name, content in NORMALISED[source].items():
                (self.folder / name).write_bytes(content)
        else:
            self.normalised(source, **keys)
            NORMALISED[source] = {name: (self.folder / name).read_bytes() for name in ("mix.wav", "mix.json")}
        mix = self.mix()
        kept = self.root / "results" / "k1"
        kept.mkdir(exist_ok=True)
        for stem, gain in gains.items():
            (kept / f"{stem}.wav").unlink(missing_ok=True)
            with wav.Writer(kept / f"{stem}.wav", 44100, 2) as writer:
                writer.write(mix * np.float32(gain))
        used = {"device": "cpu", "precision": "bfloat16", "segment": 1.0, "batch": 1}
        report = used | {"files": {stem: f"{stem}.wav" for stem in gains}, "model": "demo", "digest": "d1935"}
        write_json(self.folder / "separation.json", report)
        return self.work(source, **keys)


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path / "studio")


@pytest.fixture(scope="session")
def ffmpeg() -> Callable[..., None]:
    """Runs ffmpeg with the given arguments."""

    def run(*arguments: str | Path) -> None:
        subprocess.run(["ffmpeg", "-hide_banner", "-nostdin", "-v", "error", "-y", *arguments], check=True)

    return run


@pytest.fixture(scope="session")
def noise() -> np.ndarray:
    """Three seconds of music-like noise, (2, frames) at 44,100 Hz, under 8 kHz, its two channels different."""
    dice = np.random.default_rng(7)
    spectrum = np.fft.rfft(dice.standard_normal((2, 132_300)))
    frequency = np.fft.rfftfreq(132_300, 1 / 44100)
    spectrum *= (frequency > 60) & (frequency < 8000)
    samples = np.fft.irfft(spectrum / np.sqrt(np.maximum(frequency, 60)))
    return (samples / np.abs(samples).max() * 0.6).astype(np.float32)


@pytest.fixture(scope="session")
def made(
    noise: np.ndarray, ffmpeg: Callable[..., None], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """Makes the noise into a file with ffmpeg, once for each name: `made("a.mp3", "-b:a", "192k")`."""
    folder = tmp_path_factory.mktemp("made")
    with wav.Writer(folder / "noise.wav", 44100, 2) as writer:
        writer.write(noise)

    def make(name: str, *options: str | Path) -> Path:
        target = folder / name
        if not target.exists():
            ffmpeg("-i", folder / "noise.wav", *options, target)
        return target

    return make
