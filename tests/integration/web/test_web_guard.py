"""Who may use the pages: foreign names, foreign pages and people without the token may not."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from stemd.errors import StemdError
from stemd.web.guard import is_loopback
from stemd.web.serve import check

TOKEN = "correct-horse-battery"
APPROVE = "/api/jobs/1/approve"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8340", "192.168.1.5", "localhost.evil.example", "[::2]", ""]
)
def test_a_foreign_name_for_this_machine_is_refused(reading, host):
    assert reading.client().get("/", headers={"Host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8340", "[::1]:8340", "LOCALHOST:1", "127.8.8.8"])
def test_every_name_of_the_machine_itself_is_fine(reading, host):
    assert reading.client().get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Stemd-Csrf": ""},
        {"X-Stemd-Csrf": "guessed"},
        {"X-Stemd-Csrf": "gu\u00e9ss\u00e9d".encode("latin-1")},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_another_page_cannot_decide_anything(reading, headers):
    answer = reading.client().post(APPROVE, json={}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "foreign")


def test_our_own_page_can(reading):
    headers = {"Origin": "http://localhost:8340", "Sec-Fetch-Site": "same-origin"}
    answer = reading.client().post("/api/jobs/99/approve", json={}, headers=headers)
    assert answer.status_code == 404


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_methods_that_nobody_needs_are_refused(reading, method):
    assert reading.client().request(method, "/api/jobs/1", headers={"X-Stemd-Csrf": "x"}).status_code in {403, 405}


def test_with_a_token_nothing_is_shown_without_it(reading):
    client = reading.client(TOKEN, "http://studio.lan:8340")
    for path in ("/api/status", "/files/1/1/" + "0" * 64, "/api/openapi.json", "/static/review.js", "/no/such"):
        assert client.get(path).status_code == 401, path
    page = client.get("/", headers={"Accept": "text/html"})
    assert (page.status_code, page.headers["location"]) == (303, "/login")
    assert client.get("/login").status_code == 200
    assert client.get("/api/status", headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert client.get("/api/status", headers={"Cookie": "stemd_token=wrong"}).status_code == 401
    assert client.post(APPROVE, json={}).status_code == 401


def test_a_program_sends_the_token_itself(reading):
    client = reading.client(TOKEN, "http://studio.lan:8340")
    headers = {"Authorization": f"Bearer {TOKEN}", "X-Stemd-Csrf": ""}
    assert client.get("/api/status", headers=headers).status_code == 200
    assert client.post("/api/jobs/99/approve", json={}, headers=headers).status_code == 404


def test_a_person_enters_the_token_once(reading):
    client = reading.client(TOKEN, "http://studio.lan:8340")
    wrong = client.post("/login", data={"token": "guess"})
    assert wrong.status_code == 401
    assert "set-cookie" not in wrong.headers
    assert client.get("/login").headers["referrer-policy"] == "same-origin"  # or browsers send "Origin: null"
    right = client.post("/login", data={"token": TOKEN}, headers={"Origin": "http://studio.lan:8340"})
    assert (right.status_code, right.headers["location"]) == (303, "/")
    cookie = right.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert client.get("/", headers={"Accept": "text/html"}).status_code == 200
    foreign = client.post("/login", data={"token": TOKEN}, headers={"Origin": "http://evil.example"})
    assert foreign.status_code == 403


@pytest.mark.parametrize("foreign", ['prefs={"dark":true}', "filter[x]=1", "name=J\u00f6rg", "seen=Mon, 23 Nov", "="])
def test_cookies_of_other_programs_on_the_host_do_no_harm(reading, foreign):
    client = reading.client(TOKEN, "http://studio.lan:8340")
    for cookies in (f"{foreign}; stemd_token={TOKEN}", f"stemd_token={TOKEN}; {foreign}"):
        assert client.get("/api/status", headers={"Cookie": cookies.encode()}).status_code == 200, cookies
    assert client.get("/api/status", headers={"Cookie": f"{foreign}; stemd_token=x".encode()}).status_code == 401


@pytest.mark.parametrize("token", ["two words and more", "semi;colon;token", '"quoted"token', "Schl\u00fcsselwort"])
def test_a_token_may_have_any_characters(reading, token):
    client = reading.client(token, "http://studio.lan:8340")
    assert client.post("/login", data={"token": token}).status_code == 303
    assert client.get("/api/status").status_code == 200


@pytest.mark.parametrize("token", ["z\u0142oty-12345678", "\u201csmart quotes\u201d", "two\nlines of it"])
def test_a_token_that_no_request_can_carry_is_refused_at_once(token):
    with pytest.raises(StemdError, match="the token holds"):
        check("127.0.0.1", token)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "studio.lan"])
def test_an_address_that_others_reach_needs_a_token(host):
    assert not is_loopback(host)
    with pytest.raises(StemdError, match="needs a token"):
        check(host, "")
    check(host, TOKEN)
    with pytest.raises(StemdError, match="shorter"):
        check(host, "short")


def test_the_command_refuses_an_open_address_and_a_taken_port(house):
    stemd = Path(sys.executable).with_name("stemd")
    run = lambda *words: subprocess.run(  # noqa: E731
        [stemd, "web", *words], cwd=house.home, capture_output=True, text=True, timeout=60, check=False
    )
    refused = run("--host", "0.0.0.0")
    assert refused.returncode == 2
    assert "needs a token" in refused.stderr
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        blocked = run("--port", str(taken.getsockname()[1]))
    assert blocked.returncode == 1
    assert "cannot be used" in blocked.stderr
