"""A part of the running daemon is blocked: systemd hears its name, and no sign of life, until it moves again."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from surroundings import RULE, TOP

BLOCKED = Path(__file__).parents[1] / "fakes" / "blocked.py"
CONFIG = TOP + RULE.replace('"fake"', '"demo"')
LIMIT = 3.0  # seconds that a part may stand still: half of what systemd's watchdog waits


@pytest.fixture
def systemd(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(30)
        yield listener


@pytest.fixture
def daemon(tmp_path, systemd):
    (tmp_path / "config.toml").write_text(CONFIG)
    systemds = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": str(round(2e6 * LIMIT))}
    with (tmp_path / "log").open("w") as log:
        started = subprocess.Popen(
            [sys.executable, BLOCKED, "headroom", tmp_path / "flag", "run"],
            cwd=tmp_path, env=os.environ | systemds, stdout=log, stderr=log,
        )  # fmt: skip
    yield started
    started.kill()
    started.wait()


def told(systemd, word):
    """Wait until systemd is told something with this word; gives all that it was told until then."""
    messages = [""]
    while word not in messages[-1]:
        messages.append(systemd.recv(4096).decode())
    return messages


@pytest.mark.usefixtures("daemon")
def test_the_part_is_named_and_the_daemon_does_not_seem_alive(systemd, tmp_path):
    told(systemd, "READY=1")
    told(systemd, "WATCHDOG=1")
    (tmp_path / "flag").touch()
    (tmp_path / "in/song.wav").touch()  # gives it something to plan for
    assert told(systemd, "STATUS=measuring headroom has stood still")
    for _ in range(3):
        assert "WATCHDOG" not in systemd.recv(4096).decode()
    (tmp_path / "flag").unlink()
    told(systemd, "WATCHDOG=1")
    log = (tmp_path / "log").read_text()
    assert "measuring headroom has stood still" in log
    assert "measuring headroom moves again" in log


def test_what_kills_it_leaves_where_each_thread_stood(daemon, systemd, tmp_path):
    told(systemd, "WATCHDOG=1")
    daemon.send_signal(signal.SIGABRT)  # as systemd's watchdog does
    assert daemon.wait(10) == -signal.SIGABRT
    log = (tmp_path / "log").read_text()
    assert "in _tick" in log
    assert "heartbeat.py" in log
