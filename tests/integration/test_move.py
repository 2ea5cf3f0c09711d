"""Moving a file of the user's where no rename can: to another file system, or another mount of the same one."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from stemd.errors import EnvironmentFault, Stopping
from stemd.files import digest
from stemd.files.move import move

TIMES = (1_000_000_000, 1_500_000_000)


@pytest.fixture
def song(tmp_path: Path) -> Path:
    """A recording of several blocks."""
    path = tmp_path / "in" / "song.wav"
    path.parent.mkdir()
    path.write_bytes(b"first take" * 300_000)
    os.utime(path, ns=TIMES)
    return path


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system."""
    if not os.access("/dev/shm", os.W_OK) or Path("/dev/shm").stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs a second file system")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.fixture
def bound(tmp_path: Path) -> Iterator[Path]:
    """A folder that is a mount of its own, as systemd's sandbox opens each."""
    folder = tmp_path / "bound"
    folder.mkdir()
    if subprocess.run(["mount", "--bind", folder, folder], capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Where the copy that is about to appear is noted."""
    return tmp_path / "moving.json"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_another_mount_of_the_same_disk_is_reached_by_a_copy(song: Path, bound: Path, journal: Path) -> None:
    assert song.stat().st_dev == bound.stat().st_dev
    sha256 = digest(song)
    move(song, bound / "song.wav", 7, journal, sha256)
    assert (names(song.parent), names(bound)) == ([], ["song.wav"])
    assert digest(bound / "song.wav") == sha256
    assert (bound / "song.wav").stat().st_mtime_ns == TIMES[1]


def test_a_copy_has_the_rights_and_the_owner_of_its_original(song: Path, archive: Path, journal: Path) -> None:
    seen: list[int] = []
    song.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(song, 65534, 65533)
    before = song.stat()
    umask = os.umask(0o022)
    try:
        move(
            song, archive / "song.wav", 7, journal,
            progress=lambda _: seen.append(next(archive.iterdir()).stat().st_mode),
        )  # fmt: skip
    finally:
        os.umask(umask)
    after = (archive / "song.wav").stat()
    assert {mode & 0o777 for mode in seen} == {0o600}
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


@pytest.mark.timeout(30)
def test_a_pipe_is_not_waited_for(song: Path, archive: Path, journal: Path) -> None:
    song.unlink()
    os.mkfifo(song)
    with pytest.raises(OSError, match="not a regular file"):
        move(song, archive / "song.wav", 7, journal)
    assert (names(song.parent), names(archive)) == (["song.wav"], [])


def test_a_file_system_without_rights_is_moved_to(
    song: Path, archive: Path, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    for call in ("fchown", "fchmod"):
        monkeypatch.setattr(os, call, refuse)
    move(song, archive / "song.wav", 7, journal)
    assert (archive / "song.wav").stat().st_mtime_ns == TIMES[1]


def test_a_copy_that_cannot_have_its_owner_may_be_read_by_its_group(
    song: Path, archive: Path, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    song.chmod(0o600)
    really = os.fchown

    def fchown(descriptor: int, user: int, group: int) -> None:
        if user != -1:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        really(descriptor, user, group)

    monkeypatch.setattr(os, "fchown", fchown)
    move(song, archive / "song.wav", 7, journal)
    assert (archive / "song.wav").stat().st_mode & 0o777 == 0o660


def test_what_is_saved_under_the_name_meanwhile_stays(song: Path, archive: Path, journal: Path) -> None:
    sha256 = digest(song)

    def save(_: int) -> None:
        part = song.with_name(".part")
        part.write_bytes(b"second take")
        part.replace(song)

    move(song, archive / "song.wav", 7, journal, sha256, progress=save)
    assert song.read_bytes() == b"second take"
    assert digest(archive / "song.wav") == sha256


def test_what_is_saved_with_the_same_size_and_time_stays(song: Path, archive: Path, journal: Path) -> None:
    def save(_: int) -> None:
        part = song.with_name(".part")
        part.write_bytes(b"other take" * 300_000)
        os.utime(part, ns=TIMES)
        part.replace(song)

    move(song, archive / "song.wav", 7, journal, progress=save)
    assert song.read_bytes()[:10] == b"other take"


def test_what_is_taken_away_meanwhile_is_kept(song: Path, archive: Path, journal: Path) -> None:
    move(song, archive / "song.wav", 7, journal, digest(song), progress=lambda _: song.unlink(missing_ok=True))
    assert names(archive) == ["song.wav"]


def test_what_is_written_to_meanwhile_is_moved_later(song: Path, archive: Path, journal: Path) -> None:
    def write(_: int) -> None:
        with song.open("r+b") as file:
            file.write(b"mixed")

    with pytest.raises(EnvironmentFault) as caught:
        move(song, archive / "song.wav", 7, journal, progress=write)
    assert caught.value.code == "inbox-busy"
    assert (names(song.parent), names(archive)) == (["song.wav"], [])


def test_another_content_than_the_job_s_is_not_moved(song: Path, archive: Path, journal: Path) -> None:
    with pytest.raises(EnvironmentFault) as caught:
        move(song, archive / "song.wav", 7, journal, "5" * 64)
    assert caught.value.code == "archive-failing"
    assert (names(song.parent), names(archive)) == (["song.wav"], [])


def test_a_stopped_copy_leaves_nothing(song: Path, archive: Path, journal: Path) -> None:
    stop = threading.Event()
    with pytest.raises(Stopping):
        move(song, archive / "song.wav", 7, journal, stop=stop, progress=lambda _: stop.set())
    assert (names(song.parent), names(archive)) == (["song.wav"], [])


def test_a_repeat_replaces_what_a_kill_has_left(song: Path, archive: Path, journal: Path) -> None:
    for _ in range(2):
        child = os.fork()
        if not child:
            move(song, archive / "song.wav", 7, journal, progress=lambda _: os._exit(77))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 77
        assert len(names(archive)) == 1
    move(song, archive / "song.wav", 7, journal)
    assert (names(song.parent), names(archive)) == ([], ["song.wav"])


def test_a_name_that_is_taken_costs_no_copy(song: Path, archive: Path, journal: Path) -> None:
    (archive / "song.wav").write_bytes(b"in the way")
    told: list[int] = []
    with pytest.raises(FileExistsError):
        move(song, archive / "song.wav", 7, journal, progress=told.append)
    assert (archive / "song.wav").read_bytes() == b"in the way"
    assert (names(song.parent), names(archive), told) == (["song.wav"], ["song.wav"], [])


def test_a_kill_before_the_original_is_removed_costs_no_second_copy(
    song: Path, archive: Path, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha256, told = digest(song), []
    child = os.fork()
    if not child:
        monkeypatch.setattr("stemd.files.move.sync_folder", lambda _: os._exit(77))
        move(song, archive / "song.wav", 7, journal, sha256)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 77
    assert (names(song.parent), names(archive)) == (["song.wav"], ["song.wav"])
    held = os.open(archive, os.O_PATH)  # the folder, by another way
    move(song, Path(f"/proc/self/fd/{held}/song.wav"), 7, journal, sha256, progress=told.append)
    os.close(held)
    assert (names(song.parent), names(archive), told) == ([], ["song.wav"], [])
    assert digest(archive / "song.wav") == sha256


def test_another_file_with_the_same_content_is_no_copy_of_an_earlier_try(
    song: Path, archive: Path, journal: Path
) -> None:
    shutil.copy2(song, archive)
    with pytest.raises(FileExistsError):
        move(song, archive / "song.wav", 7, journal)
    assert song.exists()


def test_what_was_saved_since_the_copy_appeared_stays(
    song: Path, archive: Path, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as cut_off:
        cut_off.setattr("stemd.files.move._remove", lambda *_: None)
        move(song, archive / "song.wav", 7, journal)
    song.write_bytes(b"second take")
    with pytest.raises(FileExistsError):
        move(song, archive / "song.wav", 7, journal)
    assert song.read_bytes() == b"second take"
