"""CHECK with the real measurement: the voice is heard in what is delivered beside it, whatever the model calls that."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import singing

from stemd import wav
from stemd.files import read_json, write_json
from stemd.model import Finished, Held, Job, ModelCard, Outcome, Rule, Rung, Source, Stat
from stemd.quality import measure
from stemd.quality.child import read
from stemd.stages import check, separate
from stemd.stages.work import Work

SECONDS = 8.0
VOICE, BAND = singing.voice(SECONDS).T, singing.band(SECONDS).T
Checked = Callable[..., Outcome]


@dataclass
class Leaking:
    """A model whose vocals are clean; its second stem holds the band and a share of the voice, the others nothing."""

    sources: tuple[str, ...]
    leak: float

    def describe(self, model: str) -> ModelCard:
        return ModelCard(model, "d1935", self.sources, 44100, 2, 2.0, dict.fromkeys(self.sources, (0,)))

    def separate(self, request: dict[str, Any], work: Work) -> dict[str, Any]:
        sounds = [VOICE, BAND + np.float32(self.leak) * VOICE, *(np.zeros_like(BAND) for _ in self.sources[2:])]
        made = dict(zip(self.sources, sounds, strict=True)) | {"no_vocals": BAND}
        for stem in request["stems"]:
            write(Path(request["out"]) / f"{stem}.wav", made[stem])
        return {
            "files": {stem: f"{stem}.wav" for stem in request["stems"]}, "device": "cpu", "precision": "float32",
            "batch": 1, "segment": 2.0, "seconds": 1.0, "x_realtime": 4.0, "peak_ram_bytes": 1, "peak_vram_bytes": 0,
        }  # fmt: skip

    def measure(self, request: dict[str, Any], work: Work) -> dict[str, Any]:
        return measure(read({"do": "measure", **request})).as_json()


def write(path: Path, samples: np.ndarray) -> None:
    with wav.Writer(path, 44100, 2) as writer:
        writer.write(samples)


@pytest.fixture
def checked(tmp_path: Path) -> Checked:
    """Separate a song and check it. told: whether SEPARATE says which stems the model has; it did not always."""

    def run(model: Leaking, *stems: str, told: bool = True) -> Outcome:
        write(tmp_path / "mix.wav", VOICE + BAND)
        source = Source("wav", "pcm_f32le", 44100, 2, "stereo", None)
        facts = {"sample_rate": 44100, "channels": 2, "frames": VOICE.shape[1], "mean": 0.0, "deviation": 1.0}
        known = {name: getattr(source, name) for name in source.__slots__}
        write_json(tmp_path / "mix.json", facts | {"peak": 1.0, "source": known, "digest": "m1"})
        (tmp_path / "results").mkdir()
        rule = Rule(
            name="r", inbox=tmp_path, outbox=tmp_path, review=tmp_path, failed=tmp_path, archive=tmp_path, model="m",
            stems=stems,
        )  # fmt: skip
        job = Job(1, "r", b"/in/a.wav", b"a.wav", Stat(1, 2, 3), sha256="5" * 64)
        rung = Rung("cpu", "float32", 1, 2.0)
        stop = threading.Event()
        work = Work(job, rule, tmp_path, tmp_path / "results", model, stop, lambda *_: None, rung)
        done = separate.run(work)
        assert isinstance(done, Finished)
        if not told:
            kept = read_json(tmp_path / "separation.json")
            del kept["sources"]
            write_json(tmp_path / "separation.json", kept)
        return check.run(replace(work, job=replace(job, key=done.key)))

    return run


@pytest.mark.parametrize("other, stems", [("instrumental", ("all",)), ("other", ("vocals", "other"))])
def test_a_voice_in_the_other_stem_of_two_is_heard(checked: Checked, other: str, stems: tuple[str, ...]) -> None:
    outcome = checked(Leaking(("vocals", other), 0.5), *stems)
    assert isinstance(outcome, Held)
    assert any(text.startswith(f"vocal audible in {other} ") for text in outcome.reasons)
    assert any(text.startswith(f"vocals and {other} do not add up to the mix") for text in outcome.reasons)


def test_two_clean_stems_pass(checked: Checked) -> None:
    assert isinstance(checked(Leaking(("vocals", "instrumental"), 0.0), "all"), Finished)


@pytest.mark.parametrize(
    "sources, stems",
    [
        (("vocals", "other", "drums"), ("vocals", "other")),
        (("vocals", "instrumental"), ("vocals", "no_vocals")),
        (("vocals", "instrumental"), ("instrumental",)),
    ],
)
def test_other_stems_are_no_accompaniment(checked: Checked, sources: tuple[str, ...], stems: tuple[str, ...]) -> None:
    assert isinstance(checked(Leaking(sources, 0.5), *stems), Finished)


def test_a_separation_of_before_is_checked_as_before(checked: Checked) -> None:
    assert isinstance(checked(Leaking(("vocals", "instrumental"), 0.5), "all", told=False), Finished)
