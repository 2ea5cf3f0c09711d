"""Memory that is refused in the middle of a separation: the job goes on with less and its stems are delivered."""

import resource
import subprocess
from pathlib import Path

import pytest

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(400)]

ROOM = 64 << 20  # bytes that the engine may still take; a segment of 4 s needs several times as much


def engine_of(stemd) -> int:
    found = subprocess.run(
        ["pgrep", "-P", str(stemd.daemon.pid), "-f", "stemd.engine"], capture_output=True, text=True, check=True
    )
    return int(found.stdout.split()[0])


def test_an_engine_that_is_refused_memory_goes_on_with_a_shorter_segment(stemd, tone):
    (stemd.home / "in/empty.wav").touch()  # the engine loads the model for it, and computes nothing
    stemd.start()
    stemd.wait_until(lambda: "works by" in stemd.log)
    stemd.wait_until(lambda: stemd.json("jobs", "--status", "failed"))
    engine = engine_of(stemd)
    used = int(Path(f"/proc/{engine}/statm").read_text().split()[0]) * resource.getpagesize()
    resource.prlimit(engine, resource.RLIMIT_AS, (used + ROOM, used + ROOM))
    tone(stemd.home / "in/a.wav", 6)
    stemd.wait_until(lambda: stemd.json("jobs", "--status", "done"), 240)
    texts = [event["text"] for event in stemd.json("why", "2")["events"]]
    assert [text for text in texts if text.startswith("separate started")] == [
        "separate started on cpu, auto, batch 1, segment 4 s",
        "separate started on cpu, auto, batch 1, segment 2 s",
    ]
    assert "a/no_vocals.wav" in stemd.tree("out")
    assert engine_of(stemd) != engine
