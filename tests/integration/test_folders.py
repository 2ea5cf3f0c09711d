"""Folders of rules that were there once and are missing now: their share is away, and nothing is made in its place."""

from pathlib import Path

import pytest
from loguru import logger
from surroundings import RULE, TOP, record
from workers import FakeWorkers

from stemd.config import load
from stemd.doctor import Level
from stemd.doctor.examine import _folders
from stemd.ledger import jobs, open_for_asking
from stemd.model import Status
from stemd.mounts import FileSystem
from stemd.service import daemon, runner
from stemd.service import folders as prepared
from stemd.stages import deliver

FAR = RULE.replace('"r"', '"far"').replace('"in"', '"nas/in"').replace('"out"', '"nas/out"')
BOTH = FAR + RULE.replace('"out"', '"nas/other"')


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A daemon that works until nothing is left; gives its exit code."""
    monkeypatch.setattr(runner, "_AGAIN", 0.05)

    def run(rules=BOTH):
        (tmp_path / "config.toml").write_text(TOP + rules)
        return daemon.Service(load(tmp_path / "config.toml"), once=True, pool=FakeWorkers()).run()

    return run


@pytest.fixture
def said():
    """What the log tells."""
    lines: list[str] = []
    number = logger.add(lines.append, format="{message}")
    yield lines
    logger.remove(number)


@pytest.fixture
def unmount(tmp_path):
    """Leave the bare mount point; gives where the share is now."""

    def leave():
        away = (tmp_path / "nas").rename(tmp_path / "away")
        (tmp_path / "nas").mkdir()
        return away

    return leave


def only_job(home):
    asking = open_for_asking(home / "state")
    try:
        (job,) = jobs.select(asking)
    finally:
        asking.close()
    return job


def test_a_share_that_is_away_at_the_start_is_waited_for(tmp_path, work, unmount, said):
    assert work() == 0
    away = unmount()
    record(tmp_path / "in/song.wav")
    assert work() == 3
    assert list((tmp_path / "nas").iterdir()) == []
    job = only_job(tmp_path)
    assert (job.status, job.code) == (Status.WAITING, "outbox-missing")
    assert f"mkdir -p {tmp_path}/nas/other" in job.hint
    assert any("inbox offline" in line and f"mkdir -p {tmp_path}/nas/in" in line for line in said)
    assert any(f"{tmp_path}/nas/other" in line and "was there before" in line for line in said)
    (tmp_path / "nas").rmdir()
    away.rename(tmp_path / "nas")
    assert work() == 0
    assert (tmp_path / "nas/other/song/vocals.wav").exists()


def test_a_folder_that_was_made_by_hand_meanwhile_is_known_from_then_on(tmp_path, work, unmount):
    work(RULE)
    (tmp_path / "nas").mkdir()
    (tmp_path / "out").rmdir()
    (tmp_path / "out").symlink_to("nas/out")
    assert work(RULE) == 0  # nothing to deliver, and the outbox is not made behind the link
    assert not (tmp_path / "nas/out").exists()
    (tmp_path / "nas/out").mkdir()
    record(tmp_path / "in/song.wav")
    assert work(RULE) == 0
    unmount()
    work(RULE)
    assert list((tmp_path / "nas").iterdir()) == []


def test_a_folder_that_comes_while_the_daemon_works_is_known_from_then_on(tmp_path, work, unmount, monkeypatch):
    (tmp_path / "nas").mkdir()
    with monkeypatch.context() as first:
        first.setattr(daemon, "prepare", lambda *_: None)
        for name in ("in", "nas/in", "nas/out", "nas/other"):
            (tmp_path / name).mkdir()
        record(tmp_path / "in/song.wav")
        assert work() == 0
    unmount()
    assert work() == 3
    assert not {"in", "other"} & {path.name for path in (tmp_path / "nas").iterdir()}


def test_nothing_is_made_below_a_mount_point_of_fstab_that_is_not_mounted(tmp_path, work, said, monkeypatch):
    (tmp_path / "nas").mkdir()
    for module in (prepared, deliver):
        monkeypatch.setattr(module, "unmounted", lambda path: tmp_path / "nas" if "nas" in path.parts else None)
    monkeypatch.setattr("stemd.inbox.unmounted", prepared.unmounted)
    (tmp_path / "in").mkdir()
    record(tmp_path / "in/song.wav")
    assert work() == 3
    assert list((tmp_path / "nas").iterdir()) == []
    assert any(f"inbox offline: nothing is mounted at {tmp_path}/nas" in line for line in said)
    (tmp_path / "nas/other").mkdir()  # a folder on the bare mount point itself
    assert work() == 3
    assert list((tmp_path / "nas/other").iterdir()) == []
    job = only_job(tmp_path)
    assert (job.status, job.code) == (Status.WAITING, "outbox-missing")
    assert f"mount {tmp_path}/nas" in job.hint


def examined(home, area):
    return next(found for found in _folders(load(home / "config.toml"), {}) if found.area == area)


def test_the_doctor_tells_what_is_away_and_what_lies_on_another_disk(tmp_path, work, unmount, said, monkeypatch):
    work()
    unmount()
    for area, folder in (("inbox far", "nas/in"), ("outbox r", "nas/other")):
        found = examined(tmp_path, area)
        assert (found.level, found.text) == (Level.PROBLEM, f"{tmp_path}/{folder} was there before and is not now")
        assert f"mkdir -p {tmp_path}/{folder}" in found.advice
    monkeypatch.setattr(prepared, "filesystem", lambda _: FileSystem("nfs4", Path("/")))
    work(RULE)
    monkeypatch.undo()
    work(RULE)
    assert any(f"{tmp_path}/out was on nfs4 and is on" in line for line in said)
    found = examined(tmp_path, "outbox r")
    assert found.level is Level.WARNING
    assert "was on nfs4" in found.text
