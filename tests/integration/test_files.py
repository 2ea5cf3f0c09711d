"""Copies, digests and facts on a real disk."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import resource
import signal
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from stemd import files
from stemd.errors import EnvironmentFault, StemdError, Stopping
from stemd.model import Mix, Source, Stage


@pytest.fixture
def big(tmp_path: Path) -> Path:
    path = tmp_path / "big"
    path.write_bytes(os.urandom(3_500_000))
    return path


def test_a_copy_is_hashed_on_the_way(big: Path, tmp_path: Path) -> None:
    told: list[int] = []
    with big.open("rb") as source:
        sha256, size = files.copy_hashing(source.fileno(), tmp_path / "copy", progress=told.append)
    assert size == told[-1] == 3_500_000
    assert sha256 == hashlib.sha256(big.read_bytes()).hexdigest() == files.digest(tmp_path / "copy")
    assert files.verify(tmp_path / "copy", sha256)
    assert told == sorted(told)
    assert len(told) > 2


def test_a_stopped_copy_leaves_nothing(big: Path, tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    with big.open("rb") as source, pytest.raises(Stopping):
        files.copy_hashing(source.fileno(), tmp_path / "copy", stop=stop)
    assert not (tmp_path / "copy").exists()


def test_an_unreadable_source_is_told_from_an_unwritable_target(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(IsADirectoryError):
        files.copy_hashing(folder, tmp_path / "copy")
    os.close(folder)
    with (tmp_path / "x").open("wb+") as source, pytest.raises(EnvironmentFault) as caught:
        files.copy_hashing(source.fileno(), tmp_path / "missing" / "copy", place="archive")
    assert caught.value.code == "archive-missing"


def test_a_copy_that_does_not_fit_leaves_nothing(big: Path, tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, before[1]))
        with big.open("rb") as source, pytest.raises(EnvironmentFault, match="size"):
            files.copy_hashing(source.fileno(), tmp_path / "copy")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert not (tmp_path / "copy").exists()


@pytest.mark.timeout(30)
def test_only_regular_files_are_read_and_nothing_else_is_waited_for(big: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(big)
    for name, number in (("pipe", errno.ENXIO), ("link", errno.ELOOP), ("", errno.ENXIO)):
        with pytest.raises(OSError, match=r"regular|symbolic") as caught:
            files.digest(tmp_path / name)
        assert caught.value.errno == number


def test_a_copy_never_writes_through_a_link(big: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"mine")
    (tmp_path / "copy").symlink_to(tmp_path / "precious")
    with big.open("rb") as source:
        files.copy_hashing(source.fileno(), tmp_path / "copy")
    assert (tmp_path / "precious").read_bytes() == b"mine"
    assert not (tmp_path / "copy").is_symlink()


@pytest.mark.parametrize(
    "number, code",
    [
        (errno.ENOSPC, "outbox-full"),
        (errno.EDQUOT, "outbox-full"),
        (errno.EROFS, "outbox-read-only"),
        (errno.EACCES, "outbox-read-only"),
        (errno.ENOENT, "outbox-missing"),
        (errno.ENOTCONN, "outbox-missing"),
        (errno.ESTALE, "outbox-missing"),
        (errno.EHOSTDOWN, "outbox-missing"),
        (errno.EIO, "outbox-failing"),
        (errno.EMFILE, "no-resources"),
    ],
)
def test_the_surroundings_faults_have_names_and_hints(number: int, code: str, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault) as caught, files.faults_in("outbox", tmp_path):
        raise OSError(number, os.strerror(number))
    assert caught.value.code == code
    assert caught.value.hint


def test_other_errors_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError), files.faults_in("outbox", tmp_path):
        raise IsADirectoryError(errno.EISDIR, "no")


def test_a_tree_is_dropped_without_following_links(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_bytes(b"x")
    (tmp_path / "tree" / "deep").mkdir(parents=True)
    (tmp_path / "tree" / "link").symlink_to(tmp_path / "kept")
    (tmp_path / "tree" / "deep" / os.fsdecode(b"\xff")).write_bytes(b"x")
    files.drop_tree(tmp_path / "tree")
    files.drop_tree(tmp_path / "tree")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (tmp_path / "kept" / "file").exists()


@pytest.mark.parametrize("where", ["tree", "tree/deep"])
def test_a_folder_that_becomes_a_link_while_it_is_dropped_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    exchanged = tmp_path / where
    for folder in (tmp_path / "kept", exchanged):
        folder.mkdir(parents=True)
        for name in ("a", "b"):
            (folder / name).write_bytes(b"x")
    really = os.unlink

    def exchange(path: str | Path, **keys: int) -> None:
        really(path, **keys)
        if not exchanged.is_symlink():
            exchanged.rename(tmp_path / "away")
            exchanged.symlink_to(tmp_path / "kept")

    monkeypatch.setattr(os, "unlink", exchange)
    with contextlib.suppress(OSError):
        files.drop_tree(tmp_path / "tree")
    assert (tmp_path / "away").exists()
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["a", "b"]


def test_what_vanishes_while_a_tree_is_dropped_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tree" / "deep").mkdir(parents=True)
    for name in ("a", "b"):
        (tmp_path / "tree" / "deep" / name).write_bytes(b"x")
    really = os.unlink

    def first(path: str | Path, **keys: int) -> None:
        really(path, **keys)
        really(path, **keys)

    monkeypatch.setattr(os, "unlink", first)
    files.drop_tree(tmp_path / "tree")
    assert not (tmp_path / "tree").exists()


SOURCE = Source("ogg", "opus", 48000, 6, "5.1", None, tags={"titel": "Für Élise\n"}, frames=7)
MIX = Mix(44100, 2, 100, -1e-9, 0.25, 1.5, SOURCE, 110, "a place")


def test_facts_come_back_as_they_were(tmp_path: Path) -> None:
    files.write_fact(tmp_path / "mix.json", MIX)
    assert files.read_fact(tmp_path / "mix.json", Mix) == MIX
    assert [path.name for path in tmp_path.iterdir()] == ["mix.json"]


@dataclass(frozen=True)
class Odd:
    path: bytes
    place: Path
    stage: Stage
    pairs: tuple[tuple[int, str], ...]
    either: int | str | None
    kind: Literal["a", "b"]
    ratio: float
    more: str = "default"


def test_bytes_paths_enums_and_unions_come_back(tmp_path: Path) -> None:
    fact = Odd(b"caf\xe9/\xff", Path(os.fsdecode(b"/x\xe9")), Stage.TAKE, ((1, "a"), (2, "b")), None, "b", 2)
    files.write_fact(tmp_path / "odd.json", fact)
    back = files.read_fact(tmp_path / "odd.json", Odd)
    assert back == fact
    assert isinstance(back.ratio, float)
    assert isinstance(back.stage, Stage)


def test_facts_of_older_and_newer_programs_are_read(tmp_path: Path) -> None:
    files.write_fact(tmp_path / "odd.json", Odd(b"", Path("x"), Stage.TAKE, (), "text", "a", 1.0))
    value = files.read_json(tmp_path / "odd.json")
    del value["more"]
    files.write_json(tmp_path / "odd.json", value | {"unheard of": 1})
    assert files.read_fact(tmp_path / "odd.json", Odd).more == "default"


@pytest.mark.parametrize("text", [None, b"", b"{", b"[]", b'{"sample_rate": "fast"}', b"\xff\xfe", b"null"])
def test_a_lost_fact_says_so(tmp_path: Path, text: bytes | None) -> None:
    path = tmp_path / "mix.json"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(StemdError) as caught:
        files.read_fact(path, Mix)
    assert caught.value.code == "lost-fact"
    assert str(path) in caught.value.message


def test_a_fact_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "fact.json"
    files.write_json(path, {"old": 1})

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EnvironmentFault) as caught:
        files.write_json(path, {"new": 2})
    assert caught.value.code == "state-full"
    assert files.read_json(path) == {"old": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["fact.json"]
