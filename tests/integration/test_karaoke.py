"""Lyrics and graphics beside a recording come along: to the outbox by the accompaniment's name, and to the archive."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stemd.errors import EnvironmentFault
from stemd.files.companions import sight
from stemd.inbox import stat_of
from stemd.ledger import open_for_asking, requests
from stemd.model import Finished, Retry, Stage
from stemd.stages import deliver, retire, take
from stemd.stages.work import Work

DAEMON = Path(__file__).parents[1] / "fakes" / "daemon.py"
Make = Callable[..., Path]
Studio = Any  # conftest.Studio: a conftest cannot be imported
BOTH = {"vocals": 0.5, "no_vocals": 0.5}
LYRICS, GRAPHICS = b"[00:01.00]La", bytes(range(96)) * 300


def saved(studio: Studio, name: str, content: bytes = b"sound") -> Path:
    path = Path(studio.root / "in" / name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.fixture
def karaoke(studio: Studio, made: Make) -> Callable[..., Work]:
    """A separated song, saved in the inbox with what is given, ready for delivery; `settle` is short."""

    def make(gains: dict[str, float], *companions: str, **keys: Any) -> Work:
        work = studio.separated(made("a.wav", "-c:a", "pcm_f32le"), gains, **{"settle": 0.01, **keys})
        source = saved(studio, "song.wav")
        for name in companions:
            saved(studio, name, GRAPHICS if name.lower().endswith("cdg") else LYRICS)
        return replace(work, job=replace(work.job, stat=stat_of(source.lstat()), sha256=""))

    return make


def delivered(work: Work) -> set[str]:
    """Deliver, waiting for companions as the daemon does; what lies in the outbox."""
    outcome = deliver.run(work)
    if isinstance(outcome, Retry):
        assert not outcome.counts
        assert work.stop.wait(0.05) is False
        outcome = deliver.run(work)
    assert isinstance(outcome, Finished)
    return {str(path.relative_to(work.rule.outbox)) for path in work.rule.outbox.rglob("*") if path.is_file()}


def retired(work: Work, **job: Any) -> Finished:
    outcome = retire.run(replace(work, job=replace(work.job, stage=Stage.RETIRE, **job)))
    assert isinstance(outcome, Finished)
    return outcome


def deleting(work: Work) -> Work:
    return replace(work, rule=replace(work.rule, source="delete"))


def in_inbox(studio: Studio) -> set[str]:
    inbox = studio.root / "in"
    return {str(path.relative_to(inbox)) for path in inbox.rglob("*") if path.is_file()}


def test_a_player_finds_lyrics_and_graphics_by_the_songs_name(studio: Studio, karaoke: Any) -> None:
    work = karaoke({"no_vocals": 0.5}, "song.LRC", "Song.cdg", format="mp3", names="{track}.{ext}")
    assert delivered(work) == {"song.mp3", "song.lrc", "song.cdg", "song (manifest).json"}
    assert (studio.outbox / "song.cdg").read_bytes() == GRAPHICS
    assert (studio.outbox / "song.lrc").read_bytes() == LYRICS
    files = json.loads((studio.outbox / "song (manifest).json").read_bytes())["files"]
    assert {(file.get("stem"), file.get("kind"), file["name"]) for file in files} == {
        ("no_vocals", None, "song.mp3"), (None, "lrc", "song.lrc"), (None, "cdg", "song.cdg"),
    }  # fmt: skip


@pytest.mark.parametrize(
    "gains, place",
    [
        (BOTH, "song/no_vocals.cdg"),
        ({"drums": 0.5, "vocals": 0.5}, "song/vocals.cdg"),
        ({"drums": 0.5, "no_drums": 0.5}, "song/no_drums.cdg"),
    ],
)
def test_they_stand_beside_what_is_sung_to(karaoke: Any, gains: dict[str, float], place: str) -> None:
    assert place in delivered(karaoke(gains, "song.cdg"))


def test_a_second_song_of_the_name_keeps_its_own(studio: Studio, karaoke: Any) -> None:
    keys = {"names": "{track}.{ext}", "format": "mp3"}
    (studio.outbox / "song.cdg").write_bytes(b"another's")
    found = delivered(karaoke({"no_vocals": 0.5}, "song.cdg", **keys))
    assert found == {"song.cdg", "song (2).cdg", "song (2).mp3", "song (manifest) (2).json"}
    assert (studio.outbox / "song (2).cdg").read_bytes() == GRAPHICS


def test_what_arrives_a_little_later_is_waited_for(studio: Studio, karaoke: Any) -> None:
    work = karaoke({"no_vocals": 0.5}, "song.cdg", settle=30.0)
    first = deliver.run(work)
    assert isinstance(first, Retry)
    assert 29 < first.after <= 30
    assert "song.cdg" in first.reason
    assert not first.counts
    quick = replace(work, rule=replace(work.rule, settle=0.01))
    saved(studio, "song.lrc", LYRICS)  # it has come since: the clock of this one begins
    assert delivered(quick) >= {"song/no_vocals.cdg", "song/no_vocals.lrc"}


def test_what_take_has_seen_costs_no_wait(studio: Studio, karaoke: Any, made: Make) -> None:
    work = karaoke({"no_vocals": 0.5}, "song.cdg")
    kept = {path.name: path.read_bytes() for path in studio.folder.iterdir() if path.is_file()}
    assert isinstance(take.run(work), Finished)
    for name, content in kept.items():
        (studio.folder / name).write_bytes(content)
    assert work.stop.wait(0.02) is False
    assert isinstance(deliver.run(work), Finished)


def test_for_review_there_are_only_stems(karaoke: Any) -> None:
    work = karaoke(BOTH, "song.cdg")
    held = replace(work, job=replace(work.job, reasons=("vocals at 0:12",)))
    assert isinstance(deliver.run(held), Finished)
    assert not list(held.rule.review.rglob("*.cdg"))


def test_an_inbox_that_is_away_is_waited_for(studio: Studio, karaoke: Any) -> None:
    work = karaoke(BOTH, "song.cdg", settle=30.0)
    deliver.run(work)
    inbox = studio.root / "in"
    away = inbox.rename(studio.root / "elsewhere")
    with pytest.raises(EnvironmentFault, match="in is not there"):
        deliver.run(work)
    away.rename(inbox)


def test_they_are_archived_with_their_song(studio: Studio, karaoke: Any) -> None:
    work = karaoke(BOTH, "song.cdg", "song.lrc")
    delivered(work)
    note = retired(work).note
    assert in_inbox(studio) == {"_done/song.wav", "_done/song.cdg", "_done/song.lrc"}
    assert "song.cdg" in note
    assert "song.lrc" in note


def test_in_the_archive_they_keep_one_name(studio: Studio, karaoke: Any) -> None:
    saved(studio, "_done/song.wav", b"another song")
    saved(studio, "_done/song (2).cdg", b"a third one's")
    work = karaoke(BOTH, "song.cdg")
    delivered(work)
    retired(work)
    assert (studio.root / "in/_done/song (3).cdg").read_bytes() == GRAPHICS
    assert (studio.root / "in/_done/song (3).wav").exists()
    assert "song (3).wav" in retired(work).note  # the try before was cut off


def test_a_kill_between_song_and_companions_loses_neither(studio: Studio, karaoke: Any) -> None:
    work = karaoke(BOTH, "song.cdg")
    delivered(work)
    (studio.root / "in/_done").mkdir()
    (studio.root / "in/song.wav").rename(studio.root / "in/_done/song.wav")  # as far as it came
    retired(work)
    assert in_inbox(studio) == {"_done/song.wav", "_done/song.cdg"}
    retired(work)
    assert in_inbox(studio) == {"_done/song.wav", "_done/song.cdg"}


def test_what_comes_after_delivery_stays_to_be_seen(studio: Studio, karaoke: Any) -> None:
    work = karaoke(BOTH, "song.cdg")
    delivered(work)
    saved(studio, "song.lrc", LYRICS)
    saved(studio, "song.cdg", GRAPHICS * 2)
    retired(work)
    assert in_inbox(studio) == {"_done/song.wav", "song.lrc", "song.cdg"}


def test_they_stay_for_another_recording_of_the_name(studio: Studio, karaoke: Any) -> None:
    work = karaoke(BOTH, "song.cdg")
    saved(studio, "song.flac")
    delivered(work)
    retired(work)
    assert in_inbox(studio) == {"_done/song.wav", "song.flac", "song.cdg"}


def test_with_a_song_that_cannot_be_used_they_are_put_aside(studio: Studio, karaoke: Any) -> None:
    work = karaoke(BOTH, "song.cdg", "song.lrc")
    retired(work, failing=True, code="damaged", reason="it is damaged", hint="mend it")
    names = {"song.wav", "song.wav.error.txt", "song.cdg", "song.lrc"}
    assert in_inbox(studio) == {f"_failed/{name}" for name in names}


def test_a_deleted_source_takes_what_was_delivered_along(studio: Studio, karaoke: Any) -> None:
    work = deleting(karaoke(BOTH, "song.cdg", "song.narration.wav"))
    delivered(work)
    retired(work)
    assert in_inbox(studio) == {"song.narration.wav"}  # it was not mixed in: the rule makes no dub
    again = deleting(karaoke(BOTH, "song.cdg"))
    retired(again, twin=3)
    assert in_inbox(studio) == {"song.narration.wav", "song.cdg"}  # nobody has delivered this one


@pytest.mark.parametrize("source", ["archive", "keep", "delete"])
def test_beside_a_second_copy_all_follows_once_nobody_knows_what_was_delivered(
    studio: Studio, karaoke: Any, source: str
) -> None:
    """The kept stems of the first were dropped for room, and what was known of its delivery with them."""
    work = karaoke(BOTH, "song.cdg")
    note = retired(replace(work, rule=replace(work.rule, source=source)), twin=3).note
    assert "not used" not in note
    assert ("_done/song.cdg" in in_inbox(studio)) == (source == "archive")


@pytest.mark.parametrize("source", ["archive", "keep", "delete"])
def test_beside_a_second_copy_what_was_not_delivered_stays_and_is_named(
    studio: Studio, karaoke: Any, source: str
) -> None:
    kept = studio.root / "results/k1/3"
    kept.mkdir(parents=True)
    work = karaoke(BOTH, "song.cdg")
    work = replace(work, rule=replace(work.rule, source=source))
    sight([studio.root / "in/song.wav"], kept / "companions.json", 1.0)  # job 3 was delivered with the graphics
    saved(studio, "song.lrc", LYRICS)
    note = retired(work, twin=3, reason="same recording as job 3").note
    assert "not used: song.lrc." in note
    assert "stemd redeliver 3" in note
    assert "song.lrc" in in_inbox(studio)
    assert ("_done/song.cdg" in in_inbox(studio)) == (source == "archive")


def test_the_daemon_brings_a_karaoke_song_from_folder_to_folder(tmp_path: Path, made: Make) -> None:
    (tmp_path / "config.toml").write_text(
        '[daemon]\nstate_dir = "state"\nrescan = 0.3\n[resources]\ndevice = "cpu"\nram_reserve_gb = 0\n'
        '[[rule]]\nname = "karaoke"\ninbox = "in"\noutbox = "out"\nsettle = 0.3\npreset = "karaoke"\nmodel = "fake"\n'
        'stems = ["no_vocals"]\nnames = "{track}.{ext}"\n'
    )
    inbox = tmp_path / "in"
    inbox.mkdir()
    (inbox / "orphan.lrc").write_bytes(LYRICS)
    (inbox / "Hit.cdg").write_bytes(GRAPHICS)
    (inbox / "Hit.lrc").write_bytes(LYRICS)
    (inbox / "Hit.mp3").write_bytes(made("k.mp3", "-b:a", "192k").read_bytes())
    argv = [sys.executable, DAEMON, tmp_path / "config.toml", "--once"]
    done = subprocess.run(argv, capture_output=True, timeout=90, check=True)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "Hit.mp3", "Hit.cdg", "Hit.lrc", "Hit (manifest).json",
    }  # fmt: skip
    left = {str(path.relative_to(inbox)) for path in inbox.rglob("*") if path.is_file()}
    assert left == {"orphan.lrc", "_done/Hit.mp3", "_done/Hit.cdg", "_done/Hit.lrc"}
    assert b"orphan.lrc belongs to a recording" in done.stderr
    (inbox / "Hit.lrc").write_bytes(LYRICS * 2)  # better ones, when all is over
    ledger = open_for_asking(tmp_path / "state")
    requests.ask(ledger, "redeliver", who="ann", now=1.0, job=1)
    ledger.close()
    subprocess.run(argv, capture_output=True, timeout=90, check=True)
    assert (tmp_path / "out/Hit (2).lrc").read_bytes() == LYRICS * 2
    assert (tmp_path / "out/Hit (2).cdg").read_bytes() == GRAPHICS
    assert not list((tmp_path / "state").rglob("*.cdg"))
