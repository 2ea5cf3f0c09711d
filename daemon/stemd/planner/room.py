"""The room that is left while a plan is made: measured, less what is promised and not yet used."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from stemd.model import Lack, Need, Use
from stemd.planner.facts import QUALITY, worker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from stemd.model import Headroom
    from stemd.planner.facts import Promise, Warm

NOTHING = Use()


class Room:
    """Memory and disk that may still be promised. Guards that nothing is promised twice.

    `empty` is the room as it would be if every running job ended now: who does not fit there waits for other programs.
    """

    def __init__(self, headroom: Headroom, running: Sequence[Promise], warm: Sequence[Warm]) -> None:
        self._volumes = {disk.folder: disk.volume for disk in headroom.disks}
        self._disk: dict[int, float] = {disk.volume: disk.free for disk in headroom.disks}
        self._totals = {gpu.device: gpu.total for gpu in headroom.gpus}
        self._vram: dict[str, float] = {gpu.device: gpu.free for gpu in headroom.gpus}
        self._ram_total = math.inf if headroom.ram_total is None else headroom.ram_total
        self.blind = headroom.ram is None
        self._ram = math.inf if headroom.ram is None else float(headroom.ram)
        self._warm = {engine.device: engine.use for engine in warm}
        self._empty_ram, self._empty_vram = self._ram, dict(self._vram)
        self.busy: set[str] = set()
        for promise in running:
            self._subtract_promise(promise, headroom)

    @property
    def idle_engines(self) -> tuple[str, ...]:
        """Devices whose engine holds memory and does nothing; QUALITY for the checker."""
        return tuple(sorted(self._warm))

    def free_vram(self, device: str) -> float:
        """Bytes that may still be promised on a card."""
        return self._vram[device] + self._warm.get(device, NOTHING).vram

    def present(self, device: str) -> bool:
        """Whether the device is there at all."""
        return device == "cpu" or device in self._vram

    def lack(self, need: Need, device: str = "") -> Lack | None:
        """What is missing for `need` on `device` (empty: no engine; QUALITY: the checker); None when it fits."""
        own = self._warm.get(device, NOTHING)
        if need.ram and need.ram > self._ram + own.ram:
            return Lack("RAM", need.ram, self._ram + own.ram)
        if need.vram and device in self._vram and need.vram > self._vram[device] + own.vram:
            return Lack("GPU", need.vram, self._vram[device] + own.vram)
        return self._disk_lack(need.disk)

    def lack_when_empty(self, need: Need, device: str = "") -> bool:
        """Whether it would not even fit if none of the daemon's own jobs ran."""
        held = sum(use.ram for use in self._warm.values())
        vram = self._empty_vram.get(device, math.inf) + self._warm.get(device, NOTHING).vram
        return need.ram > self._empty_ram + held or need.vram > vram

    def lack_for_ever(self, need: Need, device: str) -> Lack | None:
        """What is missing even if nothing else at all ran on this machine."""
        if need.ram > self._ram_total:
            return Lack("RAM", need.ram, self._ram_total)
        total = self._totals.get(device, math.inf)
        return Lack("GPU", need.vram, total) if need.vram > total else None

    def take(self, need: Need, device: str = "") -> None:
        """Promise it. An engine's own memory is part of what its next job is promised."""
        own = self._warm.pop(device, NOTHING)
        self._ram += own.ram - need.ram
        if device in self._vram:
            self._vram[device] += own.vram - need.vram
        if device and device != QUALITY:
            self.busy.add(device)
            # Unknown memory: one engine at a time, and nobody beside it.
            self._ram = 0.0 if self.blind else self._ram
        self.take_disk(need.disk)

    def claim(self, need: Need, device: str) -> None:
        """Keep room for a job that does not fit yet, so that smaller ones cannot hold it off for ever."""
        self._ram -= need.ram
        if device in self._vram:
            self._vram[device] -= need.vram

    def take_disk(self, disk: Mapping[Path, int]) -> None:
        """Promise bytes below folders; folders without a measurement are not limited here."""
        for folder, size in disk.items():
            volume = self._volumes.get(folder)
            if volume is not None:
                self._disk[volume] -= size

    def _disk_lack(self, disk: Mapping[Path, int]) -> Lack | None:
        asked: dict[int, int] = {}
        for folder, size in disk.items():
            volume = self._volumes.get(folder)
            if volume is None or size <= 0:
                continue
            asked[volume] = asked.get(volume, 0) + size
            if asked[volume] > self._disk[volume]:
                return Lack("disk", asked[volume], self._disk[volume], folder)
        return None

    def _subtract_promise(self, promise: Promise, headroom: Headroom) -> None:
        device = worker(promise.stage, promise.rung)
        used = headroom.own.get(promise.pid, NOTHING) if promise.pid is not None else NOTHING
        if device:
            self._warm.pop(device, None)
        unused = Need(max(0, promise.need.ram - used.ram), max(0, promise.need.vram - used.vram), promise.need.disk)
        self.take(unused, device)
        self._empty_ram += used.ram
        if device in self._empty_vram:
            self._empty_vram[device] += used.vram
