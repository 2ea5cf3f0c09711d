"""Alerts over a real ledger, sent to a real command and a real web server."""

import json
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from history import History
from typer.testing import CliRunner

from stemd import live
from stemd.alerts import Alerts, send
from stemd.alerts.look import look
from stemd.alerts.memory import CALM
from stemd.cli import app
from stemd.config import load
from stemd.errors import StemdError
from stemd.ledger import Lock, jobs, open_for_writing, store
from stemd.model import Lack

STEMD = Path(sys.executable).with_name("stemd")
COMMAND = """#!/bin/sh
printf '%s\\n' "$STEMD_EVENT: $STEMD_TEXT" >>told
printf '%s\\n' "$STEMD_FACTS" >facts
"""


class Server:
    """A web server that remembers what is posted. status: what it answers; None: nothing at all, for ever."""

    def __init__(self):
        self.posted, self.status, self.location = [], 200, ""
        self.release = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                outer.posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                if outer.status is None:
                    outer.release.wait(30)
                    return
                self.send_response(outer.status)
                if outer.location:
                    self.send_header("Location", outer.location)
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}/hook"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self.release.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server():
    made = Server()
    yield made
    made.close()


@contextmanager
def studio(folder, notify):
    (folder / "state").mkdir()
    (folder / "config.toml").write_text(
        f'[daemon]\nstate_dir = "state"\n[notify]\n{notify}\n[[rule]]\nname = "karaoke"\ninbox = "in"\noutbox = "out"\n'
    )
    ledger = open_for_writing(folder / "state")
    try:
        yield load(folder / "config.toml"), History(ledger, time.time())
    finally:
        ledger.close()


def test_the_webhook_gets_what_happens_and_is_told_nothing_twice(tmp_path, server):
    with studio(tmp_path, f'webhook = "{server.address}"') as (settings, history):
        history.failed(b"long ago.wav")
        now = time.time()
        Alerts(settings).round(now)
        assert server.posted == []
        history.failed(b"caf\xe9.wav")
        history.to_review(b"loud.wav")
        Alerts(settings).round(now + 10)
        Alerts(settings).round(now + 20)
        Alerts(settings).round(now + 20 + CALM)
    assert [told["event"] for told in server.posted] == ["failed", "review", "done"]
    failed, review, done = server.posted
    assert failed["text"] == "caf\\xe9.wav failed: caf\N{REPLACEMENT CHARACTER}.wav holds no audio -> export it again"
    assert [(job["rule"], job["name"], job["job"]) for job in review["jobs"]] == [("karaoke", "loud.wav", 3)]
    assert done["text"] == "nothing is left to do: 0 recordings done, 1 to review, 1 failed"
    assert done["host"]


def test_a_command_that_fails_after_a_delivery_is_told_in_the_words_of_the_story(tmp_path, server):
    with studio(tmp_path, f'webhook = "{server.address}"') as (settings, history):
        alerts, now = Alerts(settings), time.time()
        job = history.done(b"song.wav")
        alerts.round(now)
        jobs.note(
            history.ledger,
            job,
            "hook send: ended, it was not done after 9.0 s (timeout = 9)\nwaits",
            now,
            "hook-timeout",
        )
        jobs.note(history.ledger, job, "hook send: exit status 3 after 0.1 s\nno such host", now, "hook-failed")
        alerts.round(now + 10)
        alerts.round(now + 400)
    (told,) = [told for told in server.posted if told["event"] == "failed"]
    assert told["text"] == "song.wav is delivered, but hook send: exit status 3 after 0.1 s -> see: stemd why 1"
    assert [line["job"] for line in told["jobs"]] == [1]


def test_a_ledger_that_another_program_holds_is_looked_at_later(tmp_path, server, monkeypatch):
    with studio(tmp_path, f'webhook = "{server.address}"') as (settings, history):
        alerts, now = Alerts(settings), time.time()
        alerts.round(now)
        history.failed(b"a.wav")
        history.ledger.db.pragma("journal_mode", "delete")
        monkeypatch.setattr(store, "_PATIENCE", 0.01)
        with history.ledger.db.atomic("EXCLUSIVE"):
            alerts.round(now + 10)
        assert server.posted == []
        alerts.round(now + 20)
        assert [told["event"] for told in server.posted] == ["failed"]


def test_another_line_in_the_story_of_a_finished_job_is_no_news(tmp_path, server):
    with studio(tmp_path, f'webhook = "{server.address}"') as (settings, history):
        now = time.time()
        Alerts(settings).round(now)
        done, failed = history.done(b"a.wav"), history.failed(b"b.wav")
        jobs.note(history.ledger, done, "hook tell started", history.now + 1)
        Alerts(settings).round(now + 10)
        Alerts(settings).round(now + 10 + CALM)
        assert [told["event"] for told in server.posted] == ["failed", "done"]
        for job in (done, failed):
            jobs.note(history.ledger, job, "hook tell: exit status 0 after 0.1 s", history.now + 2)
        Alerts(settings).round(now + 1000)
        Alerts(settings).round(now + 1000 + CALM)
        assert len(server.posted) == 2
        assert server.posted[1]["text"] == "nothing is left to do: 1 recording done, 1 failed"


def test_what_happens_in_a_ledger_that_took_the_others_place_is_told(tmp_path, server):
    with studio(tmp_path, f'webhook = "{server.address}"') as (settings, history):
        history.to_review(b"a.wav")
        Alerts(settings).round(time.time())
    for file in settings.daemon.state_dir.glob("ledger.sqlite3*"):
        file.rename(tmp_path / file.name)
    Alerts(settings).round(time.time())
    ledger = open_for_writing(settings.daemon.state_dir)
    fresh = History(ledger, time.time())
    fresh.to_review(b"b.wav")
    for number in range(9):
        fresh.failed(b"%d.wav" % number)
    Alerts(settings).round(fresh.now)
    Alerts(settings).round(fresh.now + 10_000)
    ledger.close()
    texts = {told["event"]: told["text"] for told in server.posted}
    assert texts["failed"].startswith("9 recordings failed: 0.wav, 1.wav")
    assert texts["review"].startswith("b.wav waits for a listener")
    assert [told["event"] for told in server.posted] == ["failed", "review", "done"]


def test_of_a_copy_in_the_ledgers_place_only_what_is_new_is_told(tmp_path, server):
    with studio(tmp_path, f'webhook = "{server.address}"') as (settings, history):
        Alerts(settings).round(time.time())
        history.failed(b"long ago.wav")
        history.ledger.db.execute_sql("VACUUM INTO ?", (str(tmp_path / "copy"),))
        history.failed(b"later.wav")
        Alerts(settings).round(history.now)
    server.posted.clear()
    for file in settings.daemon.state_dir.glob("ledger.sqlite3*"):
        file.unlink()
    (tmp_path / "copy").rename(settings.daemon.state_dir / "ledger.sqlite3")
    Alerts(settings).round(history.now + 400)
    ledger = open_for_writing(settings.daemon.state_dir)
    History(ledger, history.now + 410).failed(b"new.wav")
    Alerts(settings).round(history.now + 800)
    ledger.close()
    assert [told["text"].partition(":")[0] for told in server.posted if told["event"] == "failed"] == ["new.wav failed"]


def test_a_command_is_told_in_its_environment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tell").write_text(COMMAND)
    (tmp_path / "tell").chmod(0o755)
    with studio(tmp_path, f'command = ["{tmp_path}/tell"]\nlasting = 0') as (settings, history):
        now = time.time()
        Alerts(settings).round(now)
        history.stuck(b"late.wav")
        Alerts(settings).round(now + 10)
    text = "1 recording cannot go on: the outbox /out is full -> free space; it goes on by itself"
    assert (tmp_path / "told").read_text() == f"stuck: {text}\n"
    assert json.loads((tmp_path / "facts").read_text())["event"] == "stuck"


@pytest.mark.parametrize(
    "status, location, words",
    [(500, "", "answers 500"), (302, "/elsewhere", "answers 302"), (None, "", "cannot be reached: timed out")],
    ids=["fails", "redirects", "hangs"],
)
def test_what_could_not_be_sent_is_sent_again_later(tmp_path, server, monkeypatch, status, location, words):
    monkeypatch.setattr(send, "_WEBHOOK", 0.3)
    server.status, server.location = status, location
    with studio(tmp_path, f'webhook = "{server.address}"') as (settings, history):
        now = time.time()
        Alerts(settings).round(now)
        history.failed(b"a.wav")
        Alerts(settings).round(now + 10)
        (letter,) = Alerts(settings).memory.letters  # as a new process finds it
        assert (letter.attempts, letter.due) == (1, pytest.approx(now + 40))
        with pytest.raises(StemdError, match=words):
            send.send(letter, settings.notify)
        server.posted.clear()
        server.status, server.location = 204, ""
        Alerts(settings).round(now + 20)
        assert server.posted == []
        Alerts(settings).round(now + 45)
        assert [told["event"] for told in server.posted] == ["failed"]
        assert Alerts(settings).memory.letters == ()


def test_a_letter_that_was_put_off_is_sent_though_the_clock_is_set_back(tmp_path, server):
    server.status = 500
    with studio(tmp_path, f'webhook = "{server.address}"') as (settings, history):
        now = time.time()
        Alerts(settings).round(now)
        history.failed(b"a.wav")
        Alerts(settings).round(now + 10)
        server.status = 204
        Alerts(settings).round(now - 86_400)
        assert [told["event"] for told in server.posted] == ["failed", "failed"]
        assert Alerts(settings).memory.letters == ()


def test_a_letter_is_sent_when_its_receiver_is_back_after_months(tmp_path, server):
    server.status = 500
    with studio(tmp_path, f'webhook = "{server.address}"') as (settings, history):
        alerts, now = Alerts(settings), time.time()
        alerts.round(now)
        history.failed(b"a.wav")
        alerts.round(now + 10)
        (letter,) = alerts.memory.letters
        alerts.memory.letters = (replace(letter, attempts=1_100),)
        alerts.round(now + 90_000)
        letter, *_ = alerts.memory.letters
        assert (letter.attempts, letter.due) == (1_101, now + 93_600)


def test_a_redelivery_that_failed_is_no_recording_done(tmp_path, server):
    with studio(tmp_path, f'webhook = "{server.address}"') as (settings, history):
        alerts, now = Alerts(settings), time.time()
        job = history.done(b"a.wav")
        alerts.round(now)
        history.not_again(job)
        alerts.round(now + 10)
        alerts.round(now + 10 + CALM)
    assert [told["text"] for told in server.posted] == [
        "a.wav failed: not delivered again: 1 Hz is refused -> choose another sample_rate",
        "nothing is left to do: 0 recordings done, 1 failed",
    ]


def test_a_receiver_that_is_gone_keeps_nothing_from_the_other(tmp_path, server, monkeypatch):
    monkeypatch.chdir(tmp_path)
    notify = f'webhook = "{server.address}"\ncommand = ["{tmp_path}/no-such-program"]'
    with studio(tmp_path, notify) as (settings, history):
        Alerts(settings).round(time.time())
        history.failed(b"a.wav")
        Alerts(settings).round(time.time())
        (left,) = Alerts(settings).memory.letters
    assert left.channel == "command"
    assert len(server.posted) == 1


def test_faults_that_only_the_daemon_knows_count_while_it_runs(tmp_path):
    with studio(tmp_path, 'webhook = "http://h.example/"') as (settings, history):
        state = settings.daemon.state_dir
        history.stuck(b"a.wav")
        history.stuck(b"b.wav")
        inbox = {"rule": "karaoke", "state": "offline", "reason": "its share is not mounted"}
        lack = Lack("disk", 5 << 30, 1 << 30, Path("/srv/my out"))
        running = [
            {"rule": "karaoke", "stage": "deliver", "name": "a.wav", "still": 75.0},
            {"rule": "b", "stage": "deliver", "name": "b.wav", "still": 0.0},
        ]
        told = {"inboxes": [inbox, {"rule": "b", "state": "online"}], "full": {"/srv/my out": str(lack)}}
        live.write(state, told | {"running": running})
        assert [name for name, _ in look(state, None).faults] == ["outbox-full"]
        lock = Lock(state)
        try:
            faults = dict(look(state, None).faults)
        finally:
            lock.release()
    assert faults["outbox-full"].startswith("2 recordings cannot go on: the outbox /out is full -> free space")
    assert faults["inbox karaoke"] == "the inbox of karaoke is offline: its share is not mounted"
    assert "needs 5.0 GiB disk in /srv/my out, 1.0 free" in faults["disk /srv/my out"]
    stands = "deliver of a.wav stands still: a share of rule karaoke hangs -> see to the server and the network"
    assert faults["share karaoke deliver"] == stands
    assert len(faults) == 4


def test_before_the_daemons_first_start_there_is_nothing_to_tell(tmp_path, server):
    (tmp_path / "config.toml").write_text(
        f'[daemon]\nstate_dir = "state"\n[notify]\nwebhook = "{server.address}"\n'
        '[[rule]]\nname = "r"\ninbox = "in"\noutbox = "out"\n'
    )
    Alerts(load(tmp_path / "config.toml")).round(time.time())
    assert server.posted == []


def test_trying_it_out_tells_everybody(tmp_path, server):
    with studio(tmp_path, f'webhook = "{server.address}"\ncommand = ["false"]') as (settings, _):
        done = CliRunner().invoke(app, ["alerts", "--test", "-c", str(settings.path)])
    assert done.exit_code == 1
    assert "false ended with status 1" in done.output
    assert "webhook: told" in done.output
    assert server.posted[0]["event"] == "test"


def test_where_nobody_is_named_it_ends_at_once(tmp_path):
    with studio(tmp_path, "") as (settings, _):
        done = CliRunner().invoke(app, ["alerts", "-c", str(settings.path)])
    assert done.exit_code == 0
    assert "nobody is to be told" in done.output


def test_one_process_tells_and_it_ends_when_it_is_asked_to(tmp_path, server):
    with studio(tmp_path, f'webhook = "{server.address}"') as (settings, _):
        command = [STEMD, "alerts", "-c", settings.path]
        first = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert "tells of failed, stuck, review, done by webhook" in first.stderr.readline()
        second = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert second.returncode == 1
        assert "another process tells" in second.stderr
        first.send_signal(signal.SIGTERM)
        assert first.wait(20) == 0
        first.stderr.close()
