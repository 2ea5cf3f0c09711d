"""Peaks of memory, per request. Reads /proc and the CUDA allocator; changes nothing but their high-water marks."""

from __future__ import annotations

import contextlib
from pathlib import Path

import torch


def start(device: torch.device) -> None:
    """Begin a new peak: a 5 in clear_refs resets the kernel's mark, proc(5). Where it may not, the old one stays."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_ram() -> int:
    """Return the highest resident memory since `start`, in bytes (VmHWM)."""
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def peak_vram(device: torch.device) -> int:
    """Return the highest memory that torch reserved on a CUDA device since `start`, in bytes; 0 on the CPU."""
    return int(torch.cuda.max_memory_reserved(device)) if device.type == "cuda" else 0


def free(device: torch.device) -> int:
    """Return the bytes that are free now: on the CUDA device, or the system's available memory."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0
