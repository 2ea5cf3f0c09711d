"""The control group the daemon lives in: its memory limit, what it uses, how often the kernel killed in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UNLIMITED = 1 << 60
"""Version 1 writes "no limit" as the largest multiple of a page (2^63 - 4096)."""


@dataclass(frozen=True, slots=True)
class Files:
    """Where one version of the interface keeps its figures. limits: the smallest one holds. cache: of files."""

    limits: tuple[str, ...]
    use: str
    cache: tuple[str, ...]
    events: str


V1 = Files(
    ("memory.limit_in_bytes",), "memory.usage_in_bytes", ("total_inactive_file", "total_active_file"),
    "memory.oom_control",
)  # fmt: skip
# memory.high throttles instead of killing: past it a separation crawls, so it is a limit too.
V2 = Files(("memory.max", "memory.high"), "memory.current", ("inactive_file", "active_file"), "memory.events")


@dataclass(frozen=True, slots=True)
class Memory:
    """free, limit: bytes, of the tightest group on the path; None without any limit. oom_kills: None if not told."""

    free: int | None = None
    limit: int | None = None
    oom_kills: int | None = None


class Group:
    """The memory group of this process and all above it. Finds their folders anew only when the process was moved."""

    def __init__(self, proc: Path, cgroup: Path) -> None:
        """Take the places of /proc and /sys/fs/cgroup."""
        self._proc, self._cgroup = proc, cgroup
        self._place = ""
        self._levels: list[tuple[Path, Files]] = []

    def memory(self) -> Memory:
        """Read the figures. Raises OSError, ValueError."""
        place = (self._proc / "self/cgroup").read_text()
        if place != self._place:
            self._levels = [*_levels(place, self._proc, self._cgroup)]
            self._place = place
        free, limit = None, None
        for folder, files in self._levels:
            bound = _bound(folder, files)
            if bound is None:
                continue
            limit = bound if limit is None else min(limit, bound)
            use = int((folder / files.use).read_text())
            # Cache of files goes as soon as memory is asked for, "active" for having been read twice or not; no tmpfs.
            cache = sum(_named(folder / "memory.stat", name) for name in files.cache)
            rest = bound - max(0, use - cache)
            free = rest if free is None else min(free, rest)
        return Memory(None if free is None else max(0, free), limit, self._oom_kills())

    def _oom_kills(self) -> int | None:
        """Kills in the innermost group that counts them; where none does (the topmost), those of the whole machine."""
        for folder, files in self._levels:
            if (folder / files.events).exists():
                return _named(folder / files.events, "oom_kill")
        vmstat = self._proc / "vmstat"
        return _named(vmstat, "oom_kill") if vmstat.exists() else None


def _levels(place: str, proc: Path, cgroup: Path) -> Iterator[tuple[Path, Files]]:
    """Yield the group's folder and those above it, the innermost first. place: the text of /proc/self/cgroup."""
    for line in place.splitlines():
        number, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            base, files = cgroup / "memory", V1
        elif number == "0" and not controllers:
            base = cgroup if (cgroup / "cgroup.controllers").exists() else cgroup / "unified"
            files = V2
        else:
            continue
        folder = base / _below(path, _mounted_root(proc, base.name if files is V1 else ""))
        # Inside a container without a namespace of its own the path is the host's, and only its end is mounted here.
        folder = folder if folder.is_dir() else base
        inside = [folder, *folder.parents]
        yield from ((level, files) for level in inside[: inside.index(base) + 1] if level.is_dir())


def _mounted_root(proc: Path, controller: str) -> str:
    """Tell which group's folder is mounted (field 4 of mountinfo): "/" except in some containers."""
    try:
        lines = (proc / "self/mountinfo").read_text().splitlines()
    except OSError:
        return "/"
    for line in lines:
        fields, _, rest = line.partition(" - ")
        kind, _, options = (*rest.split(" "), "", "")[:3]
        version_1 = kind == "cgroup" and controller and controller in options.split(",")
        if version_1 or (kind == "cgroup2" and not controller):
            return fields.split(" ")[3]
    return "/"


def _below(path: str, root: str) -> str:
    inside = root != "/" and (path == root or path.startswith(root + "/"))
    return (path[len(root) :] if inside else path).strip("/")


def _bound(folder: Path, files: Files) -> int | None:
    values = [(folder / name).read_text().strip() for name in files.limits if (folder / name).exists()]
    bounds = [int(value) for value in values if value != "max" and int(value) < UNLIMITED]
    return min(bounds, default=None)


def _named(file: Path, name: str) -> int:
    """Read `name value` from a file of such lines; 0 without that name."""
    for line in file.read_text().splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0
