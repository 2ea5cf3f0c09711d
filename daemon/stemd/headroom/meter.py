"""One measurement of the whole machine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from stemd.headroom.cgroup import Group, Memory
from stemd.headroom.disks import Disks
from stemd.headroom.gpus import Gpus
from stemd.headroom.processes import Processes
from stemd.model import Headroom, Use

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

PROC: Final = Path("/proc")
CGROUP: Final = Path("/sys/fs/cgroup")


def _physical() -> tuple[int, int]:
    """Total and available bytes of the machine."""
    memory = psutil.virtual_memory()
    return int(memory.total), int(memory.available)


class Meter:
    """Measures again and again, cheaply: it keeps the driver's connection and the last processor times."""

    def __init__(
        self,
        folders: Iterable[Path] = (),
        *,
        ram_reserve: int = 0,
        vram_reserve: int = 0,
        physical: Callable[[], tuple[int, int]] = _physical,
        proc: Path = PROC,
        cgroup: Path = CGROUP,
    ) -> None:
        """folders: whose disks are looked at. reserves: bytes to leave alone (of RAM, of each card).

        physical, proc, cgroup: for tests.
        """
        self._reserve = ram_reserve
        self._physical = physical
        self._group = Group(proc, cgroup)
        self._disks = Disks(folders)
        self._gpus = Gpus(vram_reserve)
        self._processes = Processes(proc)

    def measure(self, engaged: Collection[str] = ()) -> Headroom:
        """Measure. engaged: devices on which the daemon's own engines work at the moment."""
        problems: list[str] = []
        ram, total, kills = self._ram(problems)
        load, own = self._load(problems)
        gpus, on_cards, gpu_problems = self._gpus.look(own, engaged)
        disks, disk_problems = self._disks.look()
        return Headroom(
            at=time.time(), ram=ram, ram_total=total, gpus=gpus, disks=disks, cpu_percent=load, oom_kills=kills,
            own={pid: Use(use.ram, on_cards.get(pid, use).vram) for pid, use in own.items()},
            problems=(*problems, *gpu_problems, *disk_problems),
        )  # fmt: skip

    def _ram(self, problems: list[str]) -> tuple[int | None, int | None, int | None]:
        """Usable and total bytes, and the kernel's count of kills: the tighter of machine and control group."""
        group = self._limits(problems)
        try:
            total, available = self._physical()
        except Exception as error:  # noqa: BLE001 - psutil raises what /proc makes it raise
            problems.append(f"free memory could not be measured: {error}")
            return None, group.limit, group.oom_kills
        if group.free is not None and group.limit is not None:
            total, available = min(total, group.limit), min(available, group.free)
        return max(0, available - self._reserve), max(0, total - self._reserve), group.oom_kills

    def _limits(self, problems: list[str]) -> Memory:
        try:
            return self._group.memory()
        except (OSError, ValueError) as error:
            problems.append(f"the control group's memory limit could not be read: {error}")
            return Memory()

    def _load(self, problems: list[str]) -> tuple[float, dict[int, Use]]:
        try:
            return self._processes.look()
        except (OSError, ValueError) as error:
            problems.append(f"the load could not be measured: {error}")
            return 0.0, {}


def measure(folders: Iterable[Path] = (), *, ram_reserve: int = 0, vram_reserve: int = 0) -> Headroom:
    """Measure once, for a command. Takes half a second, because load is a difference of two looks."""
    meter = Meter(folders, ram_reserve=ram_reserve, vram_reserve=vram_reserve)
    meter.measure()
    time.sleep(0.55)
    return meter.measure()
