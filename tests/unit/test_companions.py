"""Which files belong to a recording by name, and how they are seen until they have settled."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stemd.files import companions
from stemd.files.wanted import is_shared, wanted
from stemd.inbox import look
from stemd.model import Rule


def rule(folder: Path, **keys) -> Rule:
    own = {"review": folder / "_review", "failed": folder / "_failed", "archive": folder / "_done"}
    return Rule(name="r", inbox=folder, outbox=folder.parent / "out", **own, **keys)


def names(*made: str, folder: Path) -> None:
    for name in made:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


@pytest.mark.parametrize(
    "name, kind, base",
    [
        ("Song.cdg", ".cdg", "song"),
        ("Song.LRC", ".lrc", "song"),
        ("Song v1.2.lrc", ".lrc", "song v1.2"),
        ("film.Narration.wav", ".narration.wav", "film"),
        ("film.mp4", "", "film"),
        ("song.stem.m4a", "", "song"),
        (".lrc", "", ".lrc"),
        ("narration.wav", "", "narration"),
    ],
)
def test_names_tell_what_belongs_to_what(name: str, kind: str, base: str) -> None:
    assert (companions.kind_of(name), companions.base_of(name)) == (kind, base)


def test_accents_of_another_system_make_no_other_name(tmp_path: Path) -> None:
    names("Cafe\u0301.cdg", folder=tmp_path)
    assert list(companions.beside(tmp_path / "Caf\u00e9.mp3")) == [".cdg"]


def test_an_inbox_takes_no_companion_and_names_those_that_are_alone(tmp_path: Path) -> None:
    names(
        "a.mp3", "a.cdg", "a.lrc", "b.lrc", "sub/a.narration.wav", "sub/b.mp4", "sub/B.narration.wav", folder=tmp_path
    )
    seen = look(rule(tmp_path), 0.0)
    below = lambda paths: {os.fsdecode(path)[len(str(tmp_path)) + 1 :] for path in paths}  # noqa: E731
    assert below(seen.files) == {"a.mp3", "sub/b.mp4"}
    assert below(seen.alone) == {"b.lrc", "sub/a.narration.wav"}


def test_a_companion_is_timed_anew_when_it_changes(tmp_path: Path) -> None:
    names("a.mp3", "a.cdg", folder=tmp_path)
    journal = tmp_path / "journal.json"
    see = lambda now: [each.since for each in companions.sight([tmp_path / "a.mp3"], journal, now)]  # noqa: E731
    assert see(10.0) == [10.0]
    assert see(20.0) == [10.0]
    (tmp_path / "a.cdg").write_bytes(b"more")
    assert see(30.0) == [30.0]
    assert see(25.0) == [25.0]  # the clock was set back
    (tmp_path / "a.cdg").unlink()
    assert see(40.0) == []


def test_links_and_folders_are_no_companions(tmp_path: Path) -> None:
    names("a.mp3", "elsewhere/secret", "a.lrc/file", folder=tmp_path)
    (tmp_path / "a.cdg").symlink_to(tmp_path / "elsewhere/secret")
    assert companions.beside(tmp_path / "a.mp3") == {}
    assert companions.beside(tmp_path / "gone/a.mp3") == {}


@pytest.mark.parametrize(
    "other, keys, shared",
    [
        ("a.flac", {}, True),
        ("b.flac", {}, False),
        ("a.jpg", {"include": ("*.mp3", "*.flac")}, False),
        ("a.flac", {"exclude": ("sub/*.flac",)}, False),
        ("a.mp3.part", {}, False),
        ("a.lrc", {}, False),
    ],
)
def test_a_companion_may_belong_to_two(tmp_path: Path, other: str, keys: dict, shared: bool) -> None:
    names("sub/a.mp3", "sub/a.cdg", f"sub/{other}", folder=tmp_path)
    place = tmp_path / "sub"
    assert is_shared(place / "a.cdg", place / "a.mp3", b"sub/a.mp3", rule(tmp_path, **keys)) is shared


def test_patterns_do_not_make_a_companion_a_recording(tmp_path: Path) -> None:
    assert not wanted(b"a.narration.wav", rule(tmp_path, include=("*.wav",)))
    assert wanted(b"a.wav", rule(tmp_path, include=("*.wav",)))
