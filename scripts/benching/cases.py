"""The cases. Each lets both sides run in turns, and returns every run, the medians and the ratios to the goals."""

from __future__ import annotations

import os
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benching import contestants, machine, material

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    Run = Callable[[], Mapping[str, float]]

GOALS = {
    ("a", "stemd auto"): 0.45,
    ("a", "stemd float32"): 0.75,
    ("b", "stemd auto"): 0.12,
    ("c", "stemd auto, warm"): 0.40,
}


@dataclass(frozen=True, slots=True)
class Bench:
    """Where everything lies, and how much of it is done. quick: shorter songs."""

    folder: Path
    quick: bool
    repeats: int

    @property
    def models(self) -> Path:
        """The repository of random networks."""
        return material.repository(self.folder / "models")

    @property
    def out(self) -> Path:
        """Where stems go, and from where they vanish after every run."""
        return self.folder / "out"

    def song(self, seconds: float, seed: int = 0) -> Path:
        """A recording; quick: an eighth of the length."""
        return material.song(self.folder, seconds / 8 if self.quick else seconds, seed)


def in_turns(case: str, repeats: int, sides: Mapping[str, Run]) -> dict[str, Any]:
    """Run every side, again and again in turns. The first is what the others are compared with."""
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, run in sides.items():
            load = os.getloadavg()[0]
            runs[name].append({**run(), "load_before": load})
    return {"runs": runs, "seconds": medians(runs), "ratios": ratios(case, runs)}


def medians(runs: Mapping[str, list[dict[str, float]]]) -> dict[str, float]:
    """Return each side's median wall time, seconds."""
    return {name: statistics.median(run["seconds"] for run in each) for name, each in runs.items()}


def ratios(case: str, runs: Mapping[str, list[dict[str, float]]]) -> dict[str, dict[str, float | None]]:
    """Return the median over the turns of side / first side, which a load that both feel leaves alone."""
    first, *others = runs
    turns = {
        name: [own["seconds"] / other["seconds"] for own, other in zip(runs[name], runs[first], strict=True)]
        for name in others
    }
    return {name: {"ratio": statistics.median(each), "goal": GOALS.get((case, name))} for name, each in turns.items()}


def a(bench: Bench) -> dict[str, Any]:
    """One 4-minute song, every stem."""
    song, models, out = bench.song(240), bench.models, bench.out
    name = "htdemucs_size"
    contestants.cold(models, name, bench.song(8), out)  # so that precision is measured before, as on any later day
    sides: dict[str, Run] = {
        "stock": lambda: contestants.stock(models, name, [song], out),
        "stemd auto": lambda: contestants.cold(models, name, song, out),
        "stemd float32": lambda: contestants.cold(models, name, song, out, precision="float32"),
    }
    return in_turns("a", bench.repeats, sides)


def b(bench: Bench) -> dict[str, Any]:
    """A bag of four with one member a stem: vocals and no_vocals."""
    song, models, out = bench.song(240), bench.models, bench.out
    contestants.cold(models, "ft_size", bench.song(8), out, stems=["vocals", "no_vocals"])
    sides: dict[str, Run] = {
        "stock": lambda: contestants.stock(models, "ft_size", [song], out, two=True),
        "stemd auto": lambda: contestants.cold(models, "ft_size", song, out, stems=["vocals", "no_vocals"]),
    }
    return in_turns("b", bench.repeats, sides)


def c(bench: Bench) -> dict[str, Any]:
    """Twelve 30-second songs: one stock call, and one engine that is warm."""
    songs = [bench.song(30, seed) for seed in range(12)]
    engine = contestants.Engine(bench.models)
    engine.separate("htdemucs_size", songs[0], bench.out)

    def warm() -> dict[str, float]:
        begun = time.monotonic()
        for song in songs:
            engine.separate("htdemucs_size", song, bench.out)
        return {"seconds": time.monotonic() - begun}

    sides: dict[str, Run] = {
        "stock": lambda: contestants.stock(bench.models, "htdemucs_size", songs, bench.out),
        "stemd auto, warm": warm,
    }
    try:
        return in_turns("c", bench.repeats, sides)
    finally:
        engine.close()


def d(bench: Bench) -> dict[str, Any]:
    """Highest memory over 4, 20 and 60 minutes; stock over the first only, for it takes hours and gigabytes."""
    found: dict[str, dict[str, float]] = {}
    for minutes in (4, 20, 60):
        song = bench.song(minutes * 60)
        engine = contestants.Engine(bench.models)
        done = engine.separate("htdemucs_size", song, bench.out, shifts=0)
        engine.close()
        found[f"stemd, {minutes} min"] = {"seconds": done["seconds"], "peak_ram_bytes": done["peak_ram_bytes"]}
        if minutes == 4:
            found["stock, 4 min"] = contestants.stock(bench.models, "htdemucs_size", [song], bench.out, shifts=0)
        song.unlink()
    return {"memory": found}


def e(bench: Bench) -> dict[str, Any]:
    """What float32 costs: the same song through one warm engine in both precisions."""
    song, engine = bench.song(60), contestants.Engine(bench.models)
    engine.separate("htdemucs_size", song, bench.out)
    sides: dict[str, Run] = {
        "auto": lambda: engine.separate("htdemucs_size", song, bench.out),
        "float32": lambda: engine.separate("htdemucs_size", song, bench.out, precision="float32"),
    }
    try:
        return in_turns("e", bench.repeats, sides)
    finally:
        engine.close()


def gpu(bench: Bench) -> dict[str, Any]:
    """A song on a card: stock, and a warm engine with batches; and what part of the card's peak that is."""
    song, engine = bench.song(1200), contestants.Engine(bench.models)
    options = {"device": "cuda", "batch": 16}
    engine.separate("htdemucs_size", bench.song(60), bench.out, **options)
    sides: dict[str, Run] = {
        "stock": lambda: contestants.stock(bench.models, "htdemucs_size", [song], bench.out, device="cuda"),
        "stemd auto, warm": lambda: engine.separate("htdemucs_size", song, bench.out, **options),
    }
    try:
        result = in_turns("gpu", bench.repeats, sides)
    finally:
        engine.close()
    seconds = 150 if bench.quick else 1200
    result["x_realtime"] = {name: seconds / median for name, median in result["seconds"].items()}
    result["card_peak_tflops"] = machine.card_peak_tflops()
    segments = (seconds + 0.25) / 5.85
    result["share_of_peak"] = {
        name: segments * FLOP_A_SEGMENT / median / result["card_peak_tflops"] / 1e12
        for name, median in result["seconds"].items()
    }
    return result


FLOP_A_SEGMENT = 3.35e11
"""Of htdemucs, one forward pass: 2.50e11 by torch.utils.flop_counter, which leaves out attention, and that: 4 n m d for
every pair of n and m positions, 2688 in frequency and 1344 in time, d = 512."""
CASES: dict[str, Callable[[Bench], dict[str, Any]]] = {"a": a, "b": b, "c": c, "d": d, "e": e, "gpu": gpu}
