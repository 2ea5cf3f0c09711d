"""Looks that take long: a slow share is waited for, one that hangs is offline, and neither holds up the daemon."""

import contextlib
import os
import threading
from dataclasses import replace

import pytest
from loguru import logger

from stemd.commands.common import held_up
from stemd.inbox import Look
from stemd.model import Rule
from stemd.service import inboxes as module
from stemd.service.inboxes import Inboxes


class Clock:
    now = 100.0

    def monotonic(self):
        return self.now


class Share:
    """A listing that makes one step whenever it is told to."""

    def __init__(self):
        self.step, self.stepped, self.done = threading.Event(), threading.Event(), False

    def look(self, rule, at, moved, once_own):
        while not self.done:
            self.step.wait(10)
            self.step.clear()
            moved()
            self.stepped.set()
        return Look(rule.name, at, inbox=os.fsencode(rule.inbox))

    def go_on(self, *, done=False):
        self.done = done
        self.stepped.clear()
        self.step.set()
        assert self.stepped.wait(10)


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


def test_a_listing_that_moves_may_take_long_and_one_that_hangs_is_offline(tmp_path, monkeypatch, clock):
    share, posted = Share(), []
    monkeypatch.setattr(module, "look", share.look)
    folders = dict.fromkeys(("inbox", "outbox", "review", "failed", "archive"), tmp_path)
    inboxes = Inboxes(30, posted.append)
    inboxes.follow([Rule(name="songs", **folders)], lambda _: [])
    for _ in range(4):
        inboxes.start_due(clock.now)
        share.go_on()
        clock.now += 50
    inboxes.start_due(clock.now)
    assert inboxes.offline() == 0
    clock.now += 11
    inboxes.start_due(clock.now)
    assert inboxes.all["songs"].offline == "does not answer for 60 s"
    share.go_on(done=True)
    while not posted:
        pass
    inboxes.receive(posted[0], clock.now)
    assert inboxes.offline() == 0
    inboxes.close()


def test_a_look_at_an_inbox_that_a_reload_has_replaced_counts_for_nothing(tmp_path, clock):
    before, after = tmp_path / "before", tmp_path / "after"
    for folder in (before, after):
        folder.mkdir()
    (before / "song.wav").write_bytes(b"sound")
    others = dict.fromkeys(("outbox", "review", "failed", "archive"), tmp_path)
    rule = Rule(name="songs", inbox=before, ready="marker", **others)
    (before / "song.wav.ready").touch()
    inboxes = Inboxes(30, lambda _: None)
    inboxes.follow([rule], lambda _: [])
    late = module.look(rule, clock.now, lambda: None)
    inboxes.follow([replace(rule, inbox=after)], lambda _: [])
    assert inboxes.receive(late, clock.now) == []
    assert inboxes.all["songs"].looks == 0
    inboxes.close()


def test_a_folder_that_cannot_be_looked_into_is_told(tmp_path, clock):
    rule = Rule(name="songs", **dict.fromkeys(("inbox", "outbox", "review", "failed", "archive"), tmp_path))
    inboxes = Inboxes(30, lambda _: None)
    inboxes.follow([rule], lambda _: [])
    folder = os.fsencode(tmp_path / "shoebox")
    with captured() as lines:
        for _ in range(2):
            inboxes.receive(Look("songs", clock.now, unreadable=(folder,), inbox=os.fsencode(tmp_path)), clock.now)
    assert [line for line in lines if "shoebox cannot be looked into" in line] == lines
    assert len(lines) == 1
    assert inboxes.unreadable() == 1
    assert module.summary(inboxes.all)[0]["unreadable"] == 1
    assert held_up(module.summary(inboxes.all)[0]) == ", 1 of its folders cannot be looked into"
    inboxes.close()


def test_folders_of_an_earlier_configuration_are_told(tmp_path):
    own = {"review": tmp_path / "in/_review", "failed": tmp_path / "failed", "archive": tmp_path / "done"}
    rule = Rule(name="songs", inbox=tmp_path / "in", outbox=tmp_path / "out", **own)
    inboxes = Inboxes(30, lambda _: None)
    inboxes.once_own = frozenset({*own.values(), tmp_path / "in/_done", tmp_path / "in", tmp_path / "other"})
    with captured("INFO") as lines:
        inboxes.follow([rule], lambda _: [])
    assert [line.partition(" was once for review")[0] for line in lines] == [str(tmp_path / "in/_done")]
    inboxes.close()


@contextlib.contextmanager
def captured(level="WARNING"):
    """What is logged meanwhile, from this level on."""
    lines = []
    sink = logger.add(lines.append, level=level, format="{message}")
    yield lines
    logger.remove(sink)
