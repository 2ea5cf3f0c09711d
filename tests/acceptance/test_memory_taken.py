"""The engine is killed in the middle of a job, by the kernel or by hand: the stems come, made on a lower rung."""

import signal
import subprocess
import sys

import psutil
import pytest
from surroundings import memory_group

pytestmark = [pytest.mark.acceptance, pytest.mark.slow, pytest.mark.timeout(400)]

MIB = 1 << 20
DELIVER = '[rule.quality]\non_flag = "deliver"'
"""A tone is no song: what the check hears in it is not the point."""


def engine(stemd):
    """The engine's process, once it separates."""
    if not any(job["stage"] == "separate" and job["progress"] > 0 for job in stemd.json("status")["running"]):
        return None
    children = psutil.Process(stemd.daemon.pid).children(recursive=True)
    return next((child for child in children if "stemd.engine" in child.cmdline()), None)


def rungs(stemd):
    """The rungs that job 1 was started on, in order, from its story."""
    events = stemd.json("why", "1")["events"]
    return [event["text"].partition(" on ")[2] for event in events if event["text"].startswith("separate started")]


def segment(rung):
    return float(rung.partition("segment ")[2].removesuffix(" s"))


def test_an_engine_killed_in_mid_job_is_replaced_on_a_lower_rung(stemd, tone):
    stemd.configure(DELIVER, shifts=8)
    tone(stemd.home / "in/song.wav", 12)
    stemd.start()
    stemd.wait_until(lambda: "works by" in stemd.log)
    first = stemd.wait_until(lambda: engine(stemd))
    first.send_signal(signal.SIGKILL)
    stemd.wait_until(lambda: stemd.json("jobs", "--status", "done"), 240)
    assert "song/vocals.wav" in stemd.tree("out")
    before, after = rungs(stemd)
    assert segment(after) == segment(before) / 2
    assert "memory" in stemd("why", "1").stdout
    # What worked is where the next job starts.
    tone(stemd.home / "next.wav", 3, 330).rename(stemd.home / "in/next.wav")
    stemd.wait_until(lambda: "next/vocals.wav" in stemd.tree("out"), 240)
    assert after in stemd("why", "2").stdout


@pytest.fixture
def group():
    """A memory group of 1.5 GiB."""
    with memory_group("memory", 1536 * MIB) as made:
        yield made


HOG = """
import sys
held = []
while sys.stdin.readline():
    held.append(bytearray(b"x") * (8 << 20))
    print(len(held), flush=True)
"""


def test_another_program_takes_the_memory_of_the_group(group, stemd, tone):
    """The kernel kills the engine and neither the daemon nor the other program; the job goes on when memory is back."""
    stemd.configure(DELIVER, shifts=8)
    stemd.start()
    stemd.wait_until(lambda: "works by" in stemd.log)
    (group / "cgroup.procs").write_text(str(stemd.daemon.pid))
    tone(stemd.home / "in/song.wav", 12)  # an engine that is started before is not in the group
    first = stemd.wait_until(lambda: engine(stemd))
    assert stemd.json("status")["headroom"]["ram_total"] == 1536 * MIB
    use = int((group / "memory.usage_in_bytes").read_text())
    (group / "memory.limit_in_bytes").write_text(str(use + 64 * MIB))
    hog = subprocess.Popen([sys.executable, "-c", HOG], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        (group / "cgroup.procs").write_text(str(hog.pid))
        for _ in range(60):
            hog.stdin.write(b"more\n")
            hog.stdin.flush()
            hog.stdout.readline()
            if "oom_kill 0" not in (group / "memory.oom_control").read_text():
                break
        assert hog.poll() is None
        first.wait(10)
        (group / "memory.limit_in_bytes").write_text(str(1536 * MIB))
    finally:
        hog.kill()
        hog.communicate()
    stemd.wait_until(lambda: stemd.json("jobs", "--status", "done"), 240)
    assert stemd.daemon.poll() is None
    assert "song/vocals.wav" in stemd.tree("out")
    assert len(rungs(stemd)) >= 2
