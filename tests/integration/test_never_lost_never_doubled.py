"""A daemon that is killed at random while files appear, grow, are renamed and vanish: nothing is lost or doubled.

Real ledger, folders, ffmpeg, processes and SIGKILL; only the network is a fake that keeps the workers' contract.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from surroundings import RULE, TOP, noise, record

DAEMON = Path(__file__).parents[1] / "fakes" / "daemon.py"
NAMES = ("one.wav", "two words.wav", "caf\udce9.wav", "album/01.wav")  # the third is not UTF-8
CONFIG = TOP + RULE.replace('["vocals"]', '["vocals", "no_vocals"]')


def recording(number: int) -> bytes:
    """A tenth of a second of sound that no other number gives."""
    with tempfile.SpooledTemporaryFile() as file:
        record(file, noise(number))
        file.seek(0)
        return file.read()


class Studio(RuleBasedStateMachine):
    """A folder that people use, and a daemon with a short life."""

    @initialize()
    def open_studio(self):
        self.home = Path(tempfile.mkdtemp(prefix="stemd-machine-"))
        (self.home / "config.toml").write_text(CONFIG)
        for folder in ("in", "out"):
            (self.home / folder).mkdir()
        self.daemon = None
        self.made = 0
        self.contents = set()

    def start(self, *more):
        command = [sys.executable, str(DAEMON), str(self.home / "config.toml"), *more]
        with (self.home / "log").open("ab") as log:
            return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)

    @rule(name=st.sampled_from(NAMES))
    def file_appears(self, name):
        path = self.home / "in" / name
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            self.write(path)

    @rule(name=st.sampled_from(NAMES))
    def file_is_written_again(self, name):
        path = self.home / "in" / name
        if path.exists():
            self.write(path)

    def write(self, path):
        self.made += 1
        content = recording(self.made)
        self.contents.add(sha256(content).hexdigest())
        path.write_bytes(content)

    @rule(name=st.sampled_from(NAMES), other=st.sampled_from(NAMES))
    def file_is_renamed(self, name, other):
        source, target = self.home / "in" / name, self.home / "in" / other
        if source.exists() and not target.exists():
            target.parent.mkdir(exist_ok=True)
            with contextlib.suppress(FileNotFoundError):  # the daemon was faster
                source.rename(target)

    @rule(name=st.sampled_from(NAMES))
    def file_vanishes(self, name):
        (self.home / "in" / name).unlink(missing_ok=True)

    @rule(seconds=st.sampled_from([0.1, 0.4, 1.0]))
    def time_passes(self, seconds):
        time.sleep(seconds)

    @precondition(lambda self: self.daemon is None)
    @rule()
    def daemon_starts(self):
        self.daemon = self.start()
        time.sleep(0.5)

    @precondition(lambda self: self.daemon is not None)
    @rule(number=st.sampled_from([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]))
    def daemon_stops(self, number):
        self.daemon.send_signal(number)
        assert self.daemon.wait(10) in {0, -number}  # one that had not begun to listen dies of the signal
        self.daemon = None

    def teardown(self):
        if self.daemon is not None:
            self.daemon.kill()
            self.daemon.wait()
        left = {sha256(path.read_bytes()).hexdigest() for path in self.files("in", without="_done")}
        last = self.start("--once")
        try:
            assert last.wait(90) == 0, (self.home / "log").read_text(errors="replace")
            self.check(left)
        finally:
            last.kill()
            last.wait()
        shutil.rmtree(self.home)

    def files(self, folder, without="nothing"):
        root = self.home / folder
        return [path for path in root.rglob("*") if path.is_file() and without not in path.relative_to(root).parts]

    def check(self, left):
        story = (self.home / "log").read_text(errors="replace")
        delivered = Counter()
        for manifest in self.files("out"):
            if manifest.name == "manifest.json":
                told = json.loads(manifest.read_text())
                delivered[told["source"]["sha256"]] += 1
                for file in told["files"]:
                    whole = (manifest.parent / file["name"]).read_bytes()
                    assert sha256(whole).hexdigest() == file["sha256"], story
        assert max(delivered.values(), default=1) == 1, f"doubled: {delivered}\n{story}"
        assert left <= set(delivered), f"lost: {left - set(delivered)}\n{story}"
        assert set(delivered) <= self.contents
        assert self.files("in", without="_done") == [], story
        kept = {sha256(path.read_bytes()).hexdigest() for path in self.files("in/_done")}
        assert left <= kept, story
        hidden = list(self.home.rglob(".stemd-*"))
        assert not hidden, f"left behind: {hidden}\n{story}"


Studio.TestCase.settings = settings(
    max_examples=int(os.environ.get("STEMD_EXAMPLES", "6")),
    stateful_step_count=14,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.slow
@pytest.mark.timeout(600)
class TestStudio(Studio.TestCase):
    """Hypothesis runs it."""
