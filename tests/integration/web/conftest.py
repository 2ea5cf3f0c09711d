"""A studio whose daemon is real but for the networks: every result is flagged from 5 s to 6 s."""

import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from workers import FlaggingWorkers

from stemd.config import load
from stemd.errors import StemdError
from stemd.ledger import jobs, open_for_asking
from stemd.model import Status
from stemd.service.daemon import Service
from stemd.web import Rules, Studio, make_app

STEMD = Path(sys.executable).with_name("stemd")


@dataclass
class House:
    """Folders, a configuration, and the daemon that works on them in a thread."""

    home: Path
    tone: Path
    service: Service | None = None
    _thread: threading.Thread | None = field(default=None, repr=False)

    def configure(self, rule: str = "") -> None:
        (self.home / "config.toml").write_text(
            '[daemon]\nstate_dir = "state"\nrescan = 1\n[resources]\ndevice = "cpu"\nram_reserve_gb = 0\n[[rule]]\n'
            'name = "r"\ninbox = "in"\noutbox = "out"\nmodel = "htdemucs"\nstems = ["vocals", "no_vocals"]\n'
            f'format = "wav"\nsettle = 0.3\n{rule}\n'
        )
        for folder in ("in", "out"):
            (self.home / folder).mkdir(exist_ok=True)

    def start(self) -> None:
        settings = load(self.home / "config.toml")
        self.service = Service(settings, pool=FlaggingWorkers(0.2))
        self._thread = threading.Thread(target=self.service.run)
        self._thread.start()

    def stop(self) -> None:
        if self.service is not None:
            self.service.stop()
            self._thread.join(60)
            self.service = None

    def record(self, name: str) -> None:
        """Save eight seconds, different for each name."""
        target = self.home / "in" / name
        pitch = 1 + len(list((self.home / "in").iterdir())) / 100
        subprocess.run(
            ["ffmpeg", "-v", "error", "-i", self.tone, "-af", f"volume={1 / pitch}", f"file:{self.home}/made.wav"],
            check=True,
        )
        shutil.move(self.home / "made.wav", target)

    def jobs(self, *statuses: Status):
        try:
            ledger = open_for_asking(self.home / "state")
        except StemdError:
            return []
        try:
            return jobs.select(ledger, statuses=statuses)
        finally:
            ledger.close()

    def wait(self, what, seconds: float = 90.0):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := what():
                return found
            time.sleep(0.1)
        raise AssertionError([(job.id, job.status, job.stage, job.reason) for job in self.jobs()])

    def held(self, count: int):
        return self.wait(lambda: (found := self.jobs(Status.HELD)) and len(found) >= count and found)

    def client(self, token: str = "", base: str = "http://localhost:8340") -> TestClient:
        settings = load(self.home / "config.toml")
        studio = Studio(settings.daemon.state_dir, Rules(settings), token)
        return TestClient(make_app(studio), base, headers={"X-Stemd-Csrf": studio.csrf}, follow_redirects=False)


@pytest.fixture(scope="session")
def tone(tmp_path_factory):
    """Eight seconds of a wandering tone, stereo."""
    target = tmp_path_factory.mktemp("tone") / "tone.wav"
    wave = "aevalsrc=0.3*sin(2*PI*t*(300+40*floor(t)))|0.3*sin(2*PI*t*(200+30*floor(t))):d=8:s=44100"
    subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", wave, target], check=True)
    return target


def _house(folder: Path, tone: Path) -> House:
    house = House(folder, tone)
    house.configure()
    return house


@pytest.fixture(scope="module")
def reading(tmp_path_factory, tone):
    """One held job, for tests that only look."""
    house = _house(tmp_path_factory.mktemp("house"), tone)
    house.record("<b>song & dance.wav")
    house.start()
    house.held(1)
    yield house
    house.stop()


@pytest.fixture
def house(tmp_path, tone):
    """A studio of one's own; nothing runs yet."""
    made = _house(tmp_path, tone)
    yield made
    made.stop()
