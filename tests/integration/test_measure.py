"""`stemd measure` as a person or a script runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "daemon")}
RATE = 22050


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("stems")
    time = np.arange(4 * RATE) / RATE
    pitch = 2 * np.pi * np.cumsum(220 * 2 ** (0.05 * np.sin(2 * np.pi * 5 * time))) / RATE
    voice = sum(np.sin(k * pitch) / k for k in range(1, 20)) * 0.1
    band = 0.05 * np.random.default_rng(1).standard_normal(len(time)) * np.exp(-8 * (time % 0.5))
    stems = {"mix": voice + band, "vocals": voice, "clean": band, "leaky": band + 0.3 * voice}
    for name, sound in stems.items():
        soundfile.write(made / f"{name}.wav", np.stack([sound, sound], axis=1), RATE, "FLOAT")
    return made


def stemd(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "stemd", "measure", *arguments], cwd=folder, capture_output=True,
                          text=True, env=ENVIRONMENT, check=False)  # fmt: skip


def test_the_report_as_json(folder) -> None:
    done = stemd(folder, "mix.wav", "--vocals", "vocals.wav", "--accompaniment", "leaky.wav", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert report["verdict"] == "flagged"
    assert report["bleed_db"] == pytest.approx(-10.5, abs=2)
    assert report["score"] > -20
    assert set(report["stems"]) == {"vocals", "no_vocals"}
    assert {"rms_db", "peak_db"} <= set(report["stems"]["vocals"])
    assert {"metric", "start", "end", "value", "threshold", "text"} == set(report["flags"][0])


def test_for_people_with_a_picture(folder) -> None:
    done = stemd(folder, "mix.wav", "--vocals", "vocals.wav", "--accompaniment", "clean.wav", "--picture", "look.png")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("PASS: mix, 4.0 s")
    assert (folder / "look.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("share", [0.4, 0.5, 0.6])
def test_stems_that_are_both_the_mix_are_flagged(folder, share) -> None:
    mix, _ = soundfile.read(folder / "mix.wav")
    for name, part in (("some", share), ("rest", 1 - share)):
        soundfile.write(folder / f"{name}.wav", part * mix, RATE, "FLOAT")
    arguments = ("mix.wav", "--vocals", "some.wav", "--accompaniment", "rest.wav", "--json")
    report = json.loads(stemd(folder, *arguments).stdout)
    assert report["verdict"] == "flagged"
    said = "vocals and no_vocals are the same sound: nothing was separated"
    assert (said in [flag["text"] for flag in report["flags"]]) is (share == 0.5)


def test_a_flag_that_is_not_wanted(folder) -> None:
    arguments = ("mix.wav", "--vocals", "vocals.wav", "--accompaniment", "leaky.wav", "--json", "--ignore", "bleed")
    report = json.loads(stemd(folder, *arguments, "--ignore", "null").stdout)
    assert (report["verdict"], report["ignored"]) == ("pass", ["bleed", "null"])
    assert "no flag is called 'noise'" in stemd(folder, *arguments, "--ignore", "noise").stderr


def test_stems_by_name(folder) -> None:
    done = stemd(folder, "mix.wav", "--stem", "vocals=vocals.wav", "--stem", "no_vocals=clean.wav", "--json")
    assert json.loads(done.stdout)["verdict"] == "pass"


@pytest.mark.parametrize(
    "arguments, status, words",
    [
        (["mix.wav"], 2, "nothing to measure"),
        (["mix.wav", "--stem", "drums"], 2, "NAME=PATH"),
        (["gone.wav", "--vocals", "vocals.wav"], 1, "gone.wav"),
    ],
)
def test_mistakes_are_two_lines(folder, arguments, status, words) -> None:
    done = stemd(folder, *arguments)
    assert done.returncode == status
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 2


def test_the_command_itself_imports_no_numpy(folder) -> None:
    done = subprocess.run([sys.executable, "-X", "importtime", "-c", "import stemd.commands.measure"],
                          capture_output=True, text=True, env=ENVIRONMENT, check=True)  # fmt: skip
    assert "numpy" not in done.stderr
    assert "stemd.quality" not in done.stderr
