"""What a daemon under test stands in: its configuration, a recording to find, and a group with little memory."""

import contextlib
import os
import struct
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

TOP = """
[daemon]
state_dir = "state"
rescan = 0.3
[resources]
device = "cpu"
ram_reserve_gb = 0
"""
RULE = """
[[rule]]
name = "r"
inbox = "in"
outbox = "out"
model = "fake"
stems = ["vocals"]
format = "wav"
settle = 0.2
"""


def record(path: Path | BinaryIO, samples: bytes = bytes(range(256)) * 70) -> None:
    """Write a WAV of two channels, 16 bits, at 44,100 Hz."""
    with wave.open(path if hasattr(path, "write") else str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(44100)
        file.writeframes(samples)


def noise(number: int) -> bytes:
    """A tenth of a second of sound that no other number gives, for `record`."""
    return b"".join(struct.pack("<hh", (n * 37 + number * 101) % 2000, number) for n in range(4410))


@contextlib.contextmanager
def memory_group(name: str, limit: int) -> Iterator[Path]:
    """Make a version 1 memory group below the own one, without swap. limit: bytes. Skips where nobody may."""
    line = next((line for line in Path("/proc/self/cgroup").read_text().splitlines() if ":memory:" in line), None)
    if line is None:
        pytest.skip("no version 1 memory group on this machine")
    group = Path("/sys/fs/cgroup/memory") / line.split(":", 2)[2].strip("/") / f"stemd-{name}-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(limit))
        (group / "memory.swappiness").write_text("0")
    except OSError as error:
        pytest.skip(f"this machine lets tests make no memory group: {error}")
    try:
        yield group
    finally:
        for _ in range(100):  # until its last process is gone
            with contextlib.suppress(OSError):
                group.rmdir()
                break
            time.sleep(0.1)
