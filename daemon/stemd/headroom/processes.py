"""Whose load is it: processor time and memory of the daemon with its children, and of everybody else."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from stemd.model import Use

if TYPE_CHECKING:
    from pathlib import Path

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_SHORTEST: Final = 0.5
"""Seconds between two samples of processor time: the kernel counts in hundredths."""


class Sample(NamedTuple):
    """Processor seconds since boot, of the whole machine (busy, in all) and of the daemon's own processes."""

    at: float
    busy: float
    total: float
    own: float


class Processes:
    """Keeps the last sample, to tell the load since."""

    def __init__(self, proc: Path) -> None:
        self._proc = proc
        self._last: Sample | None = None
        self._percent = 0.0

    def look(self) -> tuple[float, dict[int, Use]]:
        """Tell the load by others in percent of the machine (0 to 100), and the memory of each own child's family.

        The load is that since the last look at least half a second ago; 0 at the first. Raises OSError, ValueError.
        """
        own, families = self._family(os.getpid(), {})
        busy, total = _machine((self._proc / "stat").read_text())
        now = Sample(time.monotonic(), busy, total, own)
        if self._last is None:
            self._last = now
        elif now.at - self._last.at >= _SHORTEST:
            self._percent = _others(self._last, now)
            self._last = now
        families.pop(os.getpid(), None)
        return self._percent, families

    def _family(self, pid: int, families: dict[int, Use]) -> tuple[float, dict[int, Use]]:
        """Add up a process and all below it: processor seconds; `families` gets the memory by process id."""
        folder = self._proc / str(pid)
        try:
            seconds, ram = _seconds((folder / "stat").read_text()), _private((folder / "statm").read_text())
            tasks = [task / "children" for task in (folder / "task").iterdir()]
        except OSError:
            return 0.0, families  # it ended meanwhile: its time is now among its parent's
        for child in {int(word) for task in tasks for word in _words(task)}:
            below, _ = self._family(child, families)
            seconds += below
            ram += families.get(child, Use()).ram
        families[pid] = Use(ram=ram)
        return seconds, families


def _machine(text: str) -> tuple[float, float]:
    """Read busy and total seconds from /proc/stat: user nice system idle iowait irq softirq steal."""
    user, nice, system, idle, iowait, *rest = (int(word) for word in text.split("\n", 1)[0].split()[1:9])
    irq, softirq, steal = (*rest, 0, 0, 0)[:3]
    busy = user + nice + system + irq + softirq
    # Stolen time is spent by other virtual machines: nobody here uses it.
    return busy / _TICKS, (busy + idle + iowait + steal) / _TICKS


def _seconds(text: str) -> float:
    """Read a process's own time and that of its children who have ended, from /proc/<pid>/stat (proc(5))."""
    fields = text[text.rindex(")") + 2 :].split()
    return sum(int(field) for field in fields[11:15]) / _TICKS


def _private(text: str) -> int:
    """Read the bytes that ending the process would free: resident less shared (mapped libraries count as cache)."""
    _, resident, shared, *_ = text.split()
    return (int(resident) - int(shared)) * _PAGE


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []


def _others(before: Sample, now: Sample) -> float:
    total = now.total - before.total
    if total <= 0:
        return 0.0
    others = (now.busy - before.busy) - max(0.0, now.own - before.own)
    return min(100.0, max(0.0, 100.0 * others / total))
