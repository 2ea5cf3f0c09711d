"""A daemon in a version 1 memory group: the kernel kills its engine in mid-job, and the stems come on a lower rung."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from surroundings import RULE, TOP, memory_group, record

from stemd import live
from stemd.ledger import jobs, open_for_asking
from stemd.model import Status

FAKES = Path(__file__).parents[1] / "fakes"
MIB = 1 << 20
LIMIT = 512
HUNGER = 150  # MiB a second of segment: 4 s take more than the group has, 2 s do not
CONFIG = TOP + RULE.replace('"fake"', '"hungry"').replace('["vocals"]', '["vocals", "no_vocals"]')


@pytest.fixture
def group():
    with memory_group("hungry", LIMIT * MIB) as made:
        yield made


@pytest.fixture
def home(tmp_path):
    (tmp_path / "config.toml").write_text(CONFIG)
    (tmp_path / "in").mkdir()
    record(tmp_path / "in/song.wav", b"\x01\x10\x02\x20" * 22050)
    return tmp_path


def test_the_kernel_kills_the_engine_and_the_job_ends_on_a_lower_rung(group, home):
    enter = f'echo $$ >"{group}/cgroup.procs"; exec "$@"'
    command = ["sh", "-c", enter, "sh", sys.executable, FAKES / "hungry.py", home / "config.toml"]
    known = os.environ | {"HUNGER": str(HUNGER), "PYTHONPATH": f"{FAKES}:{os.environ.get('PYTHONPATH', '')}"}
    with (home / "log").open("w") as log, subprocess.Popen(command, env=known, stdout=log, stderr=log) as daemon:
        totals = set()
        while daemon.poll() is None:
            totals.add((live.read(home / "state").get("headroom") or {}).get("ram_total"))
            time.sleep(0.2)
    told = (home / "log").read_text()
    assert daemon.returncode == 0, told
    assert totals - {None} == {LIMIT * MIB}
    assert "oom_kill 1" in (group / "memory.oom_control").read_text()
    assert sorted(path.name for path in (home / "out/song").glob("*.wav")) == ["no_vocals.wav", "vocals.wav"]
    ledger = open_for_asking(home / "state")
    try:
        assert jobs.get(ledger, 1).status is Status.DONE
        story = [event.text for event in jobs.events(ledger, 1)]
    finally:
        ledger.close()
    assert [text.partition("segment ")[2] for text in story if text.startswith("separate started")] == ["4 s", "2 s"]
    assert any("was killed, as the kernel does when memory runs out" in text for text in story)
