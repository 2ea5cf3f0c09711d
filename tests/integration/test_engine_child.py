"""The engine as a child process: its protocol, cancel, every way to end, and memory that does not grow with length."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import networks as nets
import numpy as np
import pytest

from stemd import wav
from stemd.children import WorkerPool
from stemd.errors import EnvironmentFault


class Engine:
    """Speaks with one engine process as the daemon does."""

    def __init__(self, models: Path, cache: Path) -> None:
        self.models = models
        env = {**os.environ, "XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "stemd.engine"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env
        )

    def send(self, **request: Any) -> None:
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()

    def answer(self) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """The progress lines and the answer behind them."""
        progress = []
        for line in self.process.stdout:
            message = json.loads(line)
            if "progress" not in message:
                return progress, message
            progress.append(message)
        raise AssertionError(f"the engine ended with {self.process.wait()}")

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        self.send(do=do, **{"models": str(self.models), **request})
        return self.answer()[1]

    def separate(self, mix: Path, out: Path, **options: Any) -> None:
        request = {"model": "alone", "models": str(self.models), "mix": str(mix), "out": str(out), "segment": None}
        request |= {"stems": ["vocals", "no_vocals"], "shifts": 1, "overlap": 0.25, "batch": 1, "seed": 0}
        request |= {"device": "cpu", "precision": "auto", "residual": "minus", **options}
        self.send(do="separate", **request)

    def end(self) -> None:
        self.process.kill()
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    nets.save(nets.htdemucs(), folder, "alone")
    (folder / "bag.yaml").write_text("models: ['alone', 'alone']\nweights: [[1, 0, 0], [0, 1, 1]]\n")
    return folder


@pytest.fixture(scope="module")
def shared(repository, tmp_path_factory) -> Iterator[Engine]:
    engine = Engine(repository, tmp_path_factory.mktemp("cache"))
    yield engine
    engine.end()


@pytest.fixture
def engine(repository, tmp_path) -> Iterator[Engine]:
    engine = Engine(repository, tmp_path)
    yield engine
    engine.end()


def recording(path: Path, seconds: float, rate: int = nets.RATE, channels: int = 2, silent: bool = False) -> Path:
    block = np.random.default_rng(0).standard_normal((channels, rate)).astype(np.float32) * (0 if silent else 0.1)
    with wav.Writer(path, rate, channels) as writer:
        for _ in range(int(seconds)):
            writer.write(block)
        writer.write(block[:, : int(seconds % 1 * rate)])
    return path


def read(path: Path) -> np.ndarray:
    with wav.Reader(path) as reader:
        return reader.read(0, reader.frames)


def test_describe_tells_all_that_the_daemon_must_know(shared):
    card = shared.ask("describe", model="bag")["done"]
    assert card["sources"] == list(nets.SOURCES)
    assert (card["sample_rate"], card["channels"], card["segment"]) == (nets.RATE, 2, 0.5)
    assert card["needs"] == {"drums": [0], "vocals": [1], "other": [1]}
    assert card["weights"] == [[1, 0, 0], [0, 1, 1]]
    assert len(card["digest"]) == 64
    assert [(m["signature"], m["segment"]) for m in card["members"]] == [("alone", 0.5)] * 2
    assert card["members"][0]["sha256"] == shared.ask("describe", model="alone")["done"]["digest"]


def test_separate_writes_the_stems_and_tells_progress_and_figures(shared, tmp_path):
    mix = recording(tmp_path / os.fsdecode(b"m\xefx.wav"), 10.3)
    shared.separate(mix, tmp_path / os.fsdecode(b"\xf6ut"))
    progress, answer = shared.answer()
    done = answer["done"]
    assert done["files"] == {"vocals": "vocals.wav", "no_vocals": "no_vocals.wav"}
    assert (done["frames"], done["sample_rate"], done["device"]) == (int(10.3 * nets.RATE), nets.RATE, "cpu")
    assert (done["batch"], done["segment"], done["reruns_float32"], done["silent_segments"]) == (1, 0.5, 0, 0)
    assert done["precision"] in {"bfloat16", "float32"}
    assert min(done["seconds"], done["x_realtime"]) > 0
    assert done["peak_ram_bytes"] > 1e8
    assert done["peak_vram_bytes"] == 0
    assert progress
    assert all(0 < p["progress"] <= 1 and p["eta"] >= 0 and p["audio_seconds"] >= 0 for p in progress)
    assert len(progress) <= 5 * (done["seconds"] + 1)
    stems = {name: read(tmp_path / os.fsdecode(b"\xf6ut") / file) for name, file in done["files"].items()}
    np.testing.assert_array_equal(stems["no_vocals"], read(mix) - stems["vocals"])
    assert sorted(file.name for file in (tmp_path / os.fsdecode(b"\xf6ut")).iterdir()) == [
        "no_vocals.wav",
        "vocals.wav",
    ]


def test_the_daemon_is_told_whether_a_model_is_there(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    pool = WorkerPool(tmp_path)
    try:
        pool.check("demo")
        with pytest.raises(EnvironmentFault, match="htdemucs_ft is not on this machine"):
            pool.check("htdemucs_ft")
    finally:
        pool.close()


@pytest.mark.parametrize(
    "options,code",
    [
        ({"stems": ["vocal"]}, "unknown-stem"),
        ({"model": "htdemucs"}, "model-missing"),
        ({"model": "htdemuc"}, "unknown-model"),
        ({"segment": 0.6}, "segment-too-long"),
        ({"overlap": 1.0}, "out-of-range"),
        ({"device": "cuda:7"}, "no-gpu"),
        ({"device": "tpu"}, "unknown-device"),
        ({"precision": "float8"}, "unknown-precision"),
        ({"mix": "/nowhere/mix.wav"}, "no-file"),
        ({"out": "/proc/no/such"}, "no-file"),
        ({"models": "/nowhere"}, "no-models-folder"),
    ],
)
def test_what_cannot_work_fails_with_a_code_and_a_hint_and_leaves_nothing(shared, tmp_path, options, code):
    recording(tmp_path / "mix.wav", 1)
    shared.separate(**{"mix": tmp_path / "mix.wav", "out": tmp_path / "out", **options})
    failed = shared.answer()[1]["failed"]
    assert failed["code"] == code
    assert failed["message"]
    assert failed["hint"]
    assert not list(tmp_path.glob("out/*"))


def test_what_does_not_fit_and_nonsense_are_answered_and_the_engine_goes_on(shared, tmp_path):
    shared.separate(recording(tmp_path / "mix.wav", 1, rate=44100), tmp_path / "out")
    assert shared.answer()[1]["failed"]["code"] == "wrong-rate"
    shared.separate(recording(tmp_path / "wide.wav", 1, channels=3), tmp_path / "out")
    assert shared.answer()[1]["failed"]["code"] == "wrong-channels"
    shared.process.stdin.write(b"this is no json\n[1]\n")
    assert shared.ask("dance")["failed"]["code"] == "unknown-request"
    assert [shared.answer()[1]["failed"]["code"] for _ in range(2)] == ["unknown-request"] * 2
    assert shared.ask("describe", model="alone")["done"]["model"] == "alone"


def test_a_model_that_changed_on_disk_is_loaded_anew(engine, tmp_path):
    engine.models = tmp_path / "models"
    nets.save(nets.htdemucs(), engine.models, "alone")
    before = engine.ask("describe", model="alone")["done"]["digest"]
    next(engine.models.glob("alone-*")).unlink()
    nets.save(nets.htdemucs(seed=9), engine.models, "alone")
    assert engine.ask("describe", model="alone")["done"]["digest"] != before


def test_a_bag_that_is_edited_is_loaded_anew(engine, tmp_path):
    engine.models = tmp_path / "models"
    nets.save(nets.htdemucs(), engine.models, "aaaa")
    bag = engine.models / "bag.yaml"
    bag.write_text("models: ['aaaa', 'aaaa']\nweights: [[1, 1, 1], [0, 0, 0]]\n")
    before = engine.ask("describe", model="bag")["done"]
    bag.write_text("models: ['aaaa', 'aaaa']\nweights: [[0, 0, 0], [1, 1, 1]]\n")
    after = engine.ask("describe", model="bag")["done"]
    assert before["digest"] != after["digest"]
    assert after["needs"]["vocals"] == [1]


def test_a_model_with_another_digest_than_the_daemon_knows_is_not_run(shared, tmp_path):
    mix, digest = recording(tmp_path / "mix.wav", 1), shared.ask("describe", model="alone")["done"]["digest"]
    shared.separate(mix, tmp_path / "out", digest="0" * 64)
    assert shared.answer()[1]["failed"]["code"] == "model-changed"
    assert not (tmp_path / "out").exists()
    shared.separate(mix, tmp_path / "out", digest=digest)
    assert "done" in shared.answer()[1]


def test_cancel_ends_it_within_a_segment_and_the_next_request_runs(engine, tmp_path):
    mix = recording(tmp_path / "mix.wav", 600)
    engine.separate(mix, tmp_path / "out")
    assert "progress" in json.loads(engine.process.stdout.readline())
    began = time.monotonic()
    engine.send(do="cancel")
    assert engine.answer()[1]["failed"]["code"] == "cancelled"
    assert time.monotonic() - began < 20
    assert not list((tmp_path / "out").iterdir())
    engine.separate(recording(tmp_path / "short.wav", 1), tmp_path / "out")
    assert "done" in engine.answer()[1]


@pytest.mark.parametrize("way", ["eof", "term"])
@pytest.mark.parametrize("busy", [True, False])
def test_it_ends_with_its_input_and_on_sigterm_even_at_work(engine, tmp_path, way, busy):
    if busy:
        engine.separate(recording(tmp_path / "mix.wav", 600), tmp_path / "out")
        assert "progress" in json.loads(engine.process.stdout.readline())
    else:
        engine.ask("describe", model="alone")
    engine.process.send_signal(signal.SIGINT)  # is the parent's to decide on
    time.sleep(0.2)
    assert engine.process.poll() is None
    if way == "eof":
        engine.process.stdin.close()
    else:
        engine.process.send_signal(signal.SIGTERM)
    engine.process.wait(timeout=20)


def test_its_memory_does_not_grow_with_the_length(engine, tmp_path):
    peaks = []
    for seconds in (20, 150):
        engine.separate(recording(tmp_path / f"{seconds}.wav", seconds), tmp_path / "out", precision="float32")
        peaks.append(engine.answer()[1]["done"]["peak_ram_bytes"])
    assert peaks[1] < peaks[0] * 1.1
    assert peaks[1] - peaks[0] < 150 * nets.RATE * 2 * 4  # less than one stem of the longer one


def test_the_process_has_the_allocator_it_needs(engine):
    engine.ask("describe", model="alone")
    environment = Path(f"/proc/{engine.process.pid}/environ").read_bytes().split(b"\0")
    assert b"MALLOC_ARENA_MAX=1" in environment
    assert any(entry.startswith(b"GLIBC_TUNABLES=") and b"hugetlb=1" in entry for entry in environment)
    assert b"OMP_NUM_THREADS=1" in environment
