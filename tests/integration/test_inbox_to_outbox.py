"""From the inbox to the outbox, by the real daemon with a fake network: albums, markers of senders, names."""

from __future__ import annotations

import io
import json
import os
import re
import unicodedata
from pathlib import Path

import pytest
from rich.console import Console
from surroundings import RULE, TOP, noise, record
from workers import FakeWorkers, FlaggingWorkers

from stemd.commands.show import _status_lines
from stemd.commands.show import jobs as list_jobs
from stemd.commands.submit import submit
from stemd.commands.watch import picture
from stemd.config import load
from stemd.inbox import stat_of
from stemd.ledger import albums, jobs, open_for_asking, open_for_writing, stopping
from stemd.model import Arrival, Change, Stage, Stat, Status
from stemd.service.daemon import Service
from stemd.status import status
from stemd.web.pages import templates

NOW = 1_790_000_000.0
CONFIG = TOP + RULE


@pytest.fixture
def ledger(tmp_path):
    (tmp_path / "state").mkdir()
    opened = open_for_writing(tmp_path / "state")
    yield opened
    opened.close()


def arrive(ledger, *names: bytes, now: float = NOW, rule: str = "r"):
    return jobs.admit(ledger, [(Arrival(rule, b"/in/" + name, Stat(1, 2, 3)), name) for name in names], now)


def end(ledger, job, status: Status, stage: Stage = Stage.RETIRE):
    running = jobs.claim(ledger, job, NOW)
    return jobs.apply(ledger, running, Change(stage, status, "x"), NOW)


def test_how_far_an_album_is(ledger, tmp_path, capsys):
    one, two, three, four, _ = arrive(ledger, b"X/1.wav", b"X/2.wav", b"X/CD 2/1.wav", b"X/4.wav", b"single.wav")
    arrive(ledger, b"X/1.wav", rule="another")
    end(ledger, one, Status.DONE)
    end(ledger, two, Status.FAILED)
    jobs.apply(ledger, four, Change(Stage.TAKE, Status.CANCELLED, "taken away"), NOW)
    other, mine = albums.unfinished(ledger)
    assert (other.rule, mine.rule, mine.folder) == ("another", "r", b"X")
    assert (mine.told, mine.at_work) == ("1 of 3 done, 1 failed", True)
    heard = Change(Stage.DELIVER, Status.HELD, "x", reasons=("vocal audible",))
    held = jobs.apply(ledger, jobs.claim(ledger, three, NOW), heard, NOW)
    assert albums.album(ledger, held).told == "1 of 3 done, 1 to review, 1 failed"
    assert not albums.album(ledger, held).at_work
    facts = status(tmp_path / "state", ledger)
    assert [(album["name"], album["total"], album["done"]) for album in facts["albums"]] == [("X", 1, 0), ("X", 3, 1)]
    told = "1 of 3 done, 1 to review, 1 failed"
    assert f"  album X (rule r): {told}" in list(_status_lines(facts))
    (tmp_path / "config.toml").write_text(CONFIG)
    list_jobs(tmp_path / "config.toml", as_json=False, status=None, rule="r")
    assert capsys.readouterr().out.splitlines()[-1] == f"album X (rule r): {told}"
    console = Console(file=io.StringIO(), width=120)
    console.print(picture(facts))
    assert told in console.file.getvalue()
    assert f'<span class="what">{told}</span>' in templates.get_template("_queue.html").render(now=facts)
    jobs.apply(ledger, held, Change(Stage.RETIRE, Status.CANCELLED, "not wanted"), NOW)
    assert [album.rule for album in albums.unfinished(ledger)] == ["another"]


def test_a_late_track_joins_its_album_while_that_is_at_work(ledger):
    (first,) = arrive(ledger, b"X\xe9/2.wav")
    (late,) = arrive(ledger, b"X\xe9/1.wav", now=NOW + 60)
    assert late.created == first.created
    assert albums.album(ledger, late).total == 2
    for job in (first, late):
        end(ledger, job, Status.DONE)
    (next_year,) = arrive(ledger, b"X\xe9/3.wav", now=NOW + 3e7)
    assert next_year.created == NOW + 3e7
    assert albums.album(ledger, next_year).told == "0 of 1 done"


def tone(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    record(path, noise(number))


@pytest.fixture
def daemon(tmp_path):
    """Lets the daemon work until nothing is left; more: keys of the rule."""

    def work(more: str = "") -> int:
        (tmp_path / "config.toml").write_text(CONFIG + more)
        return Service(load(tmp_path / "config.toml"), once=True, pool=FakeWorkers()).run()

    return work


@pytest.mark.parametrize("before", ["", 'review = "in/hear"\nfailed = "in/bad"\narchive = "in/old"\n'])
def test_what_lies_in_the_folders_of_an_earlier_configuration_is_not_taken(tmp_path, before):
    """Stems that wait for a listener, files that could not be used, archived sources."""

    def work(folders: str, network: FakeWorkers) -> list[tuple[str, Status]]:
        (tmp_path / "config.toml").write_text(CONFIG + folders)
        Service(load(tmp_path / "config.toml"), once=True, pool=network).run()
        ledger = open_for_asking(tmp_path / "state")
        found = [(os.fsdecode(job.name), job.status) for job in jobs.select(ledger)]
        ledger.close()
        return sorted(found)

    tone(tmp_path / "in/good.wav", 1)
    work(before, FakeWorkers())
    tone(tmp_path / "in/doubted.wav", 2)
    (tmp_path / "in/no sound.wav").write_text("nothing")
    found = work(before, FlaggingWorkers())
    assert found == [("doubted.wav", Status.HELD), ("good.wav", Status.DONE), ("no sound.wav", Status.FAILED)]
    assert work('review = "hear"\nfailed = "bad"\narchive = "old"\n', FlaggingWorkers()) == found


def test_a_submitted_file_is_marked_where_the_rule_wants_it(tmp_path):
    (tmp_path / "config.toml").write_text(CONFIG + 'ready = "marker"\n')
    tone(tmp_path / "song.wav", 1)
    (tmp_path / "in").mkdir()
    submit(tmp_path / "song.wav", "r", tmp_path / "config.toml")
    assert {path.name for path in (tmp_path / "in").iterdir()} == {"song.wav", "song.wav.ready"}


def test_a_sender_with_a_marker_need_not_wait(tmp_path, daemon):
    tone(tmp_path / "in/whole.wav", 1)
    tone(tmp_path / "in/half.wav", 2)
    (tmp_path / "in/whole.wav.ready").touch()
    (tmp_path / "in/no sound.wav").write_text("nothing")
    (tmp_path / "in/no sound.wav.ready").touch()
    assert daemon('ready = "marker"\n') == 3  # one has failed
    left = sorted(path.name for path in (tmp_path / "in").iterdir())
    assert left == ["_done", "_failed", "half.wav", "no sound.wav.error.txt", "whole.wav.done"]
    files = json.loads((tmp_path / "in/whole.wav.done").read_text())["files"]
    assert {Path(file).name for file in files} == {"vocals.wav", "manifest.json"}
    assert all(Path(file).is_file() for file in files)


def test_a_cancelled_job_stays_cancelled_though_the_daemon_died_first(tmp_path, daemon, ledger):
    source = tmp_path / "in/song.wav"
    tone(source, 1)
    arrival = Arrival("r", os.fsencode(source), stat_of(source.lstat()))
    (job,) = jobs.admit(ledger, [(arrival, b"song.wav")], NOW)
    running = jobs.claim(ledger, job, NOW)
    jobs.note(ledger, running, "cancelled by ann", NOW, stopping.STOPPING)
    (tmp_path / "state/work" / str(job.id)).mkdir(parents=True)
    assert daemon() == 0
    assert jobs.get(ledger, job.id).status is Status.CANCELLED
    assert source.exists()
    assert list((tmp_path / "out").iterdir()) == list((tmp_path / "state/work").iterdir()) == []


HARD_NAMES = [
    "Song.wav", "song.wav", "caf\u00e9.wav", "cafe\u0301.wav", "no: <yes>?.wav", "no_ _yes__.wav",
    f"Live./{'x' * 251}.wav", "live/CON.wav",
]  # fmt: skip
FORBIDDEN = re.compile(r'[<>:"\\|?*\x00-\x1f]|[. ]$|^(con|prn|aux|nul)(\.|$)', re.IGNORECASE)


def test_names_are_legal_everywhere_and_no_two_recordings_become_one(tmp_path, daemon):
    for number, name in enumerate(HARD_NAMES):
        tone(tmp_path / "in" / name, number)
    assert daemon() == 0
    delivered = [json.loads(path.read_text()) for path in (tmp_path / "out").rglob("manifest.json")]
    assert len({told["source"]["sha256"] for told in delivered}) == len(delivered) == len(HARD_NAMES)
    for folder, folders, files in os.walk(tmp_path / "out"):
        names = folders + files
        assert not [name for name in names if FORBIDDEN.search(name) or len(os.fsencode(name)) > 255], folder
        seen = {unicodedata.normalize("NFC", name).casefold() for name in names}
        assert len(seen) == len(names), f"{names} are one for some system"


def test_a_saved_folder_becomes_one_folder_in_the_tracks_order(tmp_path, daemon):
    names = ["10.wav", "2.wav", "1.wav", "CD 2/1.wav"]
    for number, name in enumerate(names):
        tone(tmp_path / "in/The Album" / name, number)
    (tmp_path / "in/The Album/cover.jpg").write_bytes(b"\xff\xd8\xff")
    assert daemon() == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["The Album"]
    tracks = ["1", "2", "10", "CD 2/1"]
    for track in tracks:
        assert sorted(file.name for file in (tmp_path / "out/The Album" / track).iterdir()) == [
            "manifest.json",
            "vocals.wav",
        ]
    assert (tmp_path / "in/The Album/cover.jpg").exists()
    ledger = open_for_writing(tmp_path / "state")
    ended = sorted(jobs.select(ledger), key=lambda job: job.changed)
    assert [os.fsdecode(job.name) for job in ended] == [f"The Album/{track}.wav" for track in tracks]
    assert len({job.created for job in ended}) == 1
    ledger.close()
