"""Commands after deliveries: told what was delivered, recorded however they end, and never in anybody's way."""

import contextlib
import errno
import json
import os
import queue
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from hanging import hanging
from surroundings import RULE, TOP, record

from stemd.config import load
from stemd.ledger import hooks as owing
from stemd.ledger import jobs, open_for_writing
from stemd.model import Arrival, Artifact, Change, Finished, Stage, Stat, Status
from stemd.service.hooks import MOST_STARTS, Hooks
from stemd.status import full

DAEMON = Path(__file__).parents[1] / "fakes" / "daemon.py"
CONFIG = TOP + RULE.replace('"r"', '"lyrics"') + "[rule.hook]\n"


def configure(home, *argv, **more):
    lines = [f"delivered = {json.dumps(argv)}", *(f"{key} = {value}" for key, value in more.items())]
    (home / "config.toml").write_text(CONFIG + "\n".join(lines))
    return load(home / "config.toml")


class Delivered:
    """A ledger with one delivered job, whose rule's command is owed."""

    def __init__(self, home):
        self.home = home
        self.ledger = open_for_writing(home)
        self.mail = queue.SimpleQueue()
        self.hooks = Hooks(self.ledger, self.mail.put)
        self.folder = home / "out" / "song"
        self.folder.mkdir(parents=True)
        manifest = os.fsencode(self.folder / "manifest.json")
        (job,) = jobs.admit(self.ledger, [(Arrival("lyrics", b"/in/x/song.wav", Stat(1, 2, 3)), b"x/song.wav")], 1.0)
        made = (Artifact(manifest, "ab", 1),)
        change = Change(Stage.RETIRE, Status.WAITING, "1 file", facts=Finished(artifacts=made, hook=manifest))
        self.job = jobs.apply(self.ledger, jobs.claim(self.ledger, job, 2.0), change, 3.0).id

    def run(self, settings):
        """Until the command has ended and is written down; the last event."""
        self.hooks.start_owed(settings)
        self.hooks.write_down(self.mail.get(timeout=60))
        return self.story()[-1]

    def story(self):
        return jobs.events(self.ledger, self.job)


@pytest.fixture
def delivered(tmp_path):
    made = Delivered(tmp_path)
    yield made
    made.ledger.close()


def test_a_command_is_told_what_was_delivered_and_its_words_are_kept(delivered):
    facts = "$STEMD_TRACK|$STEMD_FOLDER|$STEMD_MANIFEST|$STEMD_RULE|$STEMD_JOB|$STEMD_CONFIG"
    told = f'echo "{facts}"; pwd; echo "to stderr" >&2'
    event = delivered.run(configure(delivered.home, "sh", "-c", told))
    first, *lines = event.text.split("\n")
    assert first.startswith("hook sh: exit status 0 after ")
    assert sorted(lines) == sorted([
        f"song|{delivered.folder}|{delivered.folder}/manifest.json|lyrics|{delivered.job}|{delivered.home}/config.toml",
        str(delivered.folder),
        "to stderr",
    ])  # fmt: skip
    assert event.code == ""
    assert not delivered.hooks.left()


def test_words_are_arguments_and_no_shell_reads_them(delivered):
    event = delivered.run(configure(delivered.home, "printf", "%s.", "$HOME; false", "a b"))
    assert event.text.endswith("\n$HOME; false.a b.")


def test_a_failure_is_recorded_with_its_last_words_and_nothing_else_happens(delivered):
    event = delivered.run(configure(delivered.home, "sh", "-c", r"seq 500; printf 'a\rb\033[2J' >&2; exit 7"))
    lines = event.text.split("\n")
    assert "exit status 7" in lines[0]
    assert event.code == "hook-failed"
    assert "500" in lines
    assert len(lines) <= 21
    assert not any("\033" in line for line in lines)
    job = jobs.get(delivered.ledger, delivered.job)
    assert (job.stage, job.status, job.code) == (Stage.RETIRE, Status.WAITING, "")


def test_a_command_that_hangs_is_ended_with_all_its_children(delivered):
    pid = delivered.home / "pid"
    settings = configure(delivered.home, "sh", "-c", f"echo begun; sleep 60 & echo $! > {pid}; wait", timeout=3)
    event = delivered.run(settings)
    assert event.code == "hook-timeout"
    assert "not done after" in event.text
    assert event.text.endswith("\nbegun")
    assert ends(int(pid.read_text()))


def test_a_folder_whose_share_hangs_is_waited_for_no_longer_than_a_command(delivered):
    settings = configure(delivered.home, "true", timeout=1)
    with hanging(delivered.folder.parent):
        event = delivered.run(settings)
    assert event.code == "hook-timeout"
    assert event.text == f"hook true: not run, {delivered.folder} did not answer for 1 s"


def ends(pid):
    """Whether it is gone soon: the kernel takes a moment."""
    deadline = time.monotonic() + 20
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not alive(pid)


def alive(pid):
    """Whether it runs; an orphan that nobody has buried yet does not."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


@pytest.mark.parametrize("argv, said", [(["no-such-program"], "no-such-program is not installed"), (["/"], "/")])
def test_a_program_that_is_not_there_is_recorded(delivered, argv, said):
    event = delivered.run(configure(delivered.home, *argv))
    assert said in event.text
    assert event.code == "hook-failed"


def test_files_that_were_taken_away_meanwhile(delivered):
    delivered.folder.rmdir()
    event = delivered.run(configure(delivered.home, "true"))
    assert "is no longer there" in event.text


def test_a_folder_that_cannot_be_looked_at_is_recorded(delivered, monkeypatch):
    def fails(_path):
        raise OSError(errno.EIO, "Input/output error")

    settings = configure(delivered.home, "true")
    monkeypatch.setattr(Path, "is_dir", fails)
    event = delivered.run(settings)
    assert event.code == "hook-failed"
    assert "Input/output error" in event.text


def test_a_rule_without_a_command_owes_nothing(delivered):
    delivered.hooks.start_owed(configure(delivered.home))
    assert not delivered.hooks.left()
    assert "no command any more" in delivered.story()[-1].text


def test_a_command_that_the_daemon_stops_is_owed_again(delivered):
    settings = configure(delivered.home, "sleep", "60")
    delivered.hooks.start_owed(settings)
    assert [each["command"] for each in delivered.hooks.live()] == ["sleep"]
    delivered.hooks.stop_all()
    delivered.hooks.write_down(delivered.mail.get(timeout=60))
    assert "run again" in delivered.story()[-1].text
    (call,) = owing.owed(delivered.ledger)
    assert call.attempts == 0


def test_a_command_that_ends_the_daemon_each_time_is_given_up(delivered):
    settings = configure(delivered.home, "true")
    for _ in range(MOST_STARTS):
        (call,) = owing.owed(delivered.ledger)
        owing.begin(delivered.ledger, call, jobs.get(delivered.ledger, delivered.job), "started", 4.0)
    delivered.hooks.start_owed(settings)
    assert delivered.story()[-1].code == "hook-interrupted"
    assert not delivered.hooks.left()


def test_killed_in_the_middle_the_stems_stay_and_the_command_runs_again(tmp_path):
    for folder in ("in", "out"):
        (tmp_path / folder).mkdir()
    runs = tmp_path / "runs"
    configure(tmp_path, "sh", "-c", f'echo "$STEMD_FOLDER" >> {runs}; [ $(wc -l < {runs}) -gt 1 ] || exec sleep 100')
    record(tmp_path / "in" / "song.wav")
    daemon = subprocess.Popen(
        [sys.executable, DAEMON, tmp_path / "config.toml"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 90
        while not (runs.exists() and list((tmp_path / "in/_done").glob("*"))):  # the job is done, whatever its command
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        daemon.send_signal(signal.SIGKILL)
        daemon.wait()
    stems = {path.name: path.read_bytes() for path in (tmp_path / "out/song").iterdir()}
    assert set(stems) == {"vocals.wav", "manifest.json"}
    again = subprocess.run(
        [sys.executable, DAEMON, tmp_path / "config.toml", "--once"], capture_output=True, timeout=90, check=False
    )
    assert again.returncode == 0, again.stderr
    assert runs.read_text().split() == [str(tmp_path / "out/song")] * 2
    assert {path.name: path.read_bytes() for path in (tmp_path / "out/song").iterdir()} == stems
    ledger = open_for_writing(tmp_path / "state")
    told = full(ledger, jobs.get(ledger, 1))
    ledger.close()
    assert told["status"] == "done"
    texts = [event["text"] for event in told["events"] if event["text"].startswith("hook sh")]
    assert [text.split()[2] for text in texts] == ["started", "started", "exit"]
    assert "once more" in texts[1]
