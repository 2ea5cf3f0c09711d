"""Processor, memory, clock, and the kernel's limits on watching folders."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from stemd import tools
from stemd.doctor.finding import Finding, ok, problem, warning
from stemd.errors import StemdError
from stemd.headroom import measure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stemd.model import Headroom

_GIB = 1 << 30
_SMALL, _TIGHT = 6 * _GIB, 3 * _GIB
_WATCHES, _INSTANCES = 8192, 64
_TELLING = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "asimdhp", "bf16", "sve")
_FINISHED = 1_760_000_000
"""Autumn of 2025: the program is younger than any clock that shows less."""


def check(reserve: int, proc: Path = Path("/proc")) -> Iterator[Finding]:
    """Look at the machine. reserve: bytes of memory that the settings leave to others."""
    yield judge_processor((proc / "cpuinfo").read_text(), platform.machine(), len(os.sched_getaffinity(0)))
    yield from judge_memory(measure(), reserve, psutil.virtual_memory().total)
    limits = proc / "sys/fs/inotify"
    yield from judge_inotify(_number(limits / "max_user_watches"), _number(limits / "max_user_instances"))
    yield judge_clock(time.time(), exact=synchronised())


def judge_processor(cpuinfo: str, machine: str, cores: int) -> Finding:
    """Say what of it makes networks fast. cpuinfo: of /proc; machine: as uname names it."""
    lines = dict(line.partition(":")[::2] for line in reversed(cpuinfo.splitlines()))
    fields = {key.strip().lower(): value.strip() for key, value in lines.items()}
    flags = set((fields.get("flags") or fields.get("features") or "").split())
    name = fields.get("model name", machine)
    told = f"{name}, {cores} {'core' if cores == 1 else 'cores'}"
    has = [flag for flag in _TELLING if flag in flags]
    if machine == "x86_64" and "avx2" not in flags:
        return warning("processor", f"{told}, without AVX2", "separations on it are several times slower; use a GPU")
    return ok("processor", told + (f" ({', '.join(has)})" if has else ""))


def judge_memory(headroom: Headroom, reserve: int, physical: int) -> Iterator[Finding]:
    """Compare what there is with what a separation needs at least. physical: bytes of the whole machine."""
    if headroom.ram is None or headroom.ram_total is None:
        yield warning("memory", "could not be measured", "; ".join(headroom.problems) or "see /proc/meminfo")
        return
    total, free = headroom.ram_total, max(0, headroom.ram - reserve)
    group = f" (its control group allows no more of the machine's {physical / _GIB:.1f})" if total < physical else ""
    told = f"{total / _GIB:.1f} GiB{group}, {headroom.ram / _GIB:.1f} free, {reserve / _GIB:.1f} of it left to others"
    if total - reserve < _TIGHT:
        yield problem("memory", told, "too little for most models: lower ram_reserve_gb, or take preset low-memory")
    elif total < _SMALL or free < _TIGHT:
        yield warning("memory", told, "long waits are likely: close other programs, or take preset low-memory")
    else:
        yield ok("memory", told)


def judge_inotify(watches: int | None, instances: int | None) -> Iterator[Finding]:
    """Compare the kernel's limits with many sub-folders. Without events inboxes are only looked at more seldom."""
    if watches is None or instances is None:
        yield warning("inotify", "is not there", "inboxes are looked at every `rescan` seconds only")
    elif watches < _WATCHES or instances < _INSTANCES:
        advice = "sysctl fs.inotify.max_user_watches=524288 fs.inotify.max_user_instances=512, and into /etc/sysctl.d"
        yield warning("inotify", f"{watches} watches, {instances} instances", advice)
    else:
        yield ok("inotify", f"{watches} watches, {instances} instances")


def judge_clock(now: float, *, exact: bool | None) -> Finding:
    """Say whether dates can be trusted. now: Unix time. exact: kept by a time service; None if nobody knows."""
    shown = time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(now))
    if now < _FINISHED:
        return problem("clock", f"shows {shown}", "set it: timedatectl set-ntp true")
    if exact is False:
        return warning("clock", f"{shown}, not synchronised", "timedatectl set-ntp true")
    return ok("clock", shown + (", synchronised" if exact else ""))


def synchronised() -> bool | None:
    """Whether a time service keeps the clock; None where systemd does not run."""
    if not Path("/run/systemd/system").is_dir():
        return None
    try:
        done = tools.run(["timedatectl", "show", "--property=NTPSynchronized", "--value"], timeout=10)
    except StemdError:
        return None
    return {"yes": True, "no": False}.get(done.stdout.decode().strip())


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
