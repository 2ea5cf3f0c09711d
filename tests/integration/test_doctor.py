"""`stemd doctor` on this machine: real ffmpeg, real file systems, the embedded model."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from stemd.commands.doctor import doctor
from stemd.config import load
from stemd.doctor import Level, examine, folders, machine, programs, stores

RULE = '[daemon]\nstate_dir = "state"\n[[rule]]\nname = "a"\ninbox = "in"\noutbox = "out"\nmodel = "demo"\n'


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(RULE)
    return path


def stemd_doctor(*args):
    app = typer.Typer()
    app.command()(doctor)
    return CliRunner().invoke(app, [str(arg) for arg in args])


def test_a_fit_machine_is_found_fit_and_left_as_it_was(config, tmp_path):
    (tmp_path / "in").mkdir()
    result = stemd_doctor("--json", "-c", config)
    told = json.loads(result.stdout)
    problems = [finding for finding in told["findings"] if finding["level"] == "problem"]
    assert problems == []
    assert result.exit_code == 0
    areas = {finding["area"] for finding in told["findings"]}
    assert {"stemd", "config", "ffmpeg", "ffprobe", "processor", "memory", "clock", "torch", "SQLite"} <= areas
    assert {"state folder", "inbox a", "outbox a", "model demo"} <= areas
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["config.toml", "in"]


def test_what_is_wrong_is_said_with_what_to_do(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(RULE.replace('"in"', '"/no/share/in"').replace('"demo"', '"no-such-model"') + "shfts = 1\n")
    result = stemd_doctor("-c", path)
    assert result.exit_code == 1
    assert 'did you mean "shifts"?' in result.output
    assert "1 problems" in result.output

    path.write_text(path.read_text().replace("shfts = 1\n", ""))
    result = stemd_doctor("-c", path)
    assert result.exit_code == 1
    assert "/no/share/in is not there" in result.output
    assert "problem  model no-such-model" in result.output


def test_a_missing_configuration_is_a_finding(tmp_path):
    result = stemd_doctor("--json", "-c", tmp_path / "gone.toml")
    assert result.exit_code == 1
    assert any("does not exist" in finding["text"] for finding in json.loads(result.stdout)["findings"])


def test_no_configuration_at_all_is_a_finding(tmp_path, monkeypatch):
    if Path("/etc/stemd/config.toml").exists():
        pytest.skip("this machine has /etc/stemd/config.toml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STEMD_CONFIG", raising=False)
    result = stemd_doctor("--json")
    assert result.exit_code == 1
    assert any("no configuration" in finding["text"] for finding in json.loads(result.stdout)["findings"])


def test_a_folder_is_tried_and_left_clean(tmp_path):
    trial = folders.attempt(tmp_path)
    assert trial.fault == ""
    assert trial.exclusive
    assert trial.cases
    assert abs(trial.skew) < 1
    assert trial.free > 0
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_tells_why():
    assert folders.attempt(Path("/proc")).fault


def test_without_ffmpeg_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    found = list(programs.check({"wav"}))
    assert [(finding.area, finding.level) for finding in found] == [
        ("ffmpeg", Level.PROBLEM),
        ("ffprobe", Level.PROBLEM),
    ]
    assert all("apt-get install ffmpeg" in finding.advice for finding in found)


def test_a_broken_ffmpeg_is_told_apart_from_a_missing_one(monkeypatch, tmp_path):
    for name in ("ffmpeg", "ffprobe"):
        (tmp_path / name).write_text("#!/bin/sh\necho 'error while loading shared libraries' >&2\nexit 127\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert all("shared libraries" in finding.text for finding in programs.check({"wav"}))


def test_the_machine_is_described():
    assert {finding.area for finding in machine.check(0)} == {"processor", "memory", "inotify", "clock"}


def test_models_come_from_the_engine(config):
    (finding,) = stores.models(load(config))
    assert finding.level is Level.OK
    assert "vocals" in finding.text


def test_a_model_that_is_only_to_be_fetched_is_no_problem(config, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    config.write_text(RULE.replace('"demo"', '"htdemucs"'))
    (finding,) = stores.models(load(config))
    assert finding.level is Level.WARNING
    assert "jobs wait for it" in finding.text
    assert "stemd models fetch htdemucs" in finding.advice


def test_findings_come_as_they_are_known(config):
    first = next(iter(examine(lambda: config)))
    assert first.area == "stemd"
