"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import torch

from stemd.engine.environment import usable_cores


def describe() -> dict[str, Any]:
    """Return processor, cores, memory, load, versions and cards of this machine."""
    processor = next((line for line in _lines("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    memory = next((line for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), "0 0")
    return {
        "processor": processor.partition(":")[2].strip() or processor,
        "cores": usable_cores(),
        "memory_gb": round(int(memory.split()[1]) / 1e6, 1),
        "load": os.getloadavg(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "cards": cards(),
    }


def cards() -> list[str]:
    """Return the names of the NVIDIA cards that torch can use here."""
    if not shutil.which("nvidia-smi") or not torch.cuda.is_available():
        return []
    found = subprocess.run(
        ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True, check=False
    )
    return found.stdout.split("\n")[:-1]


def card_peak_tflops() -> float:
    """Measure what the card really reaches in half precision: the best of a few large products."""
    size, best = 8192, 0.0
    first, second = (torch.randn(size, size, device="cuda", dtype=torch.float16) for _ in range(2))
    for _ in range(20):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        torch.mm(first, second)
        end.record()
        torch.cuda.synchronize()
        best = max(best, 2 * size**3 / begin.elapsed_time(end) / 1e9)
    return best


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
