"""SEPARATE and what it keeps: one computation for all who ask for the same sound, whichever stems of it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stemd import results, wav
from stemd.files import read_fact, read_json
from stemd.model import Job, Mix, ModelCard, Retry, Rule, Rung, Source, Stat
from stemd.stages import separate
from stemd.stages.work import Work

SOURCES = ("drums", "bass", "vocals")
PARTS = {"drums": 0.5, "bass": 0.3, "vocals": 0.125}
RUNG = Rung("cpu", "float32", 1, 2.0)
FRAMES = 200_000


@dataclass
class Engine:
    """Makes each source a fixed part of the mix, and notes what it was asked for."""

    asked: list[tuple[str, ...]] = field(default_factory=list)

    def describe(self, model: str) -> ModelCard:
        return ModelCard(model, "d1935", SOURCES, 44100, 2, 2.0, dict.fromkeys(SOURCES, (0,)))

    def separate(self, request: dict[str, Any], work: Work) -> dict[str, Any]:
        self.asked.append(tuple(request["stems"]))
        mix = read(Path(request["mix"]))
        for stem in request["stems"]:
            one = PARTS[stem.removeprefix("no_")]
            write(Path(request["out"]) / f"{stem}.wav", mix * np.float32(1 - one if stem.startswith("no_") else one))
        return {
            "files": {stem: f"{stem}.wav" for stem in request["stems"]}, "device": "cpu", "precision": "float32",
            "batch": 1, "segment": 2.0, "seconds": 1.0, "x_realtime": 4.0, "peak_ram_bytes": 1, "peak_vram_bytes": 0,
        }  # fmt: skip

    def measure(self, request: dict[str, Any], work: Work) -> dict[str, Any]:
        raise NotImplementedError


def read(path: Path) -> np.ndarray:
    with wav.Reader(path) as reader:
        return reader.read(0, reader.frames)


def write(path: Path, samples: np.ndarray) -> None:
    with wav.Writer(path, 44100, 2) as writer:
        writer.write(samples)


@dataclass
class Studio:
    """Jobs of several rules about one sound."""

    root: Path
    engine: Engine = field(default_factory=Engine)
    jobs: int = 0

    def separate(self, *stems: str, rung: Rung | None = RUNG, digest: str = "m1", **keys: Any) -> tuple[Any, Work]:
        """A new job; the outcome, and what it worked with."""
        self.jobs += 1
        folder = self.root / str(self.jobs)
        folder.mkdir()
        write(folder / "mix.wav", np.random.default_rng(1).standard_normal((2, FRAMES)).astype("<f4"))
        source = Source("wav", "pcm_f32le", 44100, 2, "stereo", None)
        separate.write_json(
            folder / "mix.json",
            {
                "sample_rate": 44100, "channels": 2, "frames": FRAMES, "mean": 0.0, "deviation": 1.0, "peak": 1.0,
                "source": {name: getattr(source, name) for name in source.__slots__}, "digest": digest,
            },
        )  # fmt: skip
        job = Job(self.jobs, "r", b"/in/a.wav", b"a.wav", Stat(1, 2, 3), sha256=f"{self.jobs:064}")
        inbox = Path("/in")
        rule = Rule(
            name="r", inbox=inbox, outbox=inbox, review=inbox, failed=inbox, archive=inbox, model="m", stems=stems,
            **keys,
        )  # fmt: skip
        kept = self.root / "results"
        kept.mkdir(exist_ok=True)
        work = Work(job, rule, folder, kept, self.engine, threading.Event(), lambda *_: None, rung)
        return separate.run(work), work

    def files(self, outcome: Any, work: Work) -> dict[str, np.ndarray]:
        """What later stages find: the job's own stems."""
        told = read_json(work.folder / "separation.json")
        assert told["digest"] == "d1935"
        assert not list(work.results.glob("*.tmp"))
        return {stem: read(work.results / outcome.key / name) for stem, name in told["files"].items()}


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path)


def test_the_same_stems_are_computed_once(studio: Studio) -> None:
    first, _ = studio.separate("vocals", "no_vocals")
    second, work = studio.separate("no_vocals", "vocals", rung=None)
    assert studio.engine.asked == [("vocals", "no_vocals")]
    assert (second.key, second.measurement) == (first.key, None)
    assert first.measurement.passes == 2 / 0.75
    assert first.measurement.lanes == pytest.approx(2 * 4 * 44100 * 2.0 * 4 * 1.3, abs=1)
    assert "there already" in second.note
    assert list(studio.files(second, work)) == ["no_vocals", "vocals"]


def test_the_recipe_is_the_one_by_which_it_was_separated(studio: Studio) -> None:
    """The rule may have changed since the recording was taken."""
    first, work = studio.separate("vocals")
    again, _ = studio.separate("vocals", shifts=3)
    assert first.recipe == work.rule.recipe.digest_with("d1935")
    assert again.recipe not in {first.recipe, ""}


def test_a_superset_serves_and_a_job_sees_its_own_stems_only(studio: Studio) -> None:
    studio.separate("all")
    outcome, work = studio.separate("bass", rung=None)
    assert studio.engine.asked == [SOURCES]
    assert list(studio.files(outcome, work)) == ["bass"]


def test_a_complement_is_formed_of_the_stem_that_is_there(studio: Studio) -> None:
    studio.separate("vocals")
    outcome, work = studio.separate("vocals", "no_vocals", rung=None)
    assert studio.engine.asked == [("vocals",)]
    assert "no_vocals formed" in outcome.note
    found, mix = studio.files(outcome, work), read(work.folder / "mix.wav")
    assert np.array_equal(found["no_vocals"], mix - found["vocals"])


def test_a_complement_by_sum_is_another_one(studio: Studio) -> None:
    studio.separate("no_vocals")
    outcome, work = studio.separate("no_vocals", residual="add")
    assert len(studio.engine.asked) == 2
    assert len({path.name for path in (work.results / outcome.key).glob("no_vocals*")}) == 2
    studio.separate("all")
    (work.results / outcome.key / "no_vocals.summed.wav").unlink()
    again, work = studio.separate("no_vocals", residual="add", rung=None)
    mix = read(work.folder / "mix.wav")
    assert np.array_equal(studio.files(again, work)["no_vocals"], mix * np.float32(0.5) + mix * np.float32(0.3))


def test_what_is_missing_is_made_and_kept_beside_the_rest(studio: Studio) -> None:
    studio.separate("vocals")
    outcome, work = studio.separate("drums", "no_vocals", "vocals")
    assert studio.engine.asked == [("vocals",), ("drums",)]
    assert "the others were there already" in outcome.note
    assert set(studio.files(outcome, work)) == {"drums", "no_vocals", "vocals"}
    last, work = studio.separate("vocals", "drums", rung=None)
    assert set(studio.files(last, work)) == {"vocals", "drums"}


def test_the_sound_counts_and_not_the_file(studio: Studio) -> None:
    """Every job here has another sha256, as a retagged file has."""
    first, _ = studio.separate("vocals")
    same, _ = studio.separate("vocals")
    other, _ = studio.separate("vocals", digest="m2")
    assert first.key == same.key != other.key
    assert len(studio.engine.asked) == 2


@pytest.mark.parametrize(
    "keys", [{"shifts": 5}, {"overlap": 0.5}, {"seed": 1}, {"precision": "float32"}, {"rung": 1.0}]
)
def test_another_computation_is_another_result(studio: Studio, keys: dict[str, Any]) -> None:
    first, _ = studio.separate("vocals")
    if "rung" in keys:
        keys = {"rung": replace(RUNG, segment=keys["rung"])}
    other, _ = studio.separate("vocals", **keys)
    assert first.key != other.key


def test_stems_that_vanished_from_a_result_are_made_again(studio: Studio) -> None:
    first, work = studio.separate("vocals", "drums")
    (work.results / first.key / "drums.wav").unlink()
    told, _ = studio.separate("vocals", "drums", rung=None)
    assert isinstance(told, Retry)
    assert not told.counts
    again, work = studio.separate("vocals", "drums")
    assert studio.engine.asked[1:] == [("drums",)]
    assert set(studio.files(again, work)) == {"vocals", "drums"}


def test_a_kill_while_stems_are_put_away_costs_nothing_but_the_run(studio: Studio) -> None:
    """Files without the report that names them do not count; a repeat replaces them."""
    first, work = studio.separate("vocals")
    (work.results / first.key / "drums.wav").write_bytes(b"half")
    outcome, work = studio.separate("drums")
    assert studio.engine.asked == [("vocals",), ("drums",)]
    assert studio.files(outcome, work)["drums"].shape == (2, FRAMES)


def test_a_use_makes_a_result_the_last_to_be_dropped(studio: Studio) -> None:
    keys = [studio.separate("vocals", digest=digest)[0].key for digest in ("a", "b", "c")]
    kept = studio.root / "results"
    studio.separate("vocals", digest="a", rung=None)
    one = (kept / keys[0] / "vocals.wav").stat().st_size + 1000
    assert results.trim(kept, 3 * one, set()) == []
    assert results.trim(kept, 2 * one, set()) == [keys[1]]
    assert results.trim(kept, 0, {keys[0]}) == [keys[2]]
    assert [folder.name for folder in kept.iterdir()] == [keys[0]]


def test_what_is_kept_leaves_half_of_the_disk_to_new_work(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [studio.separate("vocals", digest=digest)[0].key for digest in ("a", "b", "c", "d")]
    monkeypatch.setattr(results, "free_bytes", lambda _: 0)
    assert results.trim(studio.root / "results", 1e12, set()) == keys[:2]


def test_a_result_that_is_being_made_is_never_dropped(studio: Studio) -> None:
    (studio.root / "results" / "k.7.tmp").mkdir(parents=True)
    assert results.trim(studio.root / "results", 0, set()) == []


def test_decoding_tells_a_retagged_file_by_its_sound(made: Any, ffmpeg: Any, tmp_path: Path) -> None:
    plain = made("a.flac")
    tagged, other = tmp_path / "b.flac", tmp_path / "c.wav"
    ffmpeg("-i", plain, "-c", "copy", "-metadata", "title=Another", tagged)
    ffmpeg("-i", plain, "-c:a", "pcm_s24le", other)
    ffmpeg("-i", plain, "-af", "volume=0.9", tmp_path / "d.flac")
    digests = [decoded(tmp_path, path) for path in (plain, tagged, other, tmp_path / "d.flac")]
    assert len(digests[0]) == 64
    assert digests[0] == digests[1] == digests[2] != digests[3]


def decoded(root: Path, source: Path) -> str:
    from stemd.stages import normalise  # noqa: PLC0415 - only this test decodes

    folder = root / source.name.replace(".", "-")
    folder.mkdir()
    (folder / "source").symlink_to(source)
    inbox = Path("/in")
    rule = Rule(name="r", inbox=inbox, outbox=inbox, review=inbox, failed=inbox, archive=inbox, model="m")
    job = Job(1, "r", b"/in/a", b"a", Stat(1, 2, 3))
    normalise.run(Work(job, rule, folder, root, Engine(), threading.Event(), lambda *_: None))
    return read_fact(folder / "mix.json", Mix).digest
