"""Which engine, and which rung on it, a job to be separated gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stemd.model import Need

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from stemd.model import Lack, Option
    from stemd.planner.facts import Candidate, Gate, Limits, Plan
    from stemd.planner.room import Room

GIVES_WAY = "gives way: another program uses the GPU"


@dataclass(frozen=True, slots=True)
class Verdict:
    """option: the rung to run on. reason: what it waits for (empty: only for its turn). impossible: for ever.

    folder: the one whose disk lacks room, if it is that.
    """

    option: Option | None = None
    reason: str = ""
    impossible: bool = False
    folder: Path | None = None


class Engines:
    """Finds rungs while a plan is made, and keeps what the plan says of all engines together."""

    def __init__(self, room: Room, limits: Limits, gate: Gate, now: float, before: Plan | None) -> None:
        self._room, self._gate, self._now = room, gate, now
        since = before.crowded if before else None
        self._since = now if since is None else since
        self._patient = before is not None and now - self._since < limits.patience
        self._claimed = False
        self.crowded: float | None = None
        self.drops: tuple[str, ...] = ()

    def find(self, candidate: Candidate) -> Verdict:
        """Find the largest rung that fits. A busy card is waited for; the CPU is for when no card has room."""
        need = candidate.need
        there = [_with_rest(option, need) for option in candidate.options if self._room.present(option.rung.device)]
        if not there:
            worn = not candidate.options
            lack = "memory ran out on every rung" if worn else "needs a GPU, none is there"
            return Verdict(reason=lack, impossible=worn)
        possible = [option for option in there if not self._room.lack_for_ever(option.need, option.rung.device)]
        if not possible:
            return Verdict(reason=_never(there, self._room), impossible=True)
        on_gpu = [option for option in possible if option.rung.on_gpu]
        on_cpu = [option for option in possible if not option.rung.on_gpu]
        if not on_gpu:
            return self._on(on_cpu)
        ours = [option for option in on_gpu if option.rung.device not in self._gate.yielded]
        if not ours:
            return Verdict(reason=GIVES_WAY)
        verdict = self._on(ours)
        if verdict.option or not verdict.reason or not on_cpu:
            return verdict
        self.crowded = self._since
        return verdict if self._patient else self._on(on_cpu)

    def _on(self, options: Sequence[Option]) -> Verdict:
        """Choose among options of one kind of device."""
        idle = [option for option in options if option.rung.device not in self._room.busy]
        fitting = self._best(self._fitting(idle))
        if fitting:
            return Verdict(fitting)
        lack = self._blocked(idle) if idle else None
        if lack is None or len(idle) < len(options):
            return Verdict()
        return Verdict(reason=str(lack), folder=lack.folder)

    def _fitting(self, options: Iterable[Option]) -> list[Option]:
        """The largest option that fits on each device."""
        first: dict[str, Option] = {}
        smallest = {option.rung.device: option for option in options} if self._room.blind else {}
        for option in options:
            device = option.rung.device
            if self._room.blind and option is not smallest[device]:
                continue
            if device not in first and self._room.lack(option.need, device) is None:
                first[device] = option
        return list(first.values())

    def _best(self, fitting: Sequence[Option]) -> Option | None:
        """The quickest where all speeds are known, else the largest rung on the emptiest card."""
        if not fitting:
            return None
        if all(option.seconds is not None for option in fitting):
            return min(fitting, key=lambda option: option.seconds or 0.0)
        return max(fitting, key=self._largeness)

    def _largeness(self, option: Option) -> tuple[float, float]:
        device = option.rung.device
        return option.rung.batch * option.rung.segment, self._room.free_vram(device) if option.rung.on_gpu else 0.0

    def _blocked(self, options: Sequence[Option]) -> Lack | None:
        """Note what may help a job that fits nowhere, and say what it lacks on its smallest rung."""
        self.drops = self._room.idle_engines
        smallest = min(options, key=lambda option: (option.need.vram, option.need.ram))
        lack = self._room.lack(smallest.need, smallest.rung.device)
        if not self._claimed and not self._room.lack_when_empty(smallest.need, smallest.rung.device):
            self._claimed = True
            self._room.claim(smallest.need, smallest.rung.device)
        return lack


def _with_rest(option: Option, need: Need) -> Option:
    """Add what the stage takes beside the engine."""
    full = Need(option.need.ram + need.ram, option.need.vram, need.disk)
    return type(option)(option.rung, full, option.seconds)


def _never(options: Sequence[Option], room: Room) -> str:
    """The smallest figure that the machine can never offer."""
    lacks = [lack for option in options if (lack := room.lack_for_ever(option.need, option.rung.device))]
    smallest = min(lacks, key=lambda lack: lack.needed)
    return f"{smallest} at most on this machine".replace(" free", "")
