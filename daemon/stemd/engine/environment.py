"""The environment an engine process is started with: allocator, huge pages, threads. Pure, and imports no torch.

glibc reads these variables once, when a process starts, so whoever starts `python -m stemd.engine` passes them; started
without, the engine runs itself again with them. Nothing here changes the process it runs in.

Why: a forward pass allocates and frees a few hundred blocks of 10 to 200 MB. By default glibc maps and unmaps each one,
and every first touch of a 4 KiB page is a fault: a third of the time. Kept in one arena on huge pages, blocks are
reused.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

MARK = "STEMD_ENGINE_ENVIRONMENT"
_SPINS = "1000"
"""How often a thread looks before it sleeps, where threads meet. GNU OpenMP's 300,000 take what other programs need,
and when these hold a core, the thread that is waited for comes last: ten seconds through the embedded model took 35.7 s
on a loaded machine, 3.9 s with 1,000; on an idle one no longer than before (passive waiting: a sixth longer)."""
_KEEP = str(1 << 40)  # bytes; larger than any block, so that none is mapped apart or given back


def engine_environment(base: Mapping[str, str] | None = None, cores: int | None = None) -> dict[str, str]:
    """Return base (default: this process's environment) with what the engine needs added.

    cores: how many to compute on; default `usable_cores()`. A thread count that the user set in base is kept.
    The variables: man mallopt(3); glibc.malloc.hugetlb=1 asks for transparent huge pages by madvise (glibc 2.35).
    """
    env = dict(os.environ if base is None else base)
    env["MALLOC_MMAP_THRESHOLD_"] = _KEEP
    env["MALLOC_TRIM_THRESHOLD_"] = _KEEP
    env["MALLOC_TOP_PAD_"] = str(64 << 20)
    env["MALLOC_ARENA_MAX"] = "1"
    tunables = [t for t in env.get("GLIBC_TUNABLES", "").split(":") if t and not t.startswith("glibc.malloc.hugetlb=")]
    env["GLIBC_TUNABLES"] = ":".join([*tunables, "glibc.malloc.hugetlb=1"])
    env.setdefault("OMP_NUM_THREADS", str(cores or usable_cores()))
    env["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # cuda:N is then the card that the driver's figures call N
    if "OMP_WAIT_POLICY" not in env:
        env.setdefault("GOMP_SPINCOUNT", _SPINS)
    env[MARK] = "1"
    return env


def usable_cores() -> int:
    """Return how many cores this process may use: its affinity, capped by its control group's quota; at least 1."""
    cores = len(os.sched_getaffinity(0))
    quota = _quota(Path("/sys/fs/cgroup"), _groups())
    return max(1, cores if quota is None else min(cores, math.ceil(quota)))


def _groups() -> dict[str, str]:
    """Return controller -> path of this process's control groups ("" for version 2)."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    fields = (line.split(":", 2) for line in lines)
    return {name: group for _, names, group in fields for name in names.split(",")}


def _quota(root: Path, groups: Mapping[str, str]) -> float | None:
    """Return the smallest quota in cores on the way from the process's group to the root; None: unlimited."""
    quotas = [_quota_v2(path) for path in _upwards(root, groups.get("", "/"))]
    quotas += [_quota_v1(path) for path in _upwards(root / "cpu", groups.get("cpu", "/"))]
    return min((quota for quota in quotas if quota is not None), default=None)


def _upwards(root: Path, group: str) -> list[Path]:
    path = root / group.lstrip("/")
    return [path, *(parent for parent in path.parents if parent == root or root in parent.parents)]


def _quota_v2(folder: Path) -> float | None:
    try:
        limit, period = (folder / "cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return None
    return None if limit == "max" else int(limit) / int(period)


def _quota_v1(folder: Path) -> float | None:
    try:
        limit = int((folder / "cpu.cfs_quota_us").read_text(encoding="ascii"))
        period = int((folder / "cpu.cfs_period_us").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return limit / period if limit > 0 else None
