"""RETIRE on real folders: a source is archived once, and an inbox that is away is waited for."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest

from stemd.errors import EnvironmentFault, Stopping
from stemd.files import marker
from stemd.files.enter import entered
from stemd.files.presence import check_present, remember_folder
from stemd.inbox import stat_of
from stemd.model import Finished, Stage, Withdrawn
from stemd.stages import companions, copies, retire, take
from stemd.stages.work import Work

FAILING = {"failing": True, "code": "damaged", "reason": "it is damaged", "hint": "mend it"}


@pytest.fixture
def inbox(studio) -> Path:
    return studio.root / "in"


def saved(inbox: Path, name: str = "song.wav", content: bytes = b"sound") -> Path:
    path = inbox / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def taken(studio, source: Path, job=None, **keys) -> Work:
    """The job of a source, after TAKE has read it."""
    name = os.fsencode(source.relative_to(studio.root / "in"))
    facts = {"stat": stat_of(source.lstat()), "sha256": "", **(job or {})}
    outcome = take.run(studio.work(name=name, job=facts, **keys))
    assert isinstance(outcome, Finished)
    return studio.work(name=name, job=facts | {"stage": Stage.RETIRE, "sha256": outcome.sha256}, **keys)


def test_a_source_is_archived_with_its_folder(studio, inbox):
    source = saved(inbox, "album/01.wav")
    outcome = retire.run(taken(studio, source))
    assert outcome.path == os.fsencode(inbox / "_done/album/01.wav")
    assert not source.exists()


@pytest.mark.parametrize("what", ["song.wav", "song.lrc"])
def test_stopping_cuts_a_copy_to_another_file_system_short(studio, inbox, what):
    if Path("/dev/shm").stat().st_dev == inbox.stat().st_dev:
        pytest.skip("needs a second file system")
    saved(inbox, "song.lrc", b"[00:01.00]La")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as archive:
        work = taken(studio, saved(inbox), archive=Path(archive))
        if what == "song.lrc":
            shutil.move(inbox / "song.wav", archive)  # as a kill between the two has left it
        studio.stop.set()
        with pytest.raises(Stopping):
            retire.run(work)
        assert (inbox / what).exists()
        assert not (Path(archive) / what).exists()
        studio.stop.clear()
        retire.run(work)
        assert sorted(path.name for path in Path(archive).iterdir()) == ["song.lrc", "song.wav"]


@pytest.mark.parametrize("failing", [False, True])
@pytest.mark.parametrize("what", ["song.wav", "song.lrc"])
def test_what_cannot_be_removed_from_the_inbox_is_copied_once_and_the_inbox_is_told(
    studio, inbox, monkeypatch, what, failing
):
    if Path("/dev/shm").stat().st_dev == inbox.stat().st_dev:
        pytest.skip("needs a second file system")
    saved(inbox, "song.lrc", b"[00:01.00]La")
    unlink = Path.unlink

    def sticky(path, **keys):
        if path.parent.resolve() / path.name == inbox / what:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        unlink(path, **keys)

    with tempfile.TemporaryDirectory(dir="/dev/shm") as archive:
        folder = {"failed" if failing else "archive": Path(archive)}
        work = taken(studio, saved(inbox), FAILING if failing else {}, **folder)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", sticky)
            for _ in range(3):
                with pytest.raises(EnvironmentFault) as caught:
                    retire.run(work)
                assert (caught.value.code, str(inbox) in caught.value.message) == ("inbox-read-only", True)
        assert retire.run(work).path == os.fsencode(f"{archive}/song.wav")
        names = {path.name for path in Path(archive).iterdir()}
        assert names == {"song.lrc", "song.wav"} | ({"song.wav.error.txt"} if failing else set())
        assert not (inbox / what).exists()


def test_a_source_that_was_taken_away_is_dealt_with(studio, inbox):
    source = saved(inbox)
    work = taken(studio, source)
    source.unlink()
    assert "no longer the file" in retire.run(work).note


@pytest.mark.parametrize("failing", [False, True])
def test_an_inbox_that_is_not_mounted_is_waited_for(studio, inbox, failing):
    facts = {"failing": True, "code": "damaged", "reason": "it is damaged", "hint": "mend it"} if failing else {}
    work = taken(studio, saved(inbox), facts)
    away = inbox.rename(studio.root / "elsewhere")
    inbox.mkdir()  # what is seen of a mount point while nothing is mounted
    (inbox / "_review/other").mkdir(parents=True)
    (inbox / "_review/other/vocals.wav").write_bytes(b"a copy that was published meanwhile")
    with pytest.raises(EnvironmentFault) as caught:
        retire.run(work)
    assert caught.value.code == "inbox-offline"
    assert not (inbox / "_done").exists()
    shutil.rmtree(inbox)
    with pytest.raises(EnvironmentFault) as caught:
        retire.run(work)
    assert caught.value.code == "inbox-missing"
    away.rename(inbox)
    outcome = retire.run(work)
    assert outcome.path == os.fsencode(inbox / ("_failed" if failing else "_done") / "song.wav")


def test_an_inbox_that_was_replaced_and_is_in_use_is_not_waited_for(studio, inbox):
    work = taken(studio, saved(inbox))
    shutil.rmtree(inbox)
    saved(inbox, "another.wav")
    assert "no longer the file" in retire.run(work).note


def test_a_kill_between_deleting_a_recording_and_its_companions_is_made_up_for(studio, inbox, monkeypatch):
    saved(inbox, "song.lrc", b"[00:01.00]La")
    work = taken(studio, saved(inbox))
    work = replace(work, rule=replace(work.rule, source="delete"))
    unlink, deleted = Path.unlink, []

    def killed(path, **keys):
        if deleted:
            sys.exit("killed")
        unlink(path, **keys)
        deleted.append(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(SystemExit):
            retire.run(work)
    assert "the source was deleted" in retire.run(work).note
    assert list(inbox.iterdir()) == []


def test_a_sender_who_asked_with_a_marker_is_answered(studio, inbox):
    source, marker = saved(inbox, "a/song.wav"), saved(inbox, "a/song.wav.ready", b"")
    saved(inbox, "a/song.wav.done", b"of an earlier version")
    saved(inbox, "a/song.wav.error.txt", b"of an earlier version\nonce more: stemd retry 3\n")
    work = taken(studio, source, ready="marker")
    assert not (inbox / "a/song.wav.done").exists()
    assert not (inbox / "a/song.wav.error.txt").exists()
    for _ in range(2):  # repeatable: the answer is there again after a kill
        retire.run(work)
        told = json.loads((inbox / "a/song.wav.done").read_text())
        assert (told["status"], told["job"], told["sha256"]) == ("done", 7, work.job.sha256)
        assert not marker.exists()
        (inbox / "a/song.wav.done").unlink()
    assert sorted(path.name for path in (inbox / "a").iterdir()) == []


def test_a_source_that_is_kept_needs_no_inbox_any_more(studio, inbox):
    work = taken(studio, saved(inbox))
    work = replace(work, rule=replace(work.rule, source="keep"))
    inbox.rename(studio.root / "unmounted")
    assert retire.run(work) == Finished(note="the source stays in the inbox")


@pytest.mark.parametrize("kept", ["keep", "delete"])
def test_the_marker_goes_whatever_becomes_of_the_source(studio, inbox, kept):
    source, marker = saved(inbox), saved(inbox, "song.wav.ready", b"")
    work = taken(studio, source, ready="marker")
    retire.run(replace(work, rule=replace(work.rule, source=kept)))
    assert (source.exists(), marker.exists()) == (kept == "keep", False)
    assert (inbox / "song.wav.done").exists()


def test_a_sender_is_told_what_failed(studio, inbox):
    source, marker = saved(inbox), saved(inbox, "song.wav.ready", b"")
    failing = {"failing": True, "code": "damaged", "reason": "it is damaged", "hint": "mend it"}
    retire.run(taken(studio, source, failing, ready="marker"))
    assert not marker.exists()
    assert "it is damaged" in (inbox / "song.wav.error.txt").read_text()
    assert (inbox / "_failed/song.wav").exists()
    assert not (inbox / "song.wav.done").exists()


def test_a_sender_of_a_recording_that_was_sent_before_is_told_by_which_job(studio, inbox):
    work = taken(studio, saved(inbox), {"twin": 3}, ready="marker")
    retire.run(work)
    assert json.loads((inbox / "song.wav.done").read_text())["same_as"] == 3


def test_a_newer_version_keeps_its_marker_and_has_its_own_answer(studio, inbox):
    source, marker = saved(inbox), saved(inbox, "song.wav.ready", b"")
    work = taken(studio, source, ready="marker")
    saved(inbox, content=b"another version")
    retire.run(work)
    assert marker.exists()
    assert source.read_bytes() == b"another version"
    assert not (inbox / "song.wav.done").exists()


def test_who_asked_for_nothing_is_not_answered(studio, inbox):
    source = saved(inbox)
    retire.run(taken(studio, source))
    assert [path.name for path in inbox.iterdir()] == ["_done"]


def test_a_mended_recording_is_not_put_aside_in_place_of_the_old_one(studio, inbox):
    work = taken(studio, saved(inbox), FAILING)
    aside = os.fsencode(inbox / "_failed/song.wav")
    assert retire.run(work).path == aside
    (inbox / "_failed/song.wav.error.txt").unlink()
    mended, lyrics = saved(inbox, content=b"good sound"), saved(inbox, "song.lrc", b"[00:01.00]La")
    assert retire.run(work).path == aside  # the daemon was killed before the first was written down
    assert mended.read_bytes() == b"good sound"
    assert lyrics.exists()
    assert "it is damaged" in (inbox / "_failed/song.wav.error.txt").read_text()
    assert not (inbox / "_failed/song (2).wav").exists()


def test_a_mended_recording_stays_also_where_the_damaged_one_was_put_aside_before(studio, inbox):
    source = saved(inbox)
    work = taken(studio, source, FAILING)
    (inbox / "_failed").mkdir()
    shutil.copy2(source, inbox / "_failed")
    source.write_bytes(b"good sound")
    retire.run(work)
    assert source.read_bytes() == b"good sound"


def test_a_kill_between_putting_aside_a_recording_and_its_companions_is_made_up_for(studio, inbox):
    source = saved(inbox)
    work = taken(studio, source, FAILING)
    saved(inbox, "song.lrc", b"[00:01.00]La")
    (inbox / "_failed").mkdir()
    source.rename(inbox / "_failed/song.wav")
    assert "with song.lrc" in retire.run(work).note
    assert (inbox / "_failed/song.lrc").exists()


def test_a_name_without_room_for_an_ending_is_put_aside_with_a_note(studio, inbox):
    source = saved(inbox, "x" * 251 + ".wav")
    failing = {"failing": True, "code": "damaged", "reason": "it is damaged", "hint": "mend it"}
    retire.run(taken(studio, source, failing))
    note = next((inbox / "_failed").glob("*.error.txt"))
    assert len(note.name) == 255
    assert "it is damaged" in note.read_text()


def test_what_is_noted_of_a_folder_outlasts_what_happens_in_it(tmp_path):
    folder, note = tmp_path / "in", tmp_path / "note"
    folder.mkdir()
    remember_folder(note, folder)
    saved(folder, "a.wav").unlink()
    check_present(note, folder, but=folder / "_review")
    (tmp_path / "damaged").write_text("{")
    check_present(tmp_path / "damaged", folder, but=folder / "_review")


def test_a_note_is_never_written_through_a_link_nor_over_a_file_of_the_user_s(studio, inbox):
    ledger = studio.root / "ledger.sqlite3"
    ledger.write_bytes(b"records")
    saved(inbox, "_failed/b.wav.error.txt", b"my own notes on the take")
    (inbox / "_failed/a.wav.error.txt").symlink_to(ledger)
    for name in ("a.wav", "b.wav"):
        retire.run(taken(studio, saved(inbox, name), FAILING))
        assert "it is damaged" in (inbox / f"_failed/{name} (2).error.txt").read_text()
    assert ledger.read_bytes() == b"records"
    assert (inbox / "_failed/b.wav.error.txt").read_bytes() == b"my own notes on the take"


def test_an_earlier_note_is_replaced_and_goes_when_the_recording_went_well_after_all(studio, inbox):
    for _ in range(2):
        work = taken(studio, saved(inbox), FAILING)
        retire.run(work)
        (inbox / "_failed/song.wav").unlink()
    assert [path.name for path in (inbox / "_failed").iterdir()] == ["song.wav.error.txt"]
    retire.run(taken(studio, saved(inbox, "_failed/song.wav")))
    assert list((inbox / "_failed").iterdir()) == []


def test_a_file_of_the_user_s_named_like_a_note_stays(studio, inbox):
    saved(inbox, "song.wav.error.txt", b"my own notes on the take")
    retire.run(taken(studio, saved(inbox)))
    assert (inbox / "song.wav.error.txt").exists()


@pytest.mark.parametrize("link, facts", [("_failed", FAILING), ("_done", {}), ("_failed/a", FAILING), ("_done/a", {})])
def test_an_own_folder_that_is_a_link_in_the_inbox_is_refused_until_it_is_none(studio, inbox, link, facts):
    cron = studio.root / "cron.d"
    cron.mkdir()
    work = taken(studio, saved(inbox, "a/song.wav"), facts)
    (inbox / link).parent.mkdir(exist_ok=True)
    (inbox / link).symlink_to(cron)
    with pytest.raises(EnvironmentFault, match=f"{Path(link).name} is a symbolic link") as caught:
        retire.run(work)
    assert caught.value.code == "archive-is-a-link"
    assert list(cron.iterdir()) == []
    (inbox / link).unlink()
    assert retire.run(work).path == os.fsencode(inbox / link.partition("/")[0] / "a/song.wav")


def test_an_archive_elsewhere_may_be_reached_by_a_link(studio, inbox):
    (studio.root / "disk").mkdir()
    (studio.root / "archive").symlink_to(studio.root / "disk")
    retire.run(taken(studio, saved(inbox, "a/song.wav"), archive=studio.root / "archive"))
    assert (studio.root / "disk/a/song.wav").exists()


def test_a_review_folder_that_is_a_link_in_the_inbox_is_refused(studio, inbox):
    (inbox / "_review").symlink_to(studio.root)
    with pytest.raises(EnvironmentFault) as caught:
        copies.make_folder(studio.work())
    assert caught.value.code == "review-is-a-link"


def test_a_fault_names_the_folder_that_is_held(studio, inbox):
    (inbox / "a").mkdir()
    with entered(studio.work().rule, inbox / "a") as held:
        (inbox / "a").rmdir()
        with pytest.raises(EnvironmentFault, match=f"{inbox}/a"):
            marker.answer(held / "song.wav", {})


def exchanging(inbox: Path, secret: Path, monkeypatch) -> None:
    """As soon as RETIRE has read the source in `a`, have a link to another folder in that folder's place."""

    def digest(source: Path) -> str:
        sha256 = really(source)
        (inbox / "a").rename(inbox / ".old")
        (inbox / "a").symlink_to(secret)
        return sha256

    really = retire.digest
    monkeypatch.setattr(retire, "digest", digest)


@pytest.mark.parametrize("facts, kept", [(FAILING, "archive"), ({}, "archive"), ({}, "delete")])
def test_a_folder_exchanged_for_a_link_has_nothing_taken_from_where_that_leads(studio, inbox, monkeypatch, facts, kept):
    for name in ("will.wav", "will.lrc"):
        saved(inbox, f"../secret/{name}", b"testament")
    source = saved(inbox, "a/will.wav")
    saved(inbox, "a/will.lrc", b"[00:01.00]La")
    work = taken(studio, source, facts)
    source.chmod(0o600 if source.stat().st_mode & 0o777 != 0o600 else 0o644)  # only its change time is another
    exchanging(inbox, studio.root / "secret", monkeypatch)
    outcome = retire.run(replace(work, rule=replace(work.rule, source=kept)))
    assert sorted(path.name for path in (studio.root / "secret").iterdir()) == ["will.lrc", "will.wav"]
    assert list((inbox / ".old").iterdir()) == []
    if outcome.path:
        assert Path(os.fsdecode(outcome.path)).read_bytes() == b"sound"


def test_a_file_behind_a_link_is_not_what_was_taken(studio, inbox):
    source = saved(inbox, "a/will.wav")
    work = taken(studio, source, FAILING)
    (inbox / "a").rename(studio.root / "secret")
    (inbox / "a").symlink_to(studio.root / "secret")
    assert "no longer the file" in retire.run(work).note
    assert (studio.root / "secret/will.wav").exists()


def test_a_file_behind_a_link_is_not_taken(studio, inbox):
    source = saved(inbox, "../secret/unreleased.wav")
    (inbox / "a").symlink_to(source.parent)
    facts = {"stat": stat_of(source.stat()), "sha256": ""}
    outcome = take.run(studio.work(name=b"a/unreleased.wav", job=facts))
    assert isinstance(outcome, Withdrawn)
    assert not (studio.folder / "source").exists()


@pytest.mark.timeout(30)
@pytest.mark.parametrize("facts", [FAILING, {}])
def test_a_pipe_in_place_of_an_empty_recording_holds_nothing_up(studio, inbox, facts):
    source = saved(inbox, content=b"")
    work = taken(studio, source, facts)
    times = source.stat().st_mtime_ns
    source.unlink()
    os.mkfifo(source)
    os.utime(source, ns=(times, times))
    assert "no longer the file" in retire.run(work).note
    assert isinstance(take.run(work), Withdrawn)


def test_a_companion_behind_a_link_is_not_carried(studio, inbox, monkeypatch):
    work = taken(studio, saved(inbox, "a/will.wav"))
    saved(inbox, "../secret/will.lrc", b"testament")
    (inbox / "a").rename(inbox / ".old")
    (inbox / "a").symlink_to(studio.root / "secret")
    companions.look(work)
    later = time.time() + 100
    monkeypatch.setattr(time, "time", lambda: later)
    with pytest.raises(EnvironmentFault) as caught:
        companions.carried(work)
    assert caught.value.code == "inbox-is-a-link"
    assert list((studio.folder / "carried").iterdir()) == []
