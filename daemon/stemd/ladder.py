"""The ladder: every way to run a network on this machine, what each needs, and where to go when memory ran out.

Batch halved to 1 > segment halved to a quarter > CPU > CPU with its segment halved > a person decides. Pure.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from stemd.model import Fall, Lack, Need, Option, Rung

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from stemd.model import Headroom, Measurement, Use

MIB = 1 << 20
MARGIN = 1.15
"""A learned peak is asked for with this much on top."""
GROWN = 1.25
GROWN_BYTES = 256 * MIB
"""Headroom grew clearly: a quarter more than when memory ran out, and at least so many bytes."""
TRIES = 2
"""However much headroom grows and shrinks, a job meets the same rung no more than twice: the ladder ends."""
REMEMBERED = 6 * 3600.0
"""Seconds for which one job's fall keeps later jobs from the same rung while there is no clearly more room."""
LARGEST_BATCH = 8
SMALLEST = 4
"""The segment is halved down to a quarter of the training length."""


@dataclass(frozen=True, slots=True)
class Network:
    """What decides about memory before anything was measured, and about time.

    family: htdemucs | hdemucs | demucs. parameters: of the largest member. members: loaded at once.
    passes: how often the separation computes each second. lanes: bytes that its lanes hold for each second of segment.
    """

    family: str = "htdemucs"
    parameters: int = 42_000_000
    members: int = 1
    passes: float = 1.0
    lanes: float = 0.0


@dataclass(frozen=True, slots=True)
class Cost:
    """MiB of activations for each second of segment, of a network with 42 M parameters."""

    cpu: float
    gpu: float


# Measured on the CPU with torch 2.13 (peak resident memory over segments of 1 to 22 s): HTDemucs of 26.9 M parameters
# 144 MiB/s and of 1.8 M 71 MiB/s, HDemucs of 83.6 M 122 MiB/s, Demucs v2 of 134 M 100 MiB/s. That fits a fourth root of
# the parameters; the figures here are some tenths above. On a card cuDNN's workspace and fragmentation come on top.
COSTS = {"htdemucs": Cost(170, 220), "hdemucs": Cost(115, 150), "demucs": Cost(85, 110)}
CPU_BASE, GPU_HOST_BASE = 340 * MIB, 2048 * MIB
"""RAM of a process with torch, without and with a CUDA context."""
CONTEXT = 640 * MIB
"""What a CUDA context takes of the card: the driver counts it, torch's allocator (the learned peak) does not."""


def devices(setting: str, headroom: Headroom, unusable: Collection[str] = ()) -> tuple[str, ...]:
    """Tell the devices that `[resources] device` allows: auto, cpu, cuda (every card, never the CPU) or cuda:N.

    unusable: cards that the driver lists and the engine cannot use (torch built without CUDA, a driver too old).
    """
    cards = tuple(gpu.device for gpu in headroom.gpus if gpu.device not in unusable)
    if setting == "auto":
        return (*cards, "cpu")
    return (cards or ("cuda:0",)) if setting == "cuda" else (setting,)


def rungs(devices: Iterable[str], precision: str, segment: float, training: float) -> tuple[Rung, ...]:
    """List all rungs, largest first; cards before the CPU, equal rungs of several cards side by side.

    segment: seconds to begin with. training: the network's training length, seconds; `segment` is at most that.
    """
    cards = [device for device in devices if device != "cpu"]
    lengths = _halvings(segment, min(segment, training / SMALLEST))
    steps = [(batch, segment) for batch in map(int, _halvings(LARGEST_BATCH, 1))]
    steps += [(1, length) for length in lengths[1:]]
    on_cards = [Rung(card, precision, batch, length) for batch, length in steps for card in cards]
    return (*on_cards, *(Rung("cpu", precision, 1, length) for length in lengths if "cpu" in devices))


def options(
    rungs: Sequence[Rung],
    network: Network,
    measurements: Sequence[Measurement],
    falls: Sequence[Fall] = (),
    others: Sequence[Fall] = (),
    *,
    now: float = 0.0,
    audio: float = 0.0,
) -> tuple[Option, ...]:
    """Say what each rung needs. Rungs on which the job fell too often are left out; none left: hold it.

    measurements: of this model, each of one pass. falls: the job's own. others: of earlier jobs with this model.
    now: Unix time. audio: seconds to separate.
    A rung on which memory ran out needs clearly more than there was, and so does every larger one.
    """
    if falls and below(rungs, falls) is None:
        return ()
    remembered = [*falls, *(fall for fall in others if _telling(fall, network, measurements, now))]
    tries = Counter(fall.rung for fall in falls)
    worn = [rung for rung, count in tries.items() if count >= TRIES]
    return tuple(
        Option(
            rung,
            _raised(need(rung, network, measurements), rung, remembered),
            _seconds(rung, network, measurements, audio),
        )
        for rung in rungs
        if not any(_covers(rung, tried) for tried in worn)
    )


def fallen(
    rung: Rung, need: Need, headroom: Headroom, own: Use, now: float, *, model: str = "", killed: bool = False
) -> Fall:
    """Put down that memory ran out. need: what was promised. own: what the engine held at the last measurement.

    killed: by the kernel, which cares for RAM only. The room is at least what was promised, since it was there.
    """
    gpu = headroom.gpu(rung.device)
    if rung.on_gpu and not killed:
        return Fall(rung, "vram", max((gpu.free if gpu else 0) + own.vram, need.vram), now, model)
    return Fall(rung, "ram", max((headroom.ram or 0) + own.ram, need.ram), now, model)


def below(rungs: Sequence[Rung], falls: Sequence[Fall]) -> Rung | None:
    """Tell the largest rung that none of the job's falls speaks against; None: there is none, hold the job."""
    return next((rung for rung in rungs if not any(_covers(rung, fall.rung) for fall in falls)), None)


def missing(falls: Sequence[Fall]) -> str:
    """Say for a person what the job lacked on the lowest rung it tried: "needs 2.2 GiB RAM, 1.7 free"."""
    last = min(falls, key=lambda fall: (fall.rung.on_gpu, _size(fall.rung)))
    return str(Lack("RAM" if last.kind == "ram" else "GPU", _clearly_more(last.room), last.room))


def need(rung: Rung, network: Network, measurements: Sequence[Measurement] = ()) -> Need:
    """Memory of one rung: the learned peak with the lanes x 1.15, from this device or one of its kind; else a formula.

    measurements: of this model, each of one pass.
    """
    same = [measured for measured in measurements if _same(measured, rung)]
    same = [measured for measured in same if measured.device == rung.device] or same
    if not same:
        return first_need(rung, network)
    ram = max(measured.peak_ram for measured in same) + (0 if rung.on_gpu else network.lanes * rung.segment)
    vram = max(measured.peak_vram for measured in same) + (network.lanes * rung.segment if rung.on_gpu else 0)
    return Need(round(ram * MARGIN), round(vram * MARGIN) + CONTEXT if rung.on_gpu else 0)


def first_need(rung: Rung, network: Network) -> Need:
    """Memory by formula: a base, the weights, the lanes, and activations that grow with segment x batch x width.

    Activations grow with the fourth root of the parameters (see `COSTS`).
    """
    weights = 4 * network.parameters * network.members
    cost = COSTS.get(network.family, COSTS["htdemucs"])
    width = (network.parameters / 42_000_000) ** 0.25
    activations = rung.batch * rung.segment * width * MIB * (cost.gpu if rung.on_gpu else cost.cpu)
    lanes = rung.segment * network.lanes
    if rung.on_gpu:
        return Need(GPU_HOST_BASE + weights, round(CONTEXT + weights + lanes + activations))
    return Need(round(CPU_BASE + weights + lanes + activations))


def time_limit(option: Option, network: Network, audio: float) -> float:
    """Seconds after which a run is given up: four times what was measured, else a generous guess."""
    if option.seconds is not None:
        return 4 * option.seconds + 120
    return (20 if option.rung.on_gpu else 200) * network.passes * audio + 600


def _halvings(start: float, end: float) -> list[float]:
    return list(takewhile(lambda value: value >= end, (start / 2**step for step in range(64))))


def _size(rung: Rung) -> float:
    return rung.batch * rung.segment


def _covers(rung: Rung, fallen: Rung) -> bool:
    """Whether what `fallen` did not have, `rung` lacks too: the same kind of device, as large or larger."""
    return rung.on_gpu == fallen.on_gpu and _size(rung) >= _size(fallen)


def _telling(fall: Fall, network: Network, measurements: Sequence[Measurement], now: float) -> bool:
    """Whether an earlier job's fall says something about the rung.

    It does for some hours, unless the rung is known to need less than there was: then another program took the rest.
    """
    if now - fall.at >= REMEMBERED:
        return False
    known = any(_same(measured, fall.rung) for measured in measurements)
    asked = need(fall.rung, network, measurements)
    return not known or (asked.ram if fall.kind == "ram" else asked.vram) > fall.room


def _clearly_more(room: int) -> int:
    return max(round(room * GROWN), room + GROWN_BYTES)


def _raised(need: Need, rung: Rung, falls: Iterable[Fall]) -> Need:
    """Raise a need to what past falls teach."""
    against = [fall for fall in falls if _covers(rung, fall.rung)]
    ram = max((_clearly_more(fall.room) for fall in against if fall.kind == "ram"), default=0)
    vram = max((_clearly_more(fall.room) for fall in against if fall.kind == "vram"), default=0)
    return Need(max(need.ram, ram), max(need.vram, vram) if rung.on_gpu else 0)


def _same(measured: Measurement, rung: Rung) -> bool:
    return (
        (measured.device == "cpu") == (rung.device == "cpu")
        and measured.precision == rung.precision
        and measured.batch == rung.batch
        and abs(measured.segment - rung.segment) < 0.01  # noqa: PLR2004 - seconds; a float that went through SQLite
    )


def _seconds(rung: Rung, network: Network, measurements: Iterable[Measurement], audio: float) -> float | None:
    costs = [m.seconds_per_audio_second for m in measurements if m.device == rung.device and _same(m, rung)]
    return max(costs) * network.passes * audio if costs else None
