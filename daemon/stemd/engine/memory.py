"""Memory of the engine process: its peak in each request, and that it stays where the first segments left it."""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path
from typing import Final

import torch

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_GROWN: Final = 1.03
"""Of the usual resident memory; from there on the heap is tidied up."""
_FIRST: Final = 3
"""Segments after which resident memory is what it usually is."""


class Tide:
    """Keeps resident memory from creeping up over hours.

    Each segment takes and gives back the same blocks, of tens of MB. But threads do so in changing order, so that now
    and then a block no longer fits where it lay before and the heap grows by it: 8 % in 20 minutes. Giving free pages
    back to the system starts that anew; it takes 10 ms, and the next segment no longer than others.
    """

    def __init__(self) -> None:
        self._segments = 0
        self._usual = 0

    def after_segment(self) -> None:
        """Look, and tidy up where resident memory has grown."""
        self._segments += 1
        now = resident()
        if self._segments <= _FIRST:
            self._usual = max(self._usual, now)
        elif now > _GROWN * self._usual:
            give_back()
            self._segments = _FIRST - 1  # the next one says what is usual


def resident() -> int:
    """Return the process's resident memory in bytes."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * _PAGE


def give_back() -> None:
    """Give the heap's free pages back to the system, malloc_trim(3); without glibc nothing happens."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def start(device: torch.device) -> None:
    """Begin a new peak, without what an earlier run was given and no longer uses.

    A 5 in clear_refs resets the kernel's mark, proc(5). Where it may not, the old one stays.
    """
    give_back()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    if device.type == "cuda":
        torch.cuda.init()  # before it the allocator knows no device
        torch.cuda.empty_cache()
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
