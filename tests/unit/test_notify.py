"""sd_notify over a real datagram socket, in the file system and abstract."""

import os
import socket
import time
import uuid

import pytest

from stemd import notify


@pytest.fixture(params=["file", "abstract"])
def systemd(request, tmp_path, monkeypatch):
    name = str(tmp_path / "notify") if request.param == "file" else f"@stemd-{uuid.uuid4()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name.replace("@", "\0", 1) if name.startswith("@") else name)
        listener.settimeout(2)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield listener


@pytest.mark.parametrize(
    "send, expected",
    [
        (notify.ready, b"READY=1"),
        (lambda: notify.ready("idle"), b"READY=1\nSTATUS=idle"),
        (notify.stopping, b"STOPPING=1"),
        (notify.watchdog, b"WATCHDOG=1"),
        (lambda: notify.status("3 running, 41 waiting, 2 to review"), b"STATUS=3 running, 41 waiting, 2 to review"),
        (lambda: notify.status("two\nlines\tand ümlauts"), "STATUS=two lines and ümlauts".encode()),
        (lambda: notify.status(os.fsdecode(b"caf\xe9")), b"STATUS=caf\xe9"),
    ],
)
def test_each_message_reaches_systemd(systemd, send, expected):
    assert send() is True
    assert systemd.recv(4096) == expected


def test_reloading_carries_the_monotonic_time(systemd):
    assert notify.reloading()
    first, second = systemd.recv(4096).split(b"\n")
    assert first == b"RELOADING=1"
    key, value = second.split(b"=")
    assert key == b"MONOTONIC_USEC"
    assert 0 <= _monotonic_usec() - int(value) < 5_000_000


def _monotonic_usec():
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


@pytest.mark.parametrize("address", [None, "", "vsock:2:1234", "/nowhere/notify", "@stemd-nobody-listens"])
def test_without_systemd_nothing_happens(monkeypatch, address):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if address is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    for send in (notify.ready, notify.reloading, notify.stopping, notify.watchdog, lambda: notify.status("idle")):
        assert send() is False


def test_a_full_queue_does_not_block(systemd):
    sent = 0
    while notify.watchdog():
        sent += 1
        assert sent < 100_000
    assert sent > 0


@pytest.mark.parametrize(
    "usec, pid, expected",
    [
        (None, None, None),
        ("60000000", None, 60.0),
        ("60000000", "self", 60.0),
        ("60000000", "1", None),
        ("0", None, None),
        ("soon", None, None),
    ],
)
def test_the_watchdog_interval_is_this_process_own(monkeypatch, usec, pid, expected):
    for name, value in (("WATCHDOG_USEC", usec), ("WATCHDOG_PID", str(os.getpid()) if pid == "self" else pid)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert notify.watchdog_seconds() == expected
