"""The graphics card, its driver, and whether torch can use it."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stemd import tools
from stemd.doctor.finding import Finding, ok, problem, warning
from stemd.errors import StemdError
from stemd.headroom import measure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stemd.model import Gpu

_GIB = 1 << 30
_ASK = """
import json, torch
usable = torch.cuda.is_available()
print(json.dumps({"version": torch.__version__, "cuda": torch.version.cuda, "usable": usable,
                  "threads": torch.get_num_threads()}))
"""
"""Run by a child: the daemon's own process never imports torch."""


@dataclass(frozen=True, slots=True)
class Torch:
    """The installed build. cuda: the version it was built for, None for a CPU build. usable: it sees a card."""

    version: str
    cuda: str | None
    usable: bool


def check(device: str) -> Iterator[Finding]:
    """Ask driver and torch. device: as in [resources]."""
    try:
        build = _torch()
    except (StemdError, ValueError, KeyError) as error:
        yield problem("torch", f"cannot be used: {error}", "install stemd again: scripts/setup, or scripts/install")
        return
    yield ok("torch", f"{build.version}, {f'for CUDA {build.cuda}' if build.cuda else 'CPU build'}")
    yield from judge(measure().gpus, build, _driver(), device)


def _torch() -> Torch:
    done = tools.run([sys.executable, "-c", _ASK], timeout=120)
    if done.returncode != 0:
        raise StemdError("torch-broken", done.last_words, "")
    told: dict[str, Any] = json.loads(done.stdout.decode().splitlines()[-1])
    return Torch(str(told["version"]), told["cuda"], bool(told["usable"]))


def _driver(path: Path = Path("/proc/driver/nvidia/version")) -> str:
    """The kernel module's version; empty without one."""
    try:
        words = path.read_text().split("\n", 1)[0].split()
    except OSError:
        return ""
    return next((word for word in words if word[:1].isdigit()), "unknown")


def judge(gpus: Sequence[Gpu], build: Torch, driver: str, device: str) -> Iterator[Finding]:
    """Compare cards, driver, build and settings."""
    for gpu in gpus:
        yield ok(
            "GPU", f"{gpu.name} ({gpu.device}): {gpu.total / _GIB:.1f} GiB, {gpu.free / _GIB:.1f} free, driver {driver}"
        )
    wanted = device.startswith("cuda")
    if not gpus:
        advice = "install NVIDIA's driver; nvidia-smi must show the card"
        if wanted:
            yield problem("GPU", f'none answers, but device is "{device}"', advice)
        elif driver:
            yield warning("GPU", f"driver {driver} is loaded, but no card answers", advice)
        elif device == "auto":
            yield warning(
                "GPU", "none: separations run on the processor, many times slower", 'write device = "cpu" if so meant'
            )
        else:
            yield ok("GPU", "not used: the settings say so")
    elif device != "cpu" and not build.cuda:
        yield problem(
            "GPU", "torch is a CPU build and cannot use the card", "install torch's CUDA build of the same version"
        )
    elif device != "cpu" and not build.usable:
        yield problem(
            "GPU", f"torch for CUDA {build.cuda} does not get on with driver {driver}", "update NVIDIA's driver"
        )
