"""One separation under way: segments in, stems out, in the order of time. Holds about one segment a stem and lane."""

from __future__ import annotations

import heapq
import itertools
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from stemd.engine import memory
from stemd.engine import source as sources
from stemd.engine.stream import OverlapAdd
from stemd.errors import StemdError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from torch import Tensor

    from stemd.engine.network import Network
    from stemd.engine.stems import Stem
    from stemd.engine.stream import Chunk, Lane
    from stemd.wav import Block

    Write = Callable[[Mapping[str, Block]], None]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a separation is. fraction: 0..1. eta, seconds: still needed, and spent. audio_seconds: written so far."""

    fraction: float
    eta: float
    seconds: float
    audio_seconds: float


@dataclass(frozen=True, slots=True)
class Task:
    """What to compute. computed: the sources' indices; work: member -> those it must produce; weights: the bag's.

    skip_silence: segments of digital silence are not computed and stay silent.
    """

    source: sources.Source
    level: sources.Level
    networks: Mapping[int, Network]
    lanes: Sequence[Lane]
    work: Mapping[int, Sequence[int]]
    computed: Sequence[int]
    weights: Sequence[Sequence[float]]
    stems: Sequence[Stem]
    sample_rate: int
    device: torch.device
    batch: int
    skip_silence: bool


@dataclass(slots=True)
class Flight:
    """A batch that the device may still be computing. output: (batch, sources, channels, window), None for silence."""

    chunks: Sequence[Chunk]
    silent: Sequence[bool]
    windows: Tensor | None
    output: Tensor | None
    finite: Tensor | None


@dataclass(slots=True)
class Separation:
    """Runs a task. reruns, silent: how many segments ran again in float32, and were not computed for being silent."""

    task: Task
    write: Write
    reruns: int = 0
    silent: int = 0
    _adders: list[OverlapAdd] = field(default_factory=list)
    _frontier: list[int] = field(default_factory=list)
    _written: int = 0

    def run(self, on_progress: Callable[[Progress], None], should_stop: Callable[[], bool]) -> None:
        """Compute everything and write it. Errors: StemdError "cancelled" within one batch of should_stop."""
        task = self.task
        self._adders = [
            OverlapAdd(len(task.work[lane.member]), task.source.channels, lane.segment, task.device)
            for lane in task.lanes
        ]
        self._frontier = [min(lane.start, 0) for lane in task.lanes]
        total = sum(sum(1 for _ in lane.chunks(task.source.frames)) for lane in task.lanes)
        done, begun, flying = 0, time.monotonic(), None
        tide = memory.Tide()
        for chunks in itertools.chain(batches(task.lanes, task.source.frames, task.batch), [None]):
            if should_stop():
                raise StemdError("cancelled", "the separation was cancelled", "submit the recording again to continue")
            launched = self._launch(chunks) if chunks else None
            ahead = task.device.type == "cuda" and chunks is not None  # a GPU computes the next while this one is added
            for flight in (flying, None if ahead else launched):
                if flight is None:
                    continue
                self._land(flight)
                tide.after_segment()
                done += len(flight.chunks)
                on_progress(self._progress(done / total, time.monotonic() - begun))
            flying = launched if ahead else None

    def _progress(self, fraction: float, seconds: float) -> Progress:
        return Progress(fraction, seconds * (1 - fraction) / fraction, seconds, self._written / self.task.sample_rate)

    def _launch(self, chunks: Sequence[Chunk]) -> Flight:
        """Read the windows and start the network on those that are not silent."""
        task = self.task
        blocks = [sources.window(task.source, chunk.window_start, chunk.window) for chunk in chunks]
        silent = [task.skip_silence and not block.any() for block in blocks]
        loud = [
            self._normalised(chunk, block)
            for chunk, block, quiet in zip(chunks, blocks, silent, strict=True)
            if not quiet
        ]
        if not loud:
            return Flight(chunks, silent, None, None, None)
        windows = _upload(loud, task.device)
        output = task.networks[chunks[0].lane.member](windows)
        return Flight(chunks, silent, windows, output, torch.isfinite(output).flatten(1).all(1))

    def _normalised(self, chunk: Chunk, block: Block) -> Tensor:
        """Normalise what lies inside the recording; around it zeros stay zeros, as in demucs.apply."""
        first = max(0, -chunk.window_start)
        last = min(chunk.window, self.task.source.frames - chunk.window_start)
        inside = torch.from_numpy(block)[:, first:last]
        inside.sub_(self.task.level.mean).div_(self.task.level.scale)
        return torch.from_numpy(block)

    def _land(self, flight: Flight) -> None:
        """Add a batch's outputs and write what is final."""
        outputs = iter(self._finite(flight))
        level = self.task.level
        for chunk, quiet in zip(flight.chunks, flight.silent, strict=True):
            if quiet:
                self.silent += 1
                self._add(chunk, None)
            else:
                self._add(chunk, next(outputs)[..., chunk.trim] * level.scale + level.mean)
        self._emit(min(self._frontier))

    def _finite(self, flight: Flight) -> Sequence[Tensor]:
        """Return the outputs; what holds a not-a-number or an infinity is computed once more in float32."""
        if flight.output is None or flight.windows is None or flight.finite is None:
            return []
        outputs = list(flight.output)
        loud = [chunk for chunk, quiet in zip(flight.chunks, flight.silent, strict=True) if not quiet]
        for index, fine in enumerate(flight.finite.tolist()):
            if not fine:
                self.reruns += 1
                network = self.task.networks[flight.chunks[0].lane.member]
                outputs[index] = network(flight.windows[index : index + 1], exact=True)[0]
                if not outputs[index].isfinite().all():
                    raise self._not_a_number(loud[index])
        return outputs

    def _not_a_number(self, chunk: Chunk) -> StemdError:
        second = max(0, chunk.start) / self.task.sample_rate
        return StemdError(
            "not-a-number",
            f"the network gives no numbers at {second:.1f} s, in float32 too",
            "look for invalid samples there; if there are none, check the model: stemd models verify",
        )

    def _add(self, chunk: Chunk, output: Tensor | None) -> None:
        index = chunk.lane.index
        self._adders[index].add(chunk, output)
        after = chunk.start + chunk.lane.stride
        self._frontier[index] = min(self.task.source.frames, after)

    def _emit(self, stop: int) -> None:
        """Combine the lanes up to frame stop and write the stems."""
        start = self._written
        if stop <= start:
            return
        estimates = self._combine(stop).cpu().numpy()
        parts = dict(zip(self.task.computed, estimates, strict=True))
        mix = None
        blocks: dict[str, Block] = {}
        for stem in self.task.stems:
            block = sum_of([parts[part] for part in stem.parts])
            if stem.from_mix:
                mix = self.task.source.read(start, stop) if mix is None else mix
                block = mix - block
            blocks[stem.name] = block
        self.write(blocks)
        self._written = stop

    def _combine(self, stop: int) -> Tensor:
        """Average the lanes of each member and the members by the bag's weights: (sources, channels, n)."""
        task = self.task
        shape = len(task.computed), task.source.channels, stop - self._written
        estimates = torch.zeros(shape, device=task.device)
        totals = [sum(task.weights[member][source] for member in task.work) for source in task.computed]
        for member, produced in task.work.items():
            mean = self._mean(member, stop)
            for row, source in enumerate(produced):
                estimates[task.computed.index(source)] += mean[row] * task.weights[member][source]
        for row, weight in enumerate(totals):
            estimates[row] /= weight
        return estimates

    def _mean(self, member: int, stop: int) -> Tensor:
        """Average a member's lanes, one at a time: all at once they would be as much again as the lanes hold."""
        first, *others = [self._adders[lane.index] for lane in self.task.lanes if lane.member == member]
        total = first.take(stop)
        for adder in others:
            total += adder.take(stop)
        return total.div_(1 + len(others))


def batches(lanes: Sequence[Lane], frames: int, size: int) -> Iterator[list[Chunk]]:
    """Yield every segment of every lane in batches for one network, about in the order of time.

    A batch holds up to size segments of one member with windows of one length.
    """
    queues = {
        member: heapq.merge(*(lane.chunks(frames) for lane in lanes if lane.member == member), key=lambda c: c.start)
        for member in dict.fromkeys(lane.member for lane in lanes)
    }
    heads = {member: chunk for member, queue in queues.items() if (chunk := next(queue, None))}
    while heads:
        member = min(heads, key=lambda member: heads[member].start)
        batch: list[Chunk] = []
        while (head := heads.get(member)) and len(batch) < size and (not batch or head.window == batch[0].window):
            batch.append(head)
            following = next(queues[member], None)
            if following is None:
                del heads[member]
            else:
                heads[member] = following
        yield batch


def sum_of(blocks: Sequence[Block]) -> Block:
    """Add blocks in their order."""
    total = blocks[0]
    for block in blocks[1:]:
        total = total + block
    return total


def _upload(blocks: Sequence[Tensor], device: torch.device) -> Tensor:
    """Bring windows to the device: (batch, channels, window). To a GPU from pinned memory, without waiting."""
    stacked = torch.stack(list(blocks))
    if device.type != "cuda":
        return stacked
    return stacked.pin_memory().to(device, non_blocking=True)
