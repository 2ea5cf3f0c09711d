"""NVIDIA graphics cards through the driver's management library. Makes no CUDA context and needs no torch."""

from __future__ import annotations

import importlib
import os
import time
from typing import TYPE_CHECKING, Any, Final

from stemd.model import Gpu, Use

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_AGAIN: Final = 30.0
"""Seconds between attempts to reach a driver that is not there."""
_ABSENT: Final = frozenset({"NVMLError_LibraryNotFound", "NVMLError_DriverNotLoaded", "NVMLError_NotFound"})
"""No NVIDIA driver: the ordinary state of most machines."""


class Gpus:
    """Holds the connection to the driver, and remembers the cards seen, to notice one that vanishes."""

    def __init__(self, reserve: int, environment: Mapping[str, str] = os.environ) -> None:
        """reserve: bytes of each card that are left alone. environment: CUDA_VISIBLE_DEVICES limits and numbers."""
        self._reserve = reserve
        self._visible = environment.get("CUDA_VISIBLE_DEVICES")
        self._nvml: Any = None
        self._next = 0.0
        self._trouble = ""
        self._seen: dict[str, str] = {}

    def look(
        self, own: Collection[int] = (), engaged: Collection[str] = ()
    ) -> tuple[tuple[Gpu, ...], dict[int, Use], list[str]]:
        """Tell the cards that answer, the card memory of each own process, and a problem for each card that does not.

        own: the daemon's processes. engaged: devices on which its engines work, whose load is not another program's.
        """
        nvml = self._connect()
        if nvml is None:
            return (), {}, [self._trouble] if self._trouble else self._vanished(())
        try:
            return self._cards(nvml, own, engaged)
        except Exception as error:  # noqa: BLE001 - whatever the driver says, the daemon goes on without cards
            self._disconnect(f"the graphics driver does not answer: {error}")
            return (), {}, [self._trouble]

    def _connect(self) -> Any | None:
        if self._nvml is not None or time.monotonic() < self._next:
            return self._nvml
        self._next, self._trouble = time.monotonic() + _AGAIN, ""
        try:
            nvml = importlib.import_module("pynvml")
            nvml.nvmlInit()
        except ImportError:
            return None
        except Exception as error:  # noqa: BLE001 - the library's own errors exist only once it is imported
            if self._seen or type(error).__name__ not in _ABSENT:
                self._trouble = f"the graphics driver does not answer: {error}"
            return None
        self._nvml = nvml
        return nvml

    def _disconnect(self, trouble: str) -> None:
        """Start afresh next time: a driver that was reset knows nothing of the old connection."""
        nvml, self._nvml = self._nvml, None
        self._trouble, self._next = trouble, time.monotonic() + _AGAIN
        _ask(nvml, "nvmlShutdown")

    def _cards(
        self, nvml: Any, own: Collection[int], engaged: Collection[str]
    ) -> tuple[tuple[Gpu, ...], dict[int, Use], list[str]]:
        handles: dict[str, Any] = {}
        parts: dict[str, Any] = {}
        problems: list[str] = []
        for number in range(nvml.nvmlDeviceGetCount()):
            try:
                handle = nvml.nvmlDeviceGetHandleByIndex(number)
                uuid = _text(_ask(nvml, "nvmlDeviceGetUUID", handle)) or f"GPU-{number}"
                self._seen[uuid] = _named(nvml, f"GPU {number}", handle)
                divided = _parts(nvml, handle)
                handles[uuid] = next(iter(divided.values()), handle)  # CUDA uses a divided card's first part
                parts |= divided
            except nvml.NVMLError as error:
                problems.append(f"GPU {number} does not answer: {error}")
        gpus: list[Gpu] = []
        uses: dict[int, Use] = {}
        there = parts | handles
        for index, uuid in enumerate(visible(self._visible, list(handles), list(parts))):
            self._seen.setdefault(uuid, _named(nvml, f"GPU part {uuid}", there[uuid]))
            try:
                gpu, used = self._card(nvml, index, uuid, there[uuid], own, engaged)
            except nvml.NVMLError as error:
                problems.append(f"{self._seen[uuid]} does not answer: {error}")
                continue
            gpus.append(gpu)
            uses |= {pid: Use(vram=uses.get(pid, Use()).vram + size) for pid, size in used.items()}
        if problems and time.monotonic() >= self._next:
            self._disconnect("")
            self._next = 0.0  # a new connection may find a card that was reset
        return tuple(gpus), uses, problems + self._vanished(there)

    def _card(
        self, nvml: Any, index: int, uuid: str, handle: Any, own: Collection[int], engaged: Collection[str]
    ) -> tuple[Gpu, dict[int, int]]:
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        rates = _ask(nvml, "nvmlDeviceGetUtilizationRates", handle)
        processes = _ask(nvml, "nvmlDeviceGetComputeRunningProcesses", handle) or ()
        used = {int(each.pid): int(each.usedGpuMemory or 0) for each in processes if int(each.pid) in own}
        name = self._seen[uuid].partition("(")[2].rstrip(")")
        gpu = Gpu(index, uuid, name, int(memory.total), max(0, int(memory.free) - self._reserve))
        busy = float(rates.gpu) if rates is not None else 0.0
        if used:
            busy = _load_of_others(nvml, handle, own)
        elif gpu.device in engaged:
            busy = 0.0  # in a container the driver numbers processes otherwise; nobody should give way to himself
        return Gpu(index, uuid, name, gpu.total, gpu.free, busy), used

    def _vanished(self, there: Collection[str]) -> list[str]:
        return [f"{name} is gone" for uuid, name in self._seen.items() if uuid not in there]


def visible(setting: str | None, uuids: list[str], parts: list[str]) -> list[str]:
    """Order the cards as CUDA numbers them under CUDA_VISIBLE_DEVICES (indices or beginnings of uuids).

    uuids: of the cards. parts: uuids of what cards are divided into (MIG), which entries that begin with MIG- name.
    As in CUDA, the first entry that names no card ends the list. Numbers count in PCI order, so the engine must
    run with CUDA_DEVICE_ORDER=PCI_BUS_ID.
    """
    if setting is None:
        return uuids
    chosen: list[str] = []
    for entry in (part.strip() for part in setting.split(",")):
        if entry.isdecimal():
            found = uuids[int(entry) : int(entry) + 1]
        else:
            named = parts if entry.startswith("MIG-") else uuids
            found = [uuid for uuid in named if entry and uuid.startswith(entry)]
        if len(found) != 1 or found[0] in chosen:
            break
        chosen += found
    return chosen


def _load_of_others(nvml: Any, handle: Any, own: Collection[int]) -> float:
    """Percent of the card's time that other processes used lately; 0 where the driver does not tell by process."""
    samples = _ask(nvml, "nvmlDeviceGetProcessUtilization", handle, 0) or ()
    latest = {int(each.pid): (each.timeStamp, each.smUtil) for each in sorted(samples, key=lambda each: each.timeStamp)}
    recent = max((stamp for stamp, _ in latest.values()), default=0) - 5_000_000  # microseconds
    return min(100.0, float(sum(util for pid, (stamp, util) in latest.items() if pid not in own and stamp >= recent)))


def _parts(nvml: Any, handle: Any) -> dict[str, Any]:
    """Give the parts of a divided card (MIG) by their uuids, in order; a whole card has none."""
    mode = _ask(nvml, "nvmlDeviceGetMigMode", handle)
    if not mode or not mode[0]:
        return {}
    places = range(_ask(nvml, "nvmlDeviceGetMaxMigDeviceCount", handle) or 1)
    asked = ((place, _ask(nvml, "nvmlDeviceGetMigDeviceHandleByIndex", handle, place)) for place in places)
    found = ((place, part) for place, part in asked if part is not None)
    return {_text(_ask(nvml, "nvmlDeviceGetUUID", part)) or f"MIG-{place}": part for place, part in found}


def _named(nvml: Any, what: str, handle: Any) -> str:
    return f"{what} ({_text(_ask(nvml, 'nvmlDeviceGetName', handle)) or 'unnamed'})"


def _ask(nvml: Any, question: str, *details: Any) -> Any | None:
    """Ask what not every driver and card knows; None where it does not."""
    function = getattr(nvml, question, None)
    if function is None:
        return None
    try:
        return function(*details)
    except nvml.NVMLError:
        return None


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")
