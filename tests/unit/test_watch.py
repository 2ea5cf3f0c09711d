"""Watching costs one inotify instance whatever the rules, and where it fails nothing is lost but time."""

import ctypes
import errno
import os
import threading
from pathlib import Path

import pytest
from loguru import logger
from watchdog.observers import inotify_c
from watchdog.observers.api import EventEmitter

from stemd import watch as module
from stemd.inbox import Look
from stemd.model import Rule
from stemd.mounts import filesystem
from stemd.service.inboxes import Inboxes
from stemd.watch import Watch

THREAD_LIMIT = RuntimeError("can't start new thread")


class Clock:
    now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


@pytest.fixture
def woken():
    return []


@pytest.fixture
def watch(woken):
    threads = threading.active_count()
    made = Watch(woken.append)
    yield made
    made.close()
    wait_for(lambda: threading.active_count() <= threads)  # another test counts them


def refused(number, tries):
    """Answers as the kernel does at one of its limits."""

    def answer(*_):
        tries.append(number)
        ctypes.set_errno(number)
        return -1

    return answer


def followed(watch, inbox):
    inbox.mkdir(exist_ok=True)
    there = inbox.stat()
    return watch.follow(inbox.name, inbox, (there.st_dev, there.st_ino), filesystem(inbox))


def instances():
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]  # one is the listing's own
    return sum(link.readlink() == Path("anon_inode:inotify") for link in links)


def held():
    return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()


def wait_for(what):
    waited = threading.Event()
    for _ in range(500):
        if what():
            return
        waited.wait(0.02)
    pytest.fail("nothing came")


def test_all_inboxes_share_one_inotify_instance_and_each_wakes_its_own_rule(tmp_path, watch, woken):
    inboxes = [tmp_path / name for name in ("songs", "talks", "films")]
    before = instances()
    assert [followed(watch, inbox) for inbox in inboxes] == ["", "", ""]
    assert instances() == before + 1
    watch.leave("songs")
    for inbox in inboxes:
        (inbox / "new.wav").touch()
    wait_for(lambda: {"talks", "films"} <= set(woken))
    assert set(woken) == {"talks", "films"}


def test_closing_lets_go_of_everything(tmp_path, watch):
    before = held()
    for name in ("songs", "talks"):
        followed(watch, tmp_path / name)
    watch.close()
    wait_for(lambda: held() == before)


def test_an_inbox_that_was_removed_and_made_again_is_watched_again(tmp_path, watch, woken):
    inbox = tmp_path / "songs"
    identity = (1, 1)  # file systems give the number of a removed folder to the next
    inbox.mkdir()
    watch.follow("songs", inbox, identity, filesystem(inbox))
    inbox.rmdir()
    wait_for(lambda: not any(isinstance(thread, EventEmitter) for thread in threading.enumerate()))
    inbox.mkdir()
    woken.clear()
    assert watch.follow("songs", inbox, identity, filesystem(inbox)) == ""
    (inbox / "new.wav").touch()
    wait_for(lambda: "songs" in woken)


@pytest.mark.parametrize(
    "call, number", [("inotify_init", errno.EMFILE), ("inotify_add_watch", errno.ENOSPC)], ids=["EMFILE", "ENOSPC"]
)
def test_a_limit_of_the_kernel_leaks_nothing_and_is_met_again_rarely(
    tmp_path, watch, woken, clock, monkeypatch, call, number
):
    tries = []
    with monkeypatch.context() as patch:
        patch.setattr(inotify_c, call, refused(number, tries))
        assert "limit reached" in followed(watch, tmp_path / "songs")
        after_one = held()
        for _ in range(20):
            assert "limit reached" in followed(watch, tmp_path / "songs")
            assert "limit reached" in followed(watch, tmp_path / "talks")
        assert len(tries) == 1
        for _ in range(5):
            clock.now += module.RETRY
            followed(watch, tmp_path / "songs")
        assert len(tries) == 6
        assert held() == after_one
    clock.now += module.RETRY
    assert followed(watch, tmp_path / "songs") == ""
    (tmp_path / "songs/new.wav").touch()
    wait_for(lambda: woken)


def test_the_fault_of_one_inbox_keeps_no_other_from_being_watched(tmp_path, watch):
    assert "No such file" in watch.follow("gone", tmp_path / "gone", (1, 1), filesystem(tmp_path))
    assert followed(watch, tmp_path / "songs") == ""


def test_without_a_thread_to_spare_nothing_is_watched_until_later(tmp_path, watch, clock, monkeypatch):
    before = held()
    followed(watch, tmp_path / "songs")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        assert "can't start new thread" in followed(watch, tmp_path / "talks")
    wait_for(lambda: held() == before)
    assert "can't start new thread" in followed(watch, tmp_path / "songs")
    clock.now += module.RETRY
    assert followed(watch, tmp_path / "songs") == ""


def no_thread(_):
    raise THREAD_LIMIT


def test_that_an_inbox_cannot_be_watched_is_told_once_and_it_is_served(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(inotify_c, "inotify_init", refused(errno.EMFILE, []))
    rule = Rule(name="songs", **dict.fromkeys(("inbox", "outbox", "review", "failed", "archive"), tmp_path))
    inboxes = Inboxes(30, lambda _: None)
    inboxes.follow([rule], lambda _: [])
    lines = []
    sink = logger.add(lines.append, level="INFO", format="{message}")
    for _ in range(3):
        inboxes.receive(Look("songs", clock.now, inbox=os.fsencode(tmp_path), disk=filesystem(tmp_path)), clock.now)
    logger.remove(sink)
    assert [line for line in lines if "looks every 30 s only" in line] == lines
    assert len(lines) == 1
    assert inboxes.all["songs"].looks == 3
    inboxes.close()
