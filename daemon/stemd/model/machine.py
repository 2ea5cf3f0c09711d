"""The machine as measured, and what a job would ask of it. Memory and disk in bytes, times in seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MemoryKind: TypeAlias = Literal["ram", "vram"]
GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Gpu:
    """One graphics card, as the driver reports it; other programs' use is included.

    index: as the engine numbers it, so that `device` names it there. uuid: the driver's, stable over restarts.
    free: unused bytes less the configured reserve, never negative. busy_percent: 0 to 100, by other programs.
    """

    index: int
    uuid: str
    name: str
    total: int
    free: int
    busy_percent: float = 0.0

    @property
    def device(self) -> str:
        """The name under which the engine knows it."""
        return f"cuda:{self.index}"


@dataclass(frozen=True, slots=True)
class Disk:
    """Room in the file system that holds a folder. volume: equal for folders that share one file system."""

    folder: Path
    volume: int
    total: int
    free: int


@dataclass(frozen=True, slots=True)
class Use:
    """What one of the daemon's own child processes holds at the moment."""

    ram: int = 0
    vram: int = 0


@dataclass(frozen=True, slots=True)
class Headroom:
    """One measurement of the machine. What could not be measured is named in `problems`, never raised.

    at: wall clock (Unix time). ram: usable bytes less the reserve; None when unknown.
    ram_total: the most there can be (physical memory or the control group's limit); None when unknown.
    cpu_percent: 0 to 100 of the whole machine, used by other programs. oom_kills: the kernel's counter for this
    control group; a rise means that a child was killed for memory. None when the kernel does not tell.
    own: the daemon's own children by process id.
    """

    at: float
    ram: int | None = None
    ram_total: int | None = None
    gpus: tuple[Gpu, ...] = ()
    disks: tuple[Disk, ...] = ()
    cpu_percent: float = 0.0
    oom_kills: int | None = None
    own: Mapping[int, Use] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def gpu(self, device: str) -> Gpu | None:
        """Find the card that the engine calls `device`; None for the CPU and for a card that is gone."""
        return next((gpu for gpu in self.gpus if gpu.device == device), None)


@dataclass(frozen=True, slots=True)
class Rung:
    """One way to run the network, from the largest downwards.

    device: cpu, cuda:0, ... segment: seconds, really used (not padded back). batch: segments at a time.
    """

    device: str
    precision: str
    batch: int
    segment: float

    @property
    def on_gpu(self) -> bool:
        """Whether the network runs on a graphics card."""
        return self.device != "cpu"

    def __str__(self) -> str:
        return f"{self.device}, {self.precision}, batch {self.batch}, segment {self.segment:g} s"


@dataclass(frozen=True, slots=True)
class Need:
    """What a stage asks for. disk: bytes it will still write below each folder."""

    ram: int = 0
    vram: int = 0
    disk: Mapping[Path, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Option:
    """A rung that a job may take, and what it costs. seconds: how long it is expected to run; None when unknown."""

    rung: Rung
    need: Need
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Fall:
    """A rung on which memory ran out.

    kind: which memory it was. room: bytes of it that the engine could have had, its own included. at: Unix time.
    model: whose job it was.
    """

    rung: Rung
    kind: MemoryKind
    room: int
    at: float
    model: str = ""


@dataclass(frozen=True, slots=True)
class Lack:
    """A need that does not fit. what: RAM, GPU or disk, and then the folder on it. needed, free: bytes."""

    what: str
    needed: float
    free: float
    folder: Path | None = None

    def __str__(self) -> str:
        # The need is rounded up and the rest down: "needs 3.2, 3.2 free" would help nobody.
        # Half a MiB of grace: 0.39999 GiB is 0.4 everywhere else.
        needed = math.ceil(self.needed / GIB * 10 - 0.005) / 10
        free = math.floor(max(0.0, self.free) / GIB * 10 + 0.005) / 10
        place = f" in {self.folder}" if self.folder else ""
        return f"needs {needed:.1f} GiB {self.what}{place}, {free:.1f} free"
