"""What goes wrong below the engine, told as a StemdError: memory, CUDA, the disk."""

from __future__ import annotations

import errno
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from stemd.engine import memory
from stemd.errors import StemdError

if TYPE_CHECKING:
    from collections.abc import Iterator

_CPU_MEMORY = re.compile(
    r"DefaultCPUAllocator: can't allocate memory|not enough memory|Cannot allocate memory|bad_alloc", re.IGNORECASE
)
_CUDA_MEMORY = re.compile(
    r"CUDA (?:driver )?error: out of memory|cudaErrorMemoryAllocation|CUBLAS_STATUS_ALLOC_FAILED|CUFFT_ALLOC_FAILED"
    r"|CUDNN_STATUS_(?:\w+_)?ALLOC(?:ATION)?_FAILED",
    re.IGNORECASE,
)
"""What runs out beside torch's own allocator: the context, and what CUDA's libraries take for themselves."""
_TRIED = re.compile(r"(?:tried to allocate|allocate)\s+([\d.]+ ?\w*)", re.IGNORECASE)
_CUDA = re.compile(r"CUDA|cuDNN|cuBLAS|cuFFT|NVRTC", re.IGNORECASE)


@contextmanager
def translated(device: torch.device) -> Iterator[None]:
    """Raise what the block raises, as "out-of-memory", "cuda-error", "disk-full" or "cannot-write" where it is one."""
    try:
        yield
    except StemdError:
        raise
    except (MemoryError, RuntimeError, OSError) as error:
        known = translate(error, device)
        if known is None:
            raise
        raise known from error


def translate(error: BaseException, device: torch.device) -> StemdError | None:
    """Return the StemdError for an exception; None where it is unexpected."""
    text = str(error)
    out = isinstance(error, (torch.OutOfMemoryError, MemoryError))
    if out or (isinstance(error, RuntimeError) and (_CPU_MEMORY.search(text) or _CUDA_MEMORY.search(text))):
        return _out_of_memory(text, device)
    if isinstance(error, OSError):
        return _disk(error)
    if isinstance(error, RuntimeError) and _CUDA.search(text):
        first = text.strip().splitlines()[0]
        return StemdError("cuda-error", f"{device} failed: {first}", "the engine is started anew; see `stemd doctor`")
    return None


def _out_of_memory(text: str, device: torch.device) -> StemdError:
    tried = _TRIED.search(text)
    asked = f", tried to allocate {tried[1].strip()}" if tried else ""
    return StemdError(
        "out-of-memory",
        f"memory ran out on {device}{asked}, {_free(device)} free",
        "use a smaller batch or a shorter segment, or free memory",
    )


def _free(device: torch.device) -> str:
    try:
        return f"{memory.free(device) / 2**30:.2f} GiB"
    except (RuntimeError, OSError, MemoryError):
        return "unknown"


def _disk(error: OSError) -> StemdError | None:
    what = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error)
    if error.errno == errno.ENOMEM:
        return _out_of_memory(str(error), torch.device("cpu"))
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StemdError(
            "disk-full", f"the stems cannot be written: {what}", "free some space; the work starts again then"
        )
    if error.errno == errno.ENOENT:
        return StemdError("no-file", f"{what}", "check the path")
    if error.errno is not None:
        return StemdError("cannot-access", f"{what}", "check the path and its permissions")
    return None
