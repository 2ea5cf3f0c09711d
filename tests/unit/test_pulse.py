"""Stamps of the daemon's parts, and the sign of life that depends on them."""

import socket

import pytest
from loguru import logger

from stemd.pulse import Pulse
from stemd.service.heartbeat import Heartbeat


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def pulse(clock):
    return Pulse(clock)


def test_without_stamps_nobody_is_waited_for(pulse):
    assert pulse.still(0) is None


def test_a_part_stands_still_once_its_stamp_is_older_than_the_limit(pulse, clock):
    pulse.stamp("looks")
    clock.now = 30.0
    assert pulse.still(30) is None
    clock.now = 31.0
    still = pulse.still(30)
    assert (still.part, still.seconds) == ("looks", 31.0)
    assert str(still) == "looks has stood still for 31 s"
    pulse.stamp("looks")
    assert pulse.still(30) is None


def test_one_part_that_moves_does_not_hide_another(pulse, clock):
    pulse.stamp("looks", "waiting for the engine")
    for clock.now in range(40):
        pulse.stamp("looks")
    assert pulse.still(30).part == "waiting for the engine"
    pulse.leave("waiting for the engine")
    pulse.leave("what never began")
    assert pulse.still(30) is None


@pytest.mark.parametrize("blocked", ["requests", "looks", "headroom"])
def test_of_parts_that_take_turns_the_one_that_blocks_is_named(pulse, clock, blocked):
    turns = ("requests", "looks", "headroom")
    for part in (*turns, *turns[: turns.index(blocked)]):
        clock.now += 0.1
        pulse.stamp(part)
    clock.now += 60
    assert pulse.still(30).part == blocked


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    """What systemd was told, oldest first."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "60000000")
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
        yield lambda: listener.recv(4096).decode()


@pytest.fixture
def log():
    lines = []
    number = logger.add(lambda line: lines.append(line.record["level"].name + " " + line.record["message"]))
    yield lines
    logger.remove(number)


def test_the_sign_of_life_is_sent_only_while_every_part_moves(pulse, clock, systemd, log):
    heartbeat = Heartbeat(pulse)
    assert heartbeat.limit == 30
    pulse.stamp("looks", "headroom")
    heartbeat.beat()
    assert systemd() == "WATCHDOG=1"
    clock.now = 31.0
    pulse.stamp("looks")
    for _ in range(3):
        heartbeat.beat()
        assert systemd() == "STATUS=headroom has stood still for 31 s"
    clock.now = 32.0
    pulse.stamp("headroom")
    heartbeat.beat()
    assert systemd() == "WATCHDOG=1"
    with pytest.raises(BlockingIOError):
        systemd()
    assert log == [
        "ERROR headroom has stood still for 31 s; unless it moves soon, systemd starts the daemon again",
        "WARNING headroom moves again",
    ]


def test_without_systemd_the_log_says_what_to_do(pulse, clock, log, monkeypatch):
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    heartbeat = Heartbeat(pulse)
    pulse.stamp("looks")
    clock.now = 31.0
    heartbeat.beat()
    assert log == ["ERROR looks has stood still for 31 s; restart the daemon"]
