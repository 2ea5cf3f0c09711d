"""What somebody without the token can do to `stemd web`: neither take its memory nor all its connections."""

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from stemd.web.connection import MOST, MOST_OF_ONE, PATIENCE

TOKEN = "correct-horse-battery"
STEMD = Path(sys.executable).with_name("stemd")
LOGIN = b"POST /login HTTP/1.1\r\nHost: studio.lan\r\nContent-Type: application/x-www-form-urlencoded\r\n"
BEARER = {"Authorization": f"Bearer {TOKEN}", "X-Stemd-Csrf": ""}


@pytest.fixture
def port(house):
    """A web server that asks for a token, with as many open files as systemd gives it."""
    web = subprocess.Popen(
        ["prlimit", "--nofile=1024", STEMD, "web", "--port", "0"], cwd=house.home, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"STEMD_WEB_TOKEN": TOKEN},
    )  # fmt: skip
    yield int(re.search(r"http://\S+:([0-9]+)", web.stderr.readline())[1])
    web.terminate()
    said = web.stderr.read()
    assert (web.wait(20), said) == (0, "")
    web.stderr.close()


@contextlib.contextmanager
def connected(port: int, address: str = "127.0.0.1"):
    with socket.create_connection(("127.0.0.1", port), timeout=20, source_address=(address, 0)) as made:
        yield made


def page(port: int) -> bytes:
    with connected(port) as asking:
        asking.sendall(b"GET /login HTTP/1.1\r\nHost: studio.lan\r\nConnection: close\r\n\r\n")
        return asking.recv(15)


def is_open(connection: socket.socket) -> bool:
    """Whether the server still waits for a request on a connection, whose answers so far are read here."""
    connection.setblocking(False)
    try:
        while connection.recv(65536):
            pass
    except BlockingIOError:
        return True
    except ConnectionError:
        return False
    return False


def memory(port: int) -> int:
    """What the web server on this port holds, in bytes."""
    listening = [each for each in psutil.net_connections("tcp") if each.status == "LISTEN"]
    (server,) = [each.pid for each in listening if each.laddr.port == port]
    return psutil.Process(server).memory_info().rss


@pytest.mark.parametrize("length", [b"Content-Length: 800000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"])
def test_a_login_that_is_too_long_is_refused_as_it_comes(port, length):
    chunk = b"a" * 65536
    if b"chunked" in length:
        chunk = b"10000\r\n" + chunk + b"\r\n"
    before = memory(port)
    with connected(port) as peer:
        peer.sendall(LOGIN + length + chunk + chunk)
        assert peer.recv(65536).startswith(b"HTTP/1.1 413 ")
        with contextlib.suppress(ConnectionError):
            for _ in range(1000):
                peer.sendall(chunk)
        assert memory(port) - before < 20e6


@pytest.mark.parametrize("path", ["/login", "/api/jobs/1/reject", "/api/pause"])
def test_every_body_is_bounded(reading, path):
    client = reading.client(TOKEN, "http://studio.lan:8340")
    answer = client.post(path, content=b" " * 65537, headers=BEARER | {"Content-Type": "application/json"})
    assert (answer.status_code, "longer than 65536 bytes" in answer.text) == (413, True)


def test_the_longest_reason_is_not_too_long(reading):
    client = reading.client(TOKEN, "http://studio.lan:8340")
    reason = "\U0001f3b5" * 2000
    assert client.post("/api/jobs/99/reject", json={"reason": reason}, headers=BEARER).status_code == 404


def test_who_holds_connections_leaves_some_to_others_and_loses_them(port):
    with ExitStack() as held:
        one = [held.enter_context(connected(port, "127.0.0.2")) for _ in range(3 * MOST_OF_ONE)]
        assert page(port) == b"HTTP/1.1 200 OK"
        assert sum(is_open(each) for each in one) == MOST_OF_ONE
        many = [held.enter_context(connected(port, f"127.0.1.{n % 20}")) for n in range(MOST)]
        time.sleep(1)
        assert sum(is_open(each) for each in one + many) == MOST
        time.sleep(PATIENCE)
        assert not any(is_open(each) for each in one + many)
        assert page(port) == b"HTTP/1.1 200 OK"


def test_who_sends_drop_by_drop_has_ten_seconds_for_a_request(port):
    whole = b"GET /login HTTP/1.1\r\nHost: studio.lan\r\n\r\n"
    begun = (whole[:20], LOGIN + b"Content-Length: 900\r\n\r\ntok", whole + whole[:20])
    with ExitStack() as held:
        slow = [held.enter_context(connected(port)) for _ in begun]
        for peer, text in zip(slow, begun, strict=True):
            peer.sendall(text)
        ends = time.monotonic() + PATIENCE
        while time.monotonic() < ends - 1:
            assert all(is_open(peer) for peer in slow)
            for peer in slow:
                peer.sendall(b"x")
            time.sleep(0.5)
        time.sleep(3)
        assert not any(is_open(peer) for peer in slow)


def test_who_listens_slowly_gets_all_of_a_long_file(house, port):
    mix = house.home / "state/work/1/mix.wav"
    mix.parent.mkdir(parents=True)
    with mix.open("wb") as made:
        made.truncate(30_000_000)
    with connected(port) as player:
        player.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        asked = f"GET /files/1/mix HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nRange: bytes=100-\r\n\r\n"
        player.sendall(asked.encode())
        head, _, body = player.recv(65536).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 206 ")
        time.sleep(PATIENCE + 2)  # paused
        size = len(body)
        while size < 29_999_900 and (more := player.recv(1 << 20)):
            size += len(more)
    assert size == 29_999_900
