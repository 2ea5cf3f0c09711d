"""The installed program on folders of its own, started and stopped as a user would."""

import json
import os
import signal
import struct
import subprocess
import sys
import time
import wave
from dataclasses import dataclass, field
from math import ceil, pi, sin
from pathlib import Path

import pytest

STEMD = Path(sys.executable).with_name("stemd")
FAKE = (sys.executable, Path(__file__).parents[1] / "fakes" / "daemon.py", "config.toml")


def make_tone(path: Path, seconds: float = 2.0, hertz: float = 220.0, rate: int = 44100) -> Path:
    """A stereo tone with a slow tremolo: one second of it, again and again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = (0.2 * sin(2 * pi * hertz * n / rate) * (1 + sin(4 * pi * n / rate)) for n in range(rate))
    second = b"".join(struct.pack("<hh", round(s * 32767), round(s * 30000)) for s in samples)
    unfinished = path.with_name(f".{path.name}.part")  # so that a slow machine does not take it half written
    with wave.open(str(unfinished), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((second * ceil(seconds))[: 4 * int(seconds * rate)])
    return unfinished.rename(path)


@dataclass
class Stemd:
    """One configuration, and the daemon that may run on it. program: what is started as `stemd run`."""

    home: Path
    program: tuple[str | Path, ...] = (STEMD, "run")
    daemon: subprocess.Popen | None = None
    env: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    def configure(self, rule: str = "", top: str = "", shifts: int = 0) -> None:
        """rule, top: more lines. shifts: makes the separation of a short recording long, and nothing else."""
        quality = "" if "[rule.quality]" in rule else '[rule.quality]\non_flag = "deliver"'  # a tone is no song
        (self.home / "config.toml").write_text(
            f'[daemon]\nstate_dir = "state"\nrescan = 1\n[resources]\ndevice = "cpu"\nram_reserve_gb = 0\n{top}\n'
            '[[rule]]\nname = "r"\ninbox = "in"\noutbox = "out"\nmodel = "demo"\nstems = ["vocals", "no_vocals"]\n'
            f'shifts = {shifts}\nformat = "wav"\nsettle = 0.3\n{rule}\n{quality}\n'
        )
        for folder in ("in", "out"):
            (self.home / folder).mkdir(exist_ok=True)

    def do_without_networks(self, *options: str) -> None:
        """From now on the mix is taken for each stem, and the check passes, or not: --flagging. All else is real."""
        self.program = (*FAKE, *options)

    def __call__(self, *words: str, check: int | None = 0) -> subprocess.CompletedProcess[str]:
        command = [*self.program, *words[1:]] if words[0] == "run" else [STEMD, *words]
        done = subprocess.run(
            command, cwd=self.home, env=self.env, capture_output=True, text=True, timeout=300, check=False
        )
        assert check is None or done.returncode == check, done.stderr + done.stdout
        return done

    def json(self, *words: str):
        return json.loads(self(*words, "--json").stdout)

    def start(self, *more: str) -> None:
        with (self.home / "log").open("ab") as log:
            self.daemon = subprocess.Popen(
                [*self.program, *more], cwd=self.home, env=self.env, stdout=subprocess.DEVNULL, stderr=log
            )

    def stop(self, number: int = signal.SIGTERM, within: float = 10.0) -> int:
        assert self.daemon is not None
        self.daemon.send_signal(number)
        status = self.daemon.wait(within)
        self.daemon = None
        return status

    def wait_until(self, what, seconds: float = 120.0):
        """Wait for something to be true; with the log if it never is."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if result := what():
                return result
            time.sleep(0.1)
        raise AssertionError(f"not within {seconds} s:\n{self.log}")

    @property
    def log(self) -> str:
        return (self.home / "log").read_text(errors="replace")

    def tree(self, folder: str) -> list[str]:
        root = self.home / folder
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


@pytest.fixture
def tone():
    return make_tone


@pytest.fixture
def stemd(tmp_path):
    made = Stemd(tmp_path)
    made.configure()
    yield made
    if made.daemon is not None:
        made.daemon.kill()
        made.daemon.wait()


@pytest.fixture
def quick(stemd):
    """For what does not depend on the networks."""
    stemd.do_without_networks()
    return stemd
