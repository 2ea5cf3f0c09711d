"""What the daemon's own thread asks of shares is answered soon, or not waited for. Shares here hang for real."""

import errno
import os
import threading
import time

import pytest
from hanging import hanging
from loguru import logger
from surroundings import RULE, TOP, record
from workers import FakeWorkers

from stemd import patience
from stemd.commands.lookup import find_job
from stemd.config import load
from stemd.doctor import folders
from stemd.doctor.examine import examine
from stemd.files.plan import Plan, disk_of, remember
from stemd.files.presence import gone
from stemd.ledger import facts, jobs, open_for_asking, open_for_writing, requests
from stemd.model import Arrival, Change, Stage, Stat, Status
from stemd.service.answers import PAUSED
from stemd.service.daemon import Service
from stemd.stages.copies import OUTBOX_JOURNAL
from stemd.status import status


@pytest.fixture
def nas(tmp_path):
    folder = tmp_path / "nas"
    folder.mkdir()
    return folder


@pytest.fixture
def work(tmp_path):
    """A daemon that works until nothing is left; gives its exit code."""

    def run(rule=""):
        (tmp_path / "config.toml").write_text(TOP + RULE + rule)
        return Service(load(tmp_path / "config.toml"), once=True, pool=FakeWorkers()).run()

    return run


@pytest.fixture
def said():
    """What the log tells."""
    lines: list[str] = []
    number = logger.add(lines.append, format="{message}")
    yield lines
    logger.remove(number)


def test_questions_that_get_no_answer_are_not_waited_for(nas, tmp_path):
    with hanging(nas):
        began = time.monotonic()
        told = patience.ask({"near": tmp_path.stat, "far": (nas / "x").stat}, 0.3)
        assert list(told) == ["near"]
        assert time.monotonic() - began < 5
    with pytest.raises(FileNotFoundError):
        patience.ask({"far": (nas / "x").stat}, 30)


def test_what_lies_on_a_hanging_share_counts_as_being_there(nas, tmp_path):
    far, missing = bytes(nas / "song.wav"), bytes(tmp_path / "song.wav")
    assert gone([far, missing]) == {far, missing}
    with hanging(nas):
        assert gone([far, missing]) == {missing}


@pytest.mark.parametrize("why", [errno.ESTALE, errno.EIO, errno.EACCES])
def test_what_cannot_be_looked_at_counts_as_being_there(tmp_path, monkeypatch, why):
    def lstat(path):
        if os.fsencode(path) == failing:
            raise OSError(why, os.strerror(why), path)
        return real(path)

    failing, missing, real = bytes(tmp_path / "song.wav"), bytes(tmp_path / "gone.wav"), os.lstat
    monkeypatch.setattr(os, "lstat", lstat)
    assert gone([failing, missing, missing + b"/vocals.wav"]) == {missing, missing + b"/vocals.wav"}


def test_a_file_is_known_through_a_link_though_another_folder_hangs(nas, tmp_path, work):
    (tmp_path / "in").mkdir()
    record(tmp_path / "in/song.wav")
    work()
    (tmp_path / "config.toml").write_text(TOP + RULE + 'failed = "nas/failed"')
    settings, asking = load(tmp_path / "config.toml"), open_for_asking(tmp_path / "state")
    (tmp_path / "link").symlink_to("in")
    with hanging(nas):
        assert find_job(settings, asking, str(tmp_path / "link/_done/song.wav")).id == 1
    asking.close()


def test_the_examination_names_the_folder_and_tries_the_others(nas, tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "_PATIENCE", 4.0)
    (tmp_path / "config.toml").write_text(TOP + RULE.replace('"out"', '"nas"'))
    with hanging(nas):
        found = {each.area: each for each in examine(lambda: tmp_path / "config.toml")}
    assert found["outbox r"].text == f"{nas} does not answer: its share hangs"
    assert found["inbox r"].level == "ok"
    assert found["state folder"].level == "ok"


def test_a_job_is_cleaned_up_after_once_its_outbox_answers(nas, tmp_path, work):
    work()
    ledger = open_for_writing(tmp_path / "state")
    (job,) = jobs.admit(ledger, [(Arrival("r", b"/in/a.wav", Stat(1, 2, 3)), b"a.wav")], 1.0)
    jobs.apply(ledger, job, Change(Stage.TAKE, Status.CANCELLED, "cancelled"), 2.0)
    ledger.close()
    folder, half = tmp_path / f"state/work/{job.id}", nas / ".stemd-1-half"
    folder.mkdir()
    half.mkdir()
    remember(folder / OUTBOX_JOURNAL, Plan("writing", half, disk_of(nas)))
    with hanging(nas):
        work()
        assert folder.exists()
    work()
    assert not folder.exists()
    assert not half.exists()


def test_a_cancelled_job_is_cleaned_up_after_as_soon_as_its_outbox_answers(nas, tmp_path, work):
    work()
    ledger = open_for_writing(tmp_path / "state")
    facts.remember(ledger, PAUSED, "ann")
    (job,) = jobs.admit(ledger, [(Arrival("r", b"/in/a.wav", Stat(1, 2, 3)), b"a.wav")], 1.0)
    ledger.close()
    folder = tmp_path / f"state/work/{job.id}"
    folder.mkdir()
    remember(folder / OUTBOX_JOURNAL, Plan("writing", nas / ".stemd-1-half", disk_of(nas)))
    service = Service(load(tmp_path / "config.toml"), pool=FakeWorkers())
    daemon = threading.Thread(target=service.run, daemon=True)
    asking = open_for_asking(tmp_path / "state")
    try:
        with hanging(nas):
            daemon.start()
            number = requests.ask(asking, "cancel", who="ann", now=1.0, job=job.id, details={})
            wait_for(lambda: requests.find(asking, number).ok)
            again = requests.ask(asking, "retry", who="ann", now=1.0, job=job.id, details={})
            wait_for(lambda: "is still being taken back" in requests.find(asking, again).answer)
            assert folder.exists()
        wait_for(lambda: not folder.exists())
    finally:
        asking.close()
        service.stop()
        daemon.join(30)


def test_an_outbox_that_hangs_keeps_no_other_rule_from_delivering(nas, tmp_path, monkeypatch, said):
    monkeypatch.setattr(patience, "STILL", 2.0)
    near = RULE.replace('"r"', '"near"').replace('"in"', '"in2"').replace('"out"', '"out2"')
    text = TOP + RULE.replace('"out"', '"nas"') + near
    (tmp_path / "config.toml").write_text(text)
    service = Service(load(tmp_path / "config.toml"), once=True, pool=FakeWorkers())
    codes: list[int] = []
    daemon = threading.Thread(target=lambda: codes.append(service.run()), daemon=True)
    for inbox, names in (("in", "ab"), ("in2", "cd")):
        (tmp_path / inbox).mkdir()
        for name in names:
            record(tmp_path / inbox / f"{name}.wav", samples=name.encode() * 44100)
    with hanging(nas):
        daemon.start()
        wait_for(lambda: len([*tmp_path.glob("out2/*/manifest.json")]) == 2)
        asking = open_for_asking(tmp_path / "state")
        wait_for(lambda: any("stands still" in job["reason"] for job in status(tmp_path / "state", asking)["waiting"]))
        told = status(tmp_path / "state", asking)
        (stands,) = [stage["name"] for stage in told["running"] if stage["rule"] == "r" and stage["still"] > 2]
        asking.close()
        assert said.count(f"{stands} stands still: does the share of its rule hang?\n") == 1
    daemon.join(60)
    assert codes == [0]
    assert sorted(path.parent.name for path in nas.glob("*/manifest.json")) == ["a", "b"]


def wait_for(what, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_another_try_is_refused_while_the_source_cannot_be_looked_at(nas, tmp_path, work):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/song.wav").write_text("no music")
    assert work('failed = "nas"') == 3
    asking = open_for_asking(tmp_path / "state")
    number = requests.ask(asking, "retry", who="ann", now=1.0, job=1, details={})
    with hanging(nas):
        work('failed = "nas"')
    assert "does not answer; ask again once it does" in requests.find(asking, number).answer
    record(nas / "song.wav")
    number = requests.ask(asking, "retry", who="ann", now=1.0, job=1, details={})
    work('failed = "nas"')
    assert requests.find(asking, number).ok
    assert jobs.get(asking, 1).status is Status.DONE
    asking.close()
