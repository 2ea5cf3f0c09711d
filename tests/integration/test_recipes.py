"""README's recipes, as they are written there: each passes `stemd config check`, and makes the files that it promises.

The daemon, its stages, ffmpeg and the files are real; only folders and model are others, and the network is a fake.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import textwrap
import time
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from surroundings import RULE, TOP
from typer.testing import CliRunner
from workers import FakeWorkers

from stemd.commands.config import app
from stemd.config import load
from stemd.model import Rule
from stemd.service.daemon import Service

README = Path(__file__).parents[2] / "README.md"
BLOCKS = [
    textwrap.dedent(block)
    for _, block in re.findall(
        r"^( *)```toml\n(.*?)^\1```", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    if "[[rule]]" in block
]
SOURCES = ("drums", "bass", "other", "vocals")
SECONDS = 1.0
HERE = TOP + "cpu_jobs = 2\n" + RULE


def written(folder: Path, block: str) -> Path:
    path = folder / "config.toml"
    path.write_text(block)
    return path


def test_readme_has_recipes():
    assert len(BLOCKS) >= 4


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: re.search(r'name = "(.*?)"', block)[1])
def test_a_recipe_is_right_as_it_stands(tmp_path, block):
    told = CliRunner().invoke(app, ["check", "-c", str(written(tmp_path, block))])
    assert told.exit_code == 0, told.output + str(told.exception)
    assert "all right" in told.output
    assert "has no effect" not in told.output


def put_recording(rule: Rule, ffmpeg, *, film: bool) -> None:
    """A song with lyrics and graphics, or a film with a narration."""
    sound = ("-f", "lavfi", "-i", f"anoisesrc=d={SECONDS}:a=0.3:r=44100,aformat=channel_layouts=stereo")
    if film:
        ffmpeg("-f", "lavfi", "-i", f"testsrc=d={SECONDS}:s=64x64", *sound, "-c:a", "aac", rule.inbox / "Hit.mp4")
        ffmpeg(*sound, rule.inbox / "Hit.narration.wav")
    else:
        ffmpeg(*sound, rule.inbox / "Hit.flac")
        (rule.inbox / "Hit.lrc").write_text("[00:00.50]La")
        (rule.inbox / "Hit.cdg").write_bytes(bytes(96 * 300))
    if rule.ready == "marker":
        (rule.inbox / ("Hit.mp4.ready" if film else "Hit.flac.ready")).touch()


def promised(rule: Rule) -> set[str]:
    """Paths below the outbox that a rule's stems, format and names promise."""
    stems = SOURCES if rule.stems == ("all",) else rule.stems
    day = time.strftime("%Y-%m-%d")
    fields = {"track": "Hit", "ext": rule.format, "model": rule.model, "rule": rule.name, "parent": "", "date": day}
    return {rule.names.format(stem=stem, **fields) for stem in stems}


def seconds(path: Path) -> float:
    argv = ["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", path]
    return float(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)


@pytest.fixture
def rules(tmp_path, ffmpeg) -> list[Rule]:
    """The rules of all recipes with folders of their own, and a recording in each."""
    found = []
    for number, block in enumerate(BLOCKS):
        for rule in load(written(tmp_path, block)).rules:
            home = tmp_path / f"{number} {rule.name}"
            inbox = home / "in"
            inbox.mkdir(parents=True)
            (home / "out").mkdir()
            found.append(
                replace(
                    rule, name=f"{rule.name} {number}", inbox=inbox, outbox=home / "out", review=inbox / "_review",
                    failed=inbox / "_failed", archive=inbox / "_done", model="demo", settle=0.2,
                )
            )  # fmt: skip
            put_recording(found[-1], ffmpeg, film=rule.remux)
    return found


def listen_in(rules: list[Rule], programs: Path) -> None:
    """Stand in for the programs that hooks name and that are not installed here; each tells what it is told."""
    programs.mkdir()
    for name in {rule.hook.delivered[0] for rule in rules if rule.hook.delivered}:
        if shutil.which(name) is None and "/" not in name:
            (programs / name).write_text('#!/bin/sh\necho "$STEMD_TRACK" > "$STEMD_FOLDER/heard"\nls "$@"\n')
            (programs / name).chmod(0o755)


def test_recipes_make_what_they_promise(rules, tmp_path, monkeypatch):
    listen_in(rules, tmp_path / "programs")
    monkeypatch.setenv("PATH", str(tmp_path / "programs"), prepend=":")
    settings = replace(load(written(tmp_path, HERE)), rules=tuple(rules))
    assert Service(settings, once=True, pool=FakeWorkers()).run() == 0
    for rule in rules:
        made = {str(path.relative_to(rule.outbox)) for path in rule.outbox.rglob("*") if path.is_file()}
        assert promised(rule) <= made, f"{rule.name} makes only {made}"
        for name in promised(rule):
            assert seconds(rule.outbox / name) == pytest.approx(SECONDS, abs=0.1), f"{rule.name}: {name}"
        check_manifest(rule)
        if rule.remux:
            assert [name for name in made if name.endswith(".mp4")], f"{rule.name} makes only {made}"
        if "karaoke" in rule.name:
            assert {".lrc", ".cdg"} <= {Path(name).suffix for name in made}
        answers = {path.name for path in rule.inbox.iterdir() if path.is_file()}
        assert answers == ({"Hit.flac.done"} if rule.ready == "marker" else set())
        if rule.hook.delivered:
            assert [path.read_text() for path in rule.outbox.rglob("heard")] == ["Hit\n"]


def check_manifest(rule: Rule) -> None:
    (manifest,) = (path for path in rule.outbox.rglob("*.json") if "manifest" in path.name)
    for file in json.loads(manifest.read_text())["files"]:
        assert sha256((manifest.parent / file["name"]).read_bytes()).hexdigest() == file["sha256"]
