"""`stemd separate` and `stemd models` as a user runs them: the real song, the embedded model, real child processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stemd import wav
from stemd.demo import FOLDER, MODEL, SONG


@pytest.fixture
def stemd(tmp_path, monkeypatch) -> Any:
    """Run the command in an empty folder, without a configuration; returns the finished process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STEMD_CONFIG", str(tmp_path / "config.toml"))
    (tmp_path / "config.toml").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("STEMD_CONFIG")

    def run(*arguments: Any) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "stemd", *map(str, arguments)]
        return subprocess.run(argv, capture_output=True, text=True, check=False, cwd=tmp_path)

    (tmp_path / "config.toml").unlink()
    return run


@pytest.fixture
def short(tmp_path) -> Path:
    """Three seconds of sound at another rate, mono: what a recorder leaves."""
    path = tmp_path / os.fsdecode(b"caf\xe9 1.wav")
    time_axis = np.arange(3 * 48000) / 48000
    with wav.Writer(path, 48000, 1) as writer:
        writer.write((0.3 * np.sin(2 * np.pi * 220 * time_axis)).astype(np.float32)[None])
    return path


def frames(path: Path) -> tuple[int, int, int]:
    with wav.Reader(path) as reader:
        return reader.sample_rate, reader.channels, reader.frames


def test_separate_takes_any_file_and_leaves_stems_and_nothing_else(stemd, short, tmp_path):
    done = stemd("separate", short, "-o", tmp_path / "out", "--model", MODEL, "--stems", "vocals,no_vocals", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert sorted(report["files"]) == ["no_vocals", "vocals"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["no_vocals.wav", "vocals.wav"]
    for path in report["files"].values():
        assert frames(Path(path)) == (44100, 2, 3 * 44100)


@pytest.mark.parametrize("stems", ["vocals,no_vocals", "all"])
def test_separate_never_puts_a_stem_in_the_place_of_its_recording(stemd, short, tmp_path, stems):
    folder = tmp_path / "songs"
    folder.mkdir()
    recording = short.rename(folder / "vocals.wav")
    before = recording.read_bytes()
    done = stemd("separate", "songs/vocals.wav", "-o", "songs", "-m", MODEL, "--shifts", 0, "--stems", stems)
    assert done.returncode == 2
    assert "vocals.wav is the recording itself" in done.stderr
    assert "-o" in done.stderr
    assert list(folder.iterdir()) == [recording]
    assert recording.read_bytes() == before


def test_separate_tells_a_person_what_it_made(stemd, short, tmp_path):
    done = stemd("separate", short, "-o", "Live: a", "-m", MODEL, "--stems", "bass", "--shifts", 0, "--models", FOLDER)
    assert done.returncode == 0, done.stderr
    assert "Live: a/bass.wav" in done.stdout
    assert "x realtime" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments,status,words",
    [
        (["nowhere.wav", "-o", "out"], 1, "nowhere.wav"),
        ([SONG, "-o", "out", "-m", "demoo"], 2, "did you mean demo"),
        ([SONG, "-o", "out", "-m", MODEL, "--stems", "kazoo"], 2, "kazoo"),
        ([SONG, "-o", "out", "-m", "htdemucs"], 1, "stemd models fetch htdemucs"),
        ([SONG, "-o", "out", "-m", MODEL, "--precision", "float8"], 2, "float32"),
        ([SONG, "-o", "out", "-m", MODEL, "--overlap", "2"], 2, "overlap"),
        ([SONG], 2, "out"),
    ],
)
def test_an_error_is_two_lines_and_a_status(stemd, arguments, status, words, tmp_path):
    done = stemd("separate", *arguments)
    assert done.returncode == status
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("out/*"))


def test_ctrl_c_leaves_nothing(stemd, tmp_path):
    out = tmp_path / "out"
    argv = [sys.executable, "-m", "stemd", "separate", str(SONG), "-o", str(out), "-m", MODEL, "--shifts", "40"]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, cwd=tmp_path) as process:
        deadline = time.monotonic() + 60
        while not list(out.glob(".stemd-*/stems")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    assert process.returncode == 130
    assert b"Traceback" not in said
    assert not list(out.iterdir())


def test_the_demo_works_in_a_new_folder_only(stemd, tmp_path):
    (tmp_path / "config.toml").write_text("# mine")
    for folder, words in ((".", "is not empty"), ("config.toml", "cannot be used")):
        refused = stemd("demo", "--folder", folder)
        assert refused.returncode == 2
        assert words in refused.stderr
    assert (tmp_path / "config.toml").read_text() == "# mine"
    assert [path.name for path in tmp_path.iterdir()] == ["config.toml"]


def test_models_are_listed_and_verified(stemd, tmp_path):
    listed = json.loads(stemd("models", "list", "--json").stdout)
    here = {model["name"]: model["here"] for model in listed}
    assert here[MODEL]
    assert here["htdemucs_ft"] is False
    verified = stemd("models", "verify")
    assert verified.returncode == 0
    assert verified.stdout.startswith(f"{MODEL}: whole")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "bad-00000000.th").write_bytes(b"no weights")
    broken = stemd("models", "verify", "bad", "--models", tmp_path / "models")
    assert broken.returncode == 1
    assert "damaged" in broken.stdout
