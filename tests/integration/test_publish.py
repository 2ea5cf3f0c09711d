"""Publishing on real file systems: at once, durably, beside what is there, and once, wherever it is killed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from stemd.errors import EnvironmentFault, StemdError, Stopping
from stemd.files import disk, names, plan, publish, rename, renaming, withdraw
from stemd.files.publish import Item, Shelf

STEMS = ("vocals", "no_vocals", "manifest")
FOLDER = "{track}/{stem}.{ext}"
FLAT = "{track} ({stem}).{ext}"
FIELDS = {"track": "Song", "ext": "flac", "model": "m", "rule": "r", "date": "d"}


def items(
    folder: Path, template: str = FOLDER, *, track: str = "Song", below: tuple[str, ...] = (), size: int = 5000
) -> list[Item]:
    folder.mkdir(exist_ok=True, parents=True)
    found = []
    for stem, place in names.places(template, STEMS, FIELDS | {"track": track}, below).items():
        content = (stem * size).encode()[:size]
        file = folder / stem
        file.write_bytes(content)
        found.append(Item(file, place, hashlib.sha256(content).hexdigest(), size))
    return found


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    (tmp_path / "out").mkdir()
    (tmp_path / "work").mkdir()
    return Shelf(tmp_path / "out", tmp_path / "work" / "outbox.json", job=7)


def content(folder: Path) -> dict[str, int]:
    """All files with their sizes."""
    return {
        str(path.relative_to(folder)): path.lstat().st_size for path in sorted(folder.rglob("*")) if not path.is_dir()
    }


def another(shelf: Shelf, number: int) -> Shelf:
    return replace(shelf, journal=shelf.journal.with_name(f"{number}.json"), job=number)


def test_a_tracks_folder_appears_with_all_that_it_holds(shelf: Shelf, tmp_path: Path) -> None:
    artifacts = publish.publish(shelf, items(tmp_path / "made", below=("Album",)))
    assert content(shelf.folder) == {f"Album/Song/{stem}.flac": 5000 for stem in STEMS}
    for artifact in artifacts:
        path = Path(os.fsdecode(artifact.path))
        assert hashlib.sha256(path.read_bytes()).hexdigest() == artifact.sha256
        assert artifact.size == 5000
    assert [path.name for path in shelf.folder.iterdir()] == ["Album"]
    assert publish.resume(shelf) == artifacts


def test_a_repeat_answers_with_what_is_there(shelf: Shelf, tmp_path: Path) -> None:
    made = items(tmp_path / "made")
    assert publish.publish(shelf, made) == publish.publish(shelf, made)
    assert len(content(shelf.folder)) == 3


@pytest.mark.parametrize("template, second", [(FOLDER, "Song (2)/vocals.flac"), (FLAT, "Song (vocals) (2).flac")])
def test_what_is_there_is_never_touched(shelf: Shelf, tmp_path: Path, template: str, second: str) -> None:
    publish.publish(shelf, items(tmp_path / "made", template))
    before = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in shelf.folder.rglob("*") if path.is_file()}
    publish.publish(another(shelf, 8), items(tmp_path / "made", template))
    assert second in content(shelf.folder)
    assert len(content(shelf.folder)) == 6
    assert all((path.stat().st_ino, path.stat().st_mtime_ns) == known for path, known in before.items())


def test_one_taken_name_numbers_the_whole_flat_set(shelf: Shelf, tmp_path: Path) -> None:
    (shelf.folder / "Song (no_vocals).flac").write_bytes(b"mine")
    publish.publish(shelf, items(tmp_path / "made", FLAT))
    assert set(content(shelf.folder)) == {"Song (no_vocals).flac", *(f"Song ({stem}) (2).flac" for stem in STEMS)}
    assert (shelf.folder / "Song (no_vocals).flac").read_bytes() == b"mine"


def test_names_that_some_system_takes_for_one_are_told_apart(shelf: Shelf, tmp_path: Path) -> None:
    for number, track in enumerate(["Song", "SONG", "song", "Café", "Cafe\u0301"]):
        publish.publish(another(shelf, number), items(tmp_path / "made", track=track))
    found = {path.name for path in shelf.folder.iterdir()}
    assert found == {"Song", "SONG (2)", "song (3)", "Café", "Cafe\u0301 (2)"}


def test_a_file_or_a_link_in_the_way_of_a_folder_is_left_alone(shelf: Shelf, tmp_path: Path) -> None:
    (shelf.folder / "Album").write_bytes(b"a file")
    (shelf.folder / "Away").symlink_to(tmp_path)
    publish.publish(shelf, items(tmp_path / "made", below=("Album",)))
    publish.publish(another(shelf, 8), items(tmp_path / "made", below=("Away",)))
    assert {"Album (2)/Song/vocals.flac", "Away (2)/Song/vocals.flac"} <= set(content(shelf.folder))
    assert not (tmp_path / "Song").exists()


def test_names_that_are_not_utf8_are_kept(shelf: Shelf, tmp_path: Path) -> None:
    artifacts = publish.publish(shelf, items(tmp_path / "made", track=os.fsdecode(b"caf\xe9")))
    assert [os.fsencode(path.name) for path in shelf.folder.iterdir()] == [b"caf\xe9"]
    assert artifacts[0].path == os.fsencode(shelf.folder) + b"/caf\xe9/vocals.flac"


def test_where_such_names_are_refused_they_are_replaced(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> set[str]:
        if "\udce9" in str(path):
            raise OSError(errno.EILSEQ, os.strerror(errno.EILSEQ))
        return set()

    made = items(tmp_path / "made", track=os.fsdecode(b"caf\xe9"))
    real = plan.with_names

    def picky(state, moves, files, folder):
        for move in moves:
            refuse(move.target)
        return real(state, moves, files, folder)

    monkeypatch.setattr(publish, "with_names", picky)
    publish.publish(shelf, made)
    assert [path.name for path in shelf.folder.iterdir()] == ["caf_"]


@pytest.mark.parametrize("kind", ["renameat2", "links", "nothing"])
def test_file_systems_without_the_newer_calls(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EINVAL, "no")

    if kind != "renameat2":
        monkeypatch.setattr(rename, "_by_kernel", refuse)
    if kind == "nothing":
        monkeypatch.setattr(Path, "hardlink_to", refuse)
    for number, template in enumerate([FOLDER, FOLDER, FLAT, FLAT]):
        publish.publish(another(shelf, number), items(tmp_path / "made", template))
    assert len(content(shelf.folder)) == 12
    assert set(content(shelf.folder).values()) == {5000}
    target = shelf.folder / "Song"
    with pytest.raises(FileExistsError):
        rename.rename_noreplace(shelf.folder / "Song (2)", target)
    with pytest.raises(FileExistsError):
        rename.rename_noreplace(target / "vocals.flac", target / "no_vocals.flac")


def test_a_changed_local_file_is_not_published(shelf: Shelf, tmp_path: Path) -> None:
    made = items(tmp_path / "made")
    made[0].file.write_bytes(b"something else")
    with pytest.raises(StemdError) as caught:
        publish.publish(shelf, made)
    assert caught.value.code == "lost-delivery"
    assert list(shelf.folder.iterdir()) == []


def test_what_reads_back_differently_is_not_published(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "verify", lambda *_, **__: False)
    with pytest.raises(EnvironmentFault) as caught:
        publish.publish(shelf, items(tmp_path / "made"))
    assert caught.value.code == "outbox-failing"
    assert list(shelf.folder.iterdir()) == []


def test_a_failed_sync_starts_over(shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    made = items(tmp_path / "made")
    with monkeypatch.context() as broken:
        real = os.fsync
        broken.setattr(
            disk.os,
            "fsync",
            lambda fd: fail(fd) if "/out/" in str(Path(f"/proc/self/fd/{fd}").readlink()) else real(fd),
        )
        with pytest.raises(EnvironmentFault) as caught:
            publish.publish(shelf, made)
    assert caught.value.code == "outbox-failing"
    assert list(shelf.folder.iterdir()) == []
    publish.publish(shelf, made)
    assert len(content(shelf.folder)) == 3


def test_stopping_leaves_nothing_visible(shelf: Shelf, tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopping):
        publish.publish(replace(shelf, stop=stop), items(tmp_path / "made"))
    assert list(shelf.folder.iterdir()) == []


def test_a_missing_outbox_is_named_and_never_made(shelf: Shelf, tmp_path: Path) -> None:
    gone = replace(shelf, folder=tmp_path / "gone")
    with pytest.raises(EnvironmentFault) as caught:
        publish.publish(gone, items(tmp_path / "made"))
    assert caught.value.code == "outbox-missing"
    assert str(tmp_path / "gone") in caught.value.message
    assert not gone.folder.exists()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("needs the right to mount")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_outbox_is_told_and_left_as_it_was_and_resumed(shelf: Shelf, tmp_path: Path, small: Path) -> None:
    made = items(tmp_path / "made", size=15_000)
    (small / "filler").write_bytes(bytes(30_000))
    shelf = replace(shelf, folder=small)
    for _ in range(2):
        with pytest.raises(EnvironmentFault) as caught:
            publish.publish(shelf, made)
        assert caught.value.code == "outbox-full"
        assert str(small) in caught.value.message
        assert [path.name for path in small.iterdir()] == ["filler"]
    (small / "filler").unlink()
    publish.publish(shelf, made)
    assert content(small) == {f"Song/{stem}.flac": 15_000 for stem in STEMS}


def test_a_read_only_outbox_is_told_and_resumed(shelf: Shelf, tmp_path: Path, small: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small], check=True)
    shelf = replace(shelf, folder=small)
    with pytest.raises(EnvironmentFault) as caught:
        publish.publish(shelf, items(tmp_path / "made"))
    assert caught.value.code == "outbox-read-only"
    subprocess.run(["mount", "-o", "remount,rw", small], check=True)
    publish.publish(shelf, items(tmp_path / "made"))
    assert len(content(small)) == 3


def test_a_mount_below_the_outbox_is_published_to(shelf: Shelf, tmp_path: Path, small: Path) -> None:
    publish.publish(replace(shelf, folder=tmp_path / "out"), items(tmp_path / "made"))
    publish.publish(replace(another(shelf, 8), folder=tmp_path), items(tmp_path / "made", below=("small",)))
    assert set(content(small)) == {f"Song/{stem}.flac" for stem in STEMS}


def test_a_folder_of_the_same_disk_mounted_below_the_outbox_is_published_to(shelf: Shelf, tmp_path: Path) -> None:
    album = shelf.folder / "Album"
    album.mkdir()
    if subprocess.run(["mount", "--bind", album, album], capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount")
    try:
        assert album.stat().st_dev == shelf.folder.stat().st_dev
        publish.publish(shelf, items(tmp_path / "made", below=("Album",)))
        assert set(content(shelf.folder)) == {f"Album/Song/{stem}.flac" for stem in STEMS}
        assert publish.withdraw(shelf)
    finally:
        subprocess.run(["umount", "-l", album], check=True)


def test_a_share_that_is_not_mounted_does_not_pass_for_delivered(shelf: Shelf, tmp_path: Path, small: Path) -> None:
    made = items(tmp_path / "made")
    shelf = replace(shelf, folder=small)
    publish.publish(shelf, made)
    subprocess.run(["umount", small], check=True)
    publish.publish(shelf, made)  # into the mount point: nothing tells it from an empty disk
    assert len(content(small)) == 3
    subprocess.run(["mount", "-t", "tmpfs", "none", small], check=True)  # for the fixture


def failing_looks(monkeypatch: pytest.MonkeyPatch, ending: str, number: int, why: int) -> None:
    """Have the number-th look at what is called so fail, once."""
    real, looks = os.lstat, count(1)

    def lstat(path, **more):
        if os.fsdecode(path).endswith(ending) and next(looks) == number:
            raise OSError(why, os.strerror(why), path)
        return real(path, **more)

    monkeypatch.setattr(os, "lstat", lstat)


@pytest.mark.parametrize("why", [errno.ESTALE, errno.EIO])
@pytest.mark.parametrize("begun, look", [(False, 1), (True, 1), (True, 2)])
def test_a_failed_look_does_not_pass_for_delivered(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: bool, look: int, why: int
) -> None:
    def fail(*_: object) -> None:
        raise OSError(why, os.strerror(why))

    made = items(tmp_path / "made")
    if begun:
        with monkeypatch.context() as broken:
            broken.setattr(renaming, "rename_noreplace", fail)
            with pytest.raises(EnvironmentFault):
                publish.publish(shelf, made)
    with monkeypatch.context() as broken, contextlib.suppress(EnvironmentFault):
        failing_looks(broken, "/0", look, why)
        publish.publish(shelf, made)
    publish.publish(shelf, made)
    assert len(content(shelf.folder)) == 3


def test_an_outbox_that_goes_away_before_the_renaming_does_not_pass_for_delivered(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unmounted(*arguments):
        state = with_names(*arguments)
        shelf.folder.rename(tmp_path / "share")
        shelf.folder.mkdir()
        return state

    made, with_names = items(tmp_path / "made"), plan.with_names
    with monkeypatch.context() as broken:
        broken.setattr(publish, "with_names", unmounted)
        with pytest.raises(EnvironmentFault) as caught:
            publish.publish(shelf, made)
    assert caught.value.code == "outbox-missing"
    shelf.folder.rmdir()
    (tmp_path / "share").rename(shelf.folder)
    publish.publish(shelf, made)
    assert set(content(shelf.folder)) == {f"Song/{stem}.flac" for stem in STEMS}


def test_what_was_taken_away_after_the_renaming_counts_as_delivered(shelf: Shelf, tmp_path: Path) -> None:
    made = items(tmp_path / "made")
    publish.publish(shelf, made)
    (shelf.folder / "Song").rename(tmp_path / "fetched")
    publish.publish(shelf, made)
    assert content(shelf.folder) == {}


def test_what_was_taken_away_before_the_renaming_was_written_down_counts_as_delivered(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(journal: Path, state: plan.Plan) -> plan.Plan:
        if state.phase == "renamed":
            raise EnvironmentFault("state-full", "no space left", "free some space")
        return plan.remember(journal, state)

    made = items(tmp_path / "made")
    with monkeypatch.context() as broken:
        broken.setattr(renaming, "remember", full)
        with pytest.raises(EnvironmentFault):
            publish.publish(shelf, made)
    (shelf.folder / "Song").rename(tmp_path / "fetched")
    publish.publish(shelf, made)
    assert list(shelf.folder.iterdir()) == []


@pytest.mark.parametrize("template", [FOLDER, FLAT])
def test_unfinished_work_that_somebody_deletes_is_written_anew(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, template: str
) -> None:
    def delete(temp: Path, target: Path) -> None:
        shutil.rmtree(temp.parent)
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(target))

    made = items(tmp_path / "made", template)
    with monkeypatch.context() as broken:
        broken.setattr(renaming, "rename_noreplace", delete)
        with pytest.raises(EnvironmentFault):
            publish.publish(shelf, made)
    assert publish.resume(shelf) == ()
    publish.publish(shelf, made)
    assert len(content(shelf.folder)) == 3


def recorded_by_an_earlier_version(shelf: Shelf) -> None:
    """Have the journal say of a whole publication what it said before there was "renamed"."""
    state = plan.remembered(shelf.journal)
    assert state is not None
    plan.remember(shelf.journal, replace(state, phase="renaming"))


@pytest.mark.parametrize("change", ["edit", "remove"])
@pytest.mark.parametrize("template, vocals", [(FOLDER, "Song/vocals.flac"), (FLAT, "Song (vocals).flac")])
def test_what_an_earlier_version_published_counts_as_delivered_though_a_part_was_changed(
    shelf: Shelf, tmp_path: Path, template: str, vocals: str, change: str
) -> None:
    made = items(tmp_path / "made", template)
    artifacts = publish.publish(shelf, made)
    recorded_by_an_earlier_version(shelf)
    if change == "edit":
        (shelf.folder / vocals).write_bytes(b"edited")
    else:
        (shelf.folder / vocals).unlink()
    before = content(shelf.folder)
    assert publish.resume(shelf) == artifacts
    assert publish.publish(shelf, made) == artifacts
    assert content(shelf.folder) == before


@pytest.mark.parametrize("template", [FOLDER, FLAT])
def test_anothers_things_by_the_same_names_do_not_pass_for_delivered(
    shelf: Shelf, tmp_path: Path, template: str
) -> None:
    made = items(tmp_path / "made", template)
    publish.publish(shelf, made)
    recorded_by_an_earlier_version(shelf)
    for path in shelf.folder.iterdir():
        path.rename(tmp_path / path.name)
    publish.publish(another(shelf, 8), items(tmp_path / "other", template, size=400))
    assert publish.resume(shelf) == ()
    publish.publish(shelf, made)
    assert sorted(content(shelf.folder).values()) == [400] * 3 + [5000] * 3


def test_a_withdrawal_takes_all_of_it(shelf: Shelf, tmp_path: Path) -> None:
    for template in (FOLDER, FLAT):
        publish.publish(shelf, items(tmp_path / "made", template))
        (shelf.folder / "mine").write_bytes(b"stays")
        assert publish.withdraw(shelf)
        assert content(shelf.folder) == {"mine": 5}
        assert publish.withdraw(shelf)


def test_a_failed_look_does_not_pass_for_withdrawn(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish.publish(shelf, items(tmp_path / "made"))
    with monkeypatch.context() as broken:
        failing_looks(broken, "/Song", 1, errno.ESTALE)
        with pytest.raises(EnvironmentFault):
            publish.withdraw(shelf)
    assert publish.withdraw(shelf)
    assert content(shelf.folder) == {}


def failing_reads(monkeypatch: pytest.MonkeyPatch, number: int, error: int = errno.ETIMEDOUT) -> None:
    """Have the number-th reading of a published file fail."""
    reads = count(1)

    def verify(path: Path, sha256: str, **more) -> bool:
        if next(reads) == number:
            raise OSError(error, os.strerror(error), str(path))
        return disk.verify(path, sha256, **more)

    monkeypatch.setattr(plan, "verify", verify)


@pytest.mark.parametrize("template", [FOLDER, FLAT])
@pytest.mark.parametrize("number", range(1, 7))
def test_a_failed_reading_is_no_change_and_the_withdrawal_goes_on(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, template: str
) -> None:
    publish.publish(shelf, items(tmp_path / "made", template))
    with monkeypatch.context() as broken:
        failing_reads(broken, number)
        with pytest.raises(EnvironmentFault) as caught:
            publish.withdraw(shelf)
    assert caught.value.code == "outbox-failing"
    assert publish.withdraw(shelf)
    assert list(shelf.folder.iterdir()) == []


@pytest.mark.parametrize("number", range(1, 7))
def test_a_copy_that_an_ended_job_cannot_take_back_stays_where_it_is_seen(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    publish.publish(shelf, items(tmp_path / "made"))
    with monkeypatch.context() as broken:
        failing_reads(broken, number)
        assert not publish.abandon(shelf.journal, published=True)
    assert [path.name for path in shelf.folder.iterdir()] == ["Song"]
    assert len(content(shelf.folder)) == 3


@pytest.mark.parametrize("number", range(1, 7))
def test_what_a_listener_has_made_private_is_changed(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    publish.publish(shelf, items(tmp_path / "made"))
    with monkeypatch.context() as broken:
        failing_reads(broken, number, errno.EACCES)
        assert not publish.withdraw(shelf)
    assert len(content(shelf.folder / "Song")) == 3


@pytest.mark.parametrize("change", ["edit", "add", "remove"])
def test_a_changed_publication_is_not_withdrawn(shelf: Shelf, tmp_path: Path, change: str) -> None:
    publish.publish(shelf, items(tmp_path / "made"))
    song = shelf.folder / "Song"
    if change == "edit":
        (song / "vocals.flac").write_bytes(b"x" * 5000)
    elif change == "add":
        (song / "my notes.txt").write_bytes(b"loud")
    else:
        (song / "vocals.flac").unlink()
    before = content(shelf.folder)
    assert not publish.withdraw(shelf)
    assert content(shelf.folder) == before


def saved_by_a_listener(song: Path) -> dict[str, int]:
    (song / "my notes.txt").write_bytes(b"loud")
    (song / "vocals.flac").write_bytes(b"edited")
    return content(song)


def test_what_is_saved_while_a_withdrawal_waits_stays(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def held(*_: object) -> None:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    publish.publish(shelf, items(tmp_path / "made"))
    with monkeypatch.context() as busy:
        busy.setattr(Path, "rename", held)
        with pytest.raises(EnvironmentFault):
            publish.withdraw(shelf)
    before = saved_by_a_listener(shelf.folder / "Song")
    for _ in range(2):
        assert not publish.withdraw(shelf)
        assert [path.name for path in shelf.folder.iterdir()] == ["Song"]
        assert content(shelf.folder / "Song") == before


@pytest.mark.parametrize("name, given_back", [("Other", "Song"), ("SONG", "Song (2)")])
def test_what_is_saved_at_the_last_moment_of_a_withdrawal_is_given_back(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, given_back: str
) -> None:
    saved: dict[str, int] = {}
    take_away = withdraw._take_away

    def late(state: plan.Plan) -> None:
        saved.update(saved_by_a_listener(shelf.folder / "Song"))
        take_away(state)
        publish.publish(another(shelf, 8), items(tmp_path / "other", track=name))

    publish.publish(shelf, items(tmp_path / "made"))
    with monkeypatch.context() as busy:
        busy.setattr(withdraw, "_take_away", late)
        assert not publish.withdraw(shelf)
    assert {path.name for path in shelf.folder.iterdir()} == {name, given_back}
    assert content(shelf.folder / given_back) == saved
    assert not publish.withdraw(shelf)


def taken_away(shelf: Shelf) -> Path:
    """Have a withdrawal be killed when all is away; gives the temporary folder."""
    state = plan.remembered(shelf.journal)
    assert state is not None
    withdraw._take_away(plan.remember(shelf.journal, replace(state, phase="withdrawing")))
    return state.root


@pytest.mark.parametrize("template, deleted", [(FOLDER, "0/vocals.flac"), (FOLDER, "0"), (FLAT, "0")])
def test_a_withdrawal_that_an_earlier_version_half_deleted_is_finished(
    shelf: Shelf, tmp_path: Path, template: str, deleted: str
) -> None:
    publish.publish(shelf, items(tmp_path / "made", template))
    disk.drop_tree(taken_away(shelf) / deleted)
    assert publish.withdraw(shelf)
    assert list(shelf.folder.iterdir()) == []


def test_what_a_listener_saved_into_a_half_deleted_copy_is_given_back(shelf: Shelf, tmp_path: Path) -> None:
    publish.publish(shelf, items(tmp_path / "made"))
    half = taken_away(shelf) / "0"
    (half / "no_vocals.flac").unlink()
    before = saved_by_a_listener(half)
    assert not publish.withdraw(shelf)
    assert content(shelf.folder / "Song") == before


def test_a_copy_that_a_listener_saved_into_outlives_an_ended_job_though_its_share_was_away(
    shelf: Shelf, tmp_path: Path
) -> None:
    publish.publish(shelf, items(tmp_path / "made"))
    before = saved_by_a_listener(taken_away(shelf) / "0")
    shelf.folder.rename(tmp_path / "away")
    assert not publish.abandon(shelf.journal, published=True)
    (tmp_path / "away").rename(shelf.folder)
    assert not publish.abandon(shelf.journal, published=True)
    assert content(shelf.folder / "Song") == before


def test_a_changed_copy_that_is_given_back_survives_a_kill_anywhere(quick: Path) -> None:
    for number in range(1, 500):
        place = quick / str(number)
        (place / "out").mkdir(parents=True)
        shelf = Shelf(place / "out", place / "journal.json", job=7)
        publish.publish(shelf, items(place / "made", size=100))
        before = saved_by_a_listener(taken_away(shelf) / "0")
        was_killed = killed_at(number, partial(publish.withdraw, shelf))
        assert not publish.withdraw(shelf)
        assert content(shelf.folder / "Song") == before
        if not was_killed:
            break
    assert 5 < number < 499


KILLED = 77
EFFECTS = {"open", "write", "mkdir", "rename", "replace", "link", "unlink", "rmdir", "fsync"}
"""A death before any other call is a death before the next of these."""


@pytest.fixture
def quick(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: hundreds of deaths need no disk."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def killed_at(number: int, act) -> bool:
    """Run `act` in a fork that dies, as by SIGKILL, right before its number-th effect on the disk; whether it did."""
    child = os.fork()
    if child:
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in {0, KILLED}, f"the child failed at call {number}"
        return status == KILLED
    calls = 0

    def count(_frame: object, event: str, function: object) -> None:
        nonlocal calls
        if (event == "c_call" and getattr(function, "__module__", None) == "posix") or function is rename._renameat2:
            calls += 1
            if calls == number:
                os._exit(KILLED)

    try:
        sys.setprofile(count)
        act()
        sys.setprofile(None)
    except BaseException:  # noqa: BLE001 - a fork of the test's process must not go on
        os._exit(1)
    os._exit(0)


@pytest.mark.parametrize("template", [FOLDER, FLAT])
@pytest.mark.parametrize("modern", [True, False])
def test_killed_anywhere_it_publishes_once(
    quick: Path, monkeypatch: pytest.MonkeyPatch, template: str, modern: bool
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EINVAL, "no")

    if not modern:
        monkeypatch.setattr(rename, "_by_kernel", refuse)
    monkeypatch.setattr(os, "fsync", lambda _: None)  # for speed: no power is cut here
    for number in range(1, 2000):
        place = quick / str(number)
        (place / "out").mkdir(parents=True)
        shelf = Shelf(place / "out", place / "journal.json", job=7)
        made = items(place / "made", template, below=("Album",), size=100)
        (place / "out" / "Album").mkdir()
        (place / "out" / "Album" / "Song").write_bytes(b"in the way")
        was_killed = killed_at(number, partial(publish.publish, shelf, made))
        seen = [name for name in content(shelf.folder) if not name.startswith(".stemd-") and name != "Album/Song"]
        assert template == FLAT or len(seen) in {0, 3}
        assert all(size == 100 or not modern for name, size in content(shelf.folder).items() if name in seen)
        artifacts = publish.publish(shelf, made)
        final = content(shelf.folder)
        assert len(final) == 4, (number, final)
        assert {os.fsdecode(artifact.path) for artifact in artifacts} == {
            str(shelf.folder / name) for name in final if name != "Album/Song"
        }
        assert publish.resume(shelf) == artifacts
        assert publish.withdraw(shelf)
        assert list(content(shelf.folder)) == ["Album/Song"]
        if not was_killed:
            break
    assert 15 < number < 1999


def test_a_withdrawal_killed_anywhere_is_finished(quick: Path) -> None:
    for number in range(1, 500):
        place = quick / str(number)
        (place / "out").mkdir(parents=True)
        shelf = Shelf(place / "out", place / "journal.json", job=7)
        publish.publish(shelf, items(place / "made", size=100))
        was_killed = killed_at(number, partial(publish.withdraw, shelf))
        assert len([name for name in content(shelf.folder) if not name.startswith(".stemd-")]) in {0, 3}
        assert publish.withdraw(shelf)
        assert list(shelf.folder.iterdir()) == []
        if not was_killed:
            break
    assert 5 < number < 499


def test_the_journal_is_plain_json(shelf: Shelf, tmp_path: Path) -> None:
    publish.publish(shelf, items(tmp_path / "made"))
    assert json.loads(shelf.journal.read_bytes())["phase"] == "renamed"


def test_an_abandoned_publication_leaves_no_temporary_files(shelf: Shelf, tmp_path: Path) -> None:
    made = items(tmp_path / "made")
    assert publish.abandon(shelf.journal, published=False)
    assert killed_at(25, partial(publish.publish, shelf, made))
    assert [path.name[:8] for path in shelf.folder.iterdir()] == [".stemd-7"]
    assert publish.abandon(shelf.journal, published=False)
    assert list(shelf.folder.iterdir()) == []
    publish.publish(shelf, made)
    assert publish.abandon(shelf.journal, published=False)
    assert len(content(shelf.folder)) == 3
    assert publish.abandon(shelf.journal, published=True)
    assert list(shelf.folder.iterdir()) == []


def test_an_unmounted_share_is_no_proof_of_delivery(shelf: Shelf, tmp_path: Path, small: Path) -> None:
    shelf = replace(shelf, folder=small)
    publish.publish(shelf, items(tmp_path / "made"))
    subprocess.run(["umount", small], check=True)
    assert publish.resume(shelf) == ()
    subprocess.run(["mount", "-t", "tmpfs", "none", small], check=True)  # for the fixture


def test_a_name_taken_between_choice_and_renaming_gets_a_number(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # for speed: no power is cut here
    made = items(tmp_path / "made", track="Song")
    for number in range(1, 200):  # die with the choice written down and nothing renamed
        assert killed_at(number, partial(publish.publish, shelf, made))
        if shelf.journal.exists() and json.loads(shelf.journal.read_bytes())["phase"] == "renaming":
            break
        assert publish.abandon(shelf.journal, published=False)
        shelf.journal.unlink(missing_ok=True)
    publish.publish(another(shelf, 8), items(tmp_path / "made", track="SONG"))
    artifacts = publish.publish(shelf, made)
    assert {path.name for path in shelf.folder.iterdir()} == {"SONG", "Song (2)"}
    assert all(b"/Song (2)/" in artifact.path for artifact in artifacts)


def test_another_folder_by_the_temporary_name_is_left_alone(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exchange(source: Path, target: Path) -> None:
        rename.rename_noreplace(source, target)
        source.parent.rename(tmp_path / "gone")
        (source.parent / "album").mkdir(parents=True)
        (source.parent / "album" / "master.wav").write_bytes(b"x")

    monkeypatch.setattr(renaming, "rename_noreplace", exchange)
    publish.publish(shelf, items(tmp_path / "made"))
    assert [path.name for path in shelf.folder.rglob("*.wav")] == ["master.wav"]


def test_many_tracks_of_one_name_at_once_all_arrive(shelf: Shelf, tmp_path: Path) -> None:
    start = threading.Barrier(8)

    def deliver(number: int) -> tuple[bytes, ...]:
        track = ("Song", "SONG", "song.", "so?ng")[number % 4]
        made = items(tmp_path / str(number), FOLDER if number % 2 else FLAT, track=track, below=("Album",))
        start.wait()
        return tuple(artifact.path for artifact in publish.publish(another(shelf, number), made))

    with ThreadPoolExecutor(8) as pool:
        paths = [path for found in pool.map(deliver, range(8)) for path in found]
    assert len({names.fold(os.fsdecode(path)) for path in paths}) == 24
    assert {str(shelf.folder / name) for name in content(shelf.folder)} == {os.fsdecode(path) for path in paths}
