"""Settling and listing: pure steps over looks, and looks at real folders."""

import errno
import os
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemd import inbox
from stemd.files.marker import vouched_for
from stemd.inbox import Look, look, next_look, settle
from stemd.model import Rule, Stat
from stemd.model.album import album_of, track_order

ONE, TWO = Stat(1, 1, 1), Stat(2, 2, 2)


def rule(folder: Path, **more) -> Rule:
    folders = {"inbox": folder, "outbox": folder.parent / "out", "archive": folder / "_done"}
    return Rule(name="r", review=folder / "_review", failed=folder / "_failed", **folders, **more)


def looks_at(*versions: tuple[float, Stat | None], seconds: float = 5, known=None) -> list[float]:
    """Look at the given times at the given versions of one file; returns the times at which it settled."""
    sightings, settled, known = {}, [], dict(known or {})
    for at, stat in versions:
        files = {} if stat is None else {b"/in/a": stat}
        sightings, arrivals = settle(sightings, Look("r", at, files), known, seconds)
        for arrival in arrivals:
            settled.append(at)
            known[arrival.path] = arrival.stat
    return settled


@pytest.mark.parametrize(
    "versions, settled",
    [
        ([(0, ONE)], []),  # one look proves nothing, however old the file is
        ([(0, ONE), (4.9, ONE)], []),
        ([(0, ONE), (5, ONE)], [5]),
        ([(0, ONE), (4, TWO), (8, TWO), (9, TWO)], [9]),  # it grew: the clock starts anew
        ([(0, ONE), (3, None), (6, ONE), (10, ONE), (11, ONE)], [11]),  # it was away: the same
        ([(0, ONE), (5, ONE), (99, ONE)], [5]),  # once
        ([(0, ONE), (5, ONE), (10, TWO), (15, TWO)], [5, 15]),  # a new version is a new arrival
    ],
)
def test_a_file_settles_once_a_version(versions, settled):
    assert looks_at(*versions) == settled


@given(st.lists(st.tuples(st.floats(0.1, 10), st.sampled_from([ONE, TWO, None])), max_size=30))
def test_a_settled_file_was_the_same_for_the_whole_time(steps):
    at, seen = 0.0, []
    for wait, stat in steps:
        at += wait
        seen.append((at, stat))
    for moment in looks_at(*seen):
        before = [stat for when, stat in seen if moment - 5 <= when <= moment]
        assert len(set(before)) == 1
        assert len([when for when, _ in seen if when <= moment]) >= 2


def album_looks(*steps, seconds=5):
    """Look at the given times at files below /in; returns what settled at each look."""
    sightings, settled, known = {}, [], {}
    for at, files in steps:
        seen = Look("r", at, {b"/in/" + name: stat for name, stat in files.items()}, inbox=b"/in")
        sightings, arrivals = settle(sightings, seen, known, seconds)
        known |= {arrival.path: arrival.stat for arrival in arrivals}
        settled.append([arrival.path.removeprefix(b"/in/") for arrival in arrivals])
    return settled, sightings


def test_the_tracks_of_an_album_settle_together_in_their_order():
    one, two, ten = b"X/1 a.wav", b"X/CD 2/2.wav", b"X/10 b.wav"
    settled, _ = album_looks(
        (0, {ten: ONE, b"single.wav": ONE}),
        (4, {ten: ONE, one: ONE, b"single.wav": ONE}),
        (5, {ten: ONE, one: ONE, two: ONE, b"single.wav": ONE}),  # the single waits for no album
        (9, {ten: ONE, one: ONE, two: ONE}),
        (10, {ten: ONE, one: ONE, two: ONE}),
        (11, {ten: ONE, one: ONE, two: ONE, b"X/3.wav": ONE}),  # late: alone, what was taken is not waited for
        (16, {ten: ONE, one: ONE, two: ONE, b"X/3.wav": ONE}),
    )
    assert settled == [[], [], [b"single.wav"], [], [one, ten, two], [], [b"X/3.wav"]]


def test_a_track_does_not_wait_for_hours_for_one_that_is_being_recorded():
    recording = [(at, {b"X/take.wav": ONE, b"X/live.wav": Stat(at, at, at)}) for at in range(0, 1000, 4)]
    settled, sightings = album_looks(*recording)
    assert [at for (at, _), names in zip(recording, settled, strict=True) if names == [b"X/take.wav"]] == [608]
    assert list(sightings) == [b"/in/X/live.wav"]


def test_an_album_that_is_still_copied_is_not_looked_at_all_the_time():
    _, sightings = album_looks((0, {b"X/1.wav": ONE}), (30, {b"X/1.wav": ONE, b"X/2.wav": ONE}), seconds=20)
    assert next_look(sightings, 30, 20, 60) == 50


@pytest.mark.parametrize(
    "names",
    [
        [b"1.wav", b"2.wav", b"10.wav"],
        [b"01 b.wav", b"02 a.wav", b"11 c.wav"],
        [b"CD 1/9.wav", b"CD 2/1.wav", b"CD 10/1.wav"],
        [b"a.wav", b"B.wav", b"c\xe9.wav"],
        [b"Track 01.wav", b"track 1.wav", b"Track 2.wav"],
    ],
)
def test_tracks_are_in_the_order_that_people_see(names):
    assert all(track_order(first) < track_order(second) for first, second in pairwise(names))


def test_the_album_is_the_outermost_folder():
    assert [album_of(name) for name in (b"X/CD 1/1.wav", b"X/1.wav", b"1.wav")] == [b"X", b"X", b""]


def test_looks_again_when_the_first_file_may_have_settled():
    sightings, _ = settle({}, Look("r", 0.0, {b"/in/a": ONE}), {}, 5)
    assert next_look(sightings, 0.0, 5, 30) == 5
    assert next_look({}, 0.0, 5, 30) == 30
    assert next_look(sightings, 7.0, 5, 30) == 7.5


def test_lists_recordings_with_their_sub_folders_and_ignores_the_rest(tmp_path):
    inbox = tmp_path / "in"
    wanted = [b"song.wav", b"what is this.txt", b"album/02 caf\xe9.flac", b"album/disc 2/01.mp3", b"no extension"]
    ignored = [
        b".hidden", b"._song.wav", b".DS_Store", b"Thumbs.db", b"@eaDir/song.wav", b"lost+found/#7.wav", b"a.part",
        b"a.PARTIAL", b"a.crdownload", b"a.filepart", b"a.tmp", b"~lock", b".syncthing.a.wav.tmp", b"_done/old.wav",
        b"_failed/bad.wav", b"_review/x/vocals.wav", b".stemd-7/part.wav", b"album/Cover.JPG", b"album/disc 2/x.cue",
    ]  # fmt: skip
    for name in wanted + ignored:
        path = inbox / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (inbox / "link.wav").symlink_to(inbox / "song.wav")
    (inbox / "loop").symlink_to(inbox)
    os.mkfifo(inbox / "pipe.wav")
    seen = look(rule(inbox), 0.0)
    root = os.fsencode(inbox) + b"/"
    assert sorted(seen.files) == sorted(root + name for name in wanted)
    assert sorted(seen.links) == [root + b"link.wav", root + b"loop"]
    assert not seen.offline


def test_folders_that_are_the_daemons_by_default_or_were_by_another_configuration_hold_no_recordings(tmp_path):
    inbox = tmp_path / "in"
    for name in ("_done", "_failed", "_review/song", "checked/song", "album/checked"):
        (inbox / name).mkdir(parents=True)
        (inbox / name / "vocals.wav").write_bytes(b"x")
    elsewhere = {key: tmp_path / key for key in ("review", "failed", "archive")}
    seen = look(replace(rule(inbox), **elsewhere), 0.0, once_own=[inbox / "checked"])
    assert list(seen.files) == [os.fsencode(inbox / "album/checked/vocals.wav")]


def test_a_marker_vouches_for_the_version_before_it(tmp_path):
    inbox = tmp_path / "in"
    inbox.mkdir()
    for name in ("whole.wav", "whole.wav.ready", "half.wav", "older.wav.ready", "alone.wav.ready", "was.wav.done"):
        (inbox / name).touch()
        os.utime(inbox / name, ns=(5, 5))
    time.sleep(0.02)  # times of files come in steps of some milliseconds
    (inbox / "older.wav").touch()  # written again after its marker
    seen = look(rule(inbox, ready="marker"), 0.0)
    assert [path.rpartition(b"/")[2] for path in seen.files] == [b"whole.wav"]
    assert sorted(path.rpartition(b"/")[2] for path in seen.unready) == [b"half.wav", b"older.wav"]
    waiting, settled = settle({}, seen, {}, 0.0)
    assert [arrival.path for arrival in settled] == list(seen.files)
    assert not waiting
    assert len(look(rule(inbox), 0.0).files) == 3  # nobody asked: markers are no recordings all the same


@pytest.mark.parametrize(
    "marker, vouched",
    [
        (Stat(0, 5, 5), True),
        (Stat(0, 4, 5), True),  # the recording has a time of its own, or the marker was copied with an old one
        (Stat(0, 5, 4), True),  # the recording was renamed after it was marked
        (Stat(0, 4, 4), False),
    ],
)
def test_a_marker_that_is_older_than_its_recording_is_of_an_earlier_version(marker, vouched):
    assert bool(vouched_for({b"a.wav": Stat(9, 5, 5)}, {b"a.wav.ready": marker})) is vouched


def test_include_and_exclude_look_at_the_name_and_at_the_path(tmp_path):
    for name in ("a.WAV", "b.flac", "takes/c.wav", "drafts/d.wav"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    seen = look(rule(tmp_path / "in", include=("*.wav",), exclude=("drafts/*",)), 0.0)
    assert sorted(path.rpartition(b"/")[2] for path in seen.files) == [b"a.WAV", b"c.wav"]


def test_an_inbox_that_cannot_be_listed_is_offline(tmp_path):
    assert look(rule(tmp_path / "gone"), 0.0).offline.endswith(f"make it: mkdir -p {tmp_path}/gone")
    (tmp_path / "file").touch()
    assert look(rule(tmp_path / "file"), 0.0).offline == "Not a directory"


def test_what_moves_or_hides_while_it_is_listed_keeps_nothing_else_from_being_seen(tmp_path, monkeypatch):
    for name in ("a.wav", "moved.wav", "z.wav"):
        (tmp_path / name).write_bytes(b"sound")
    really = inbox._walk

    def walk(*args):
        for path, entry in really(*args):
            if entry.name == b"moved.wav":
                Path(os.fsdecode(path)).unlink()  # by a sync client that had written it under a temporary name
            yield path, entry
        yield os.fsencode(tmp_path / "odd/b.wav"), Hidden()

    monkeypatch.setattr(inbox, "_walk", walk)
    seen = look(rule(tmp_path), 0.0)
    assert not seen.offline
    assert sorted(seen.files) == [os.fsencode(tmp_path / name) for name in ("a.wav", "z.wav")]
    assert seen.unreadable == (os.fsencode(tmp_path / "odd"),)


def test_a_path_too_long_for_the_kernel_keeps_nothing_else_from_being_seen(tmp_path, monkeypatch):
    (tmp_path / "song.wav").write_bytes(b"sound")
    monkeypatch.chdir(tmp_path)
    left = 4090 - len(os.fsencode(tmp_path))
    while left > 1:
        part = "d" * min(250, left - 1)
        Path(part).mkdir()
        os.chdir(part)
        left -= len(part) + 1
    Path("a-name-too-far.wav").touch()
    seen = look(rule(tmp_path), 0.0)
    assert not seen.offline
    assert list(seen.files) == [os.fsencode(tmp_path / "song.wav")]
    assert [folder.endswith(b"d") for folder in seen.unreadable] == [True]


@pytest.mark.parametrize("number", [errno.ELOOP, errno.EACCES])
def test_a_fault_of_one_file_keeps_nothing_else_from_being_seen(tmp_path, monkeypatch, number):
    (tmp_path / "odd").mkdir()
    for name in ("a.wav", "odd/b.wav", "z.wav"):
        (tmp_path / name).write_bytes(b"sound")
    really = inbox.stat_of

    def stat_of(info):
        if info.st_ino == (tmp_path / "odd/b.wav").stat().st_ino:
            raise OSError(number, os.strerror(number))
        return really(info)

    monkeypatch.setattr(inbox, "stat_of", stat_of)
    seen = look(rule(tmp_path), 0.0)
    assert not seen.offline
    assert sorted(seen.files) == [os.fsencode(tmp_path / name) for name in ("a.wav", "z.wav")]
    assert seen.unreadable == (os.fsencode(tmp_path / "odd"),)


class Hidden:
    """A file in a folder that may be listed but not entered."""

    name = b"b.wav"

    def is_symlink(self):
        raise PermissionError(13, "Permission denied")
