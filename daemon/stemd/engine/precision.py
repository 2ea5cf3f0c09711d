"""Which precision "auto" means for a model on this machine: the fastest one that is measured to be close to float32.

The verdict comes from one fixed signal, not from the recording, so that the same recipe always takes the same
precision. It is kept in the cache folder, per member's digest, machine, versions and segment.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from stemd.engine.network import Network

if TYPE_CHECKING:
    from stemd.engine.models import Member

LIMIT_DB = -40.0  # error relative to the float32 output; above it the precision is not used
NAMES = {torch.float16: "float16", torch.bfloat16: "bfloat16", None: "float32"}
_DTYPES = {name: dtype for dtype, name in NAMES.items()}
_NATIVE = {"avx512_bf16", "amx_bf16"}  # without one of them a CPU emulates bfloat16, slower than float32


def choose(member: Member, segment: float, device: torch.device, folder: Path | None = None) -> torch.dtype | None:
    """Return the autocast dtype for a member run on segments of that many seconds; None means float32.

    folder: where verdicts are kept; default `cache_folder()`. Where it cannot be written they are measured anew each
    time.
    """
    candidates = _candidates(device)
    if not candidates:
        return None
    file = (folder or cache_folder()) / f"precision-{_key(member, segment, device)}.json"
    known = _read(file)
    if known is None:
        known = _verdict(member, segment, device, candidates)
        _store(file, known)
    return _DTYPES[known["precision"]]


def cache_folder() -> Path:
    """Return stemd's cache folder (XDG base directories)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stemd"


def machine(device: torch.device) -> str:
    """Name what the arithmetic depends on: the processor or card, and the version of torch."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} {torch.version.cuda} torch {torch.__version__}"
    model = next((line for line in _cpuinfo() if line.startswith("model name")), platform.machine())
    return (
        f"{model.partition(':')[2].strip() or model} {' '.join(sorted(_NATIVE & _flags()))} torch {torch.__version__}"
    )


def error_db(member: Member, segment: float, device: torch.device, dtype: torch.dtype) -> float:
    """Return the RMS of dtype's error relative to the RMS of the float32 output, in dB, over all sources."""
    network = Network(member.network, range(len(member.network.sources)), segment, device, dtype)
    signal = probe(network.segment, int(member.network.samplerate), int(member.network.audio_channels)).to(device)
    padded = torch.nn.functional.pad(signal, (0, network.window(network.segment) - network.segment))
    exact, quick = network(padded, exact=True), network(padded)
    error, level = (quick - exact).double().square().mean(), exact.double().square().mean()
    ratio = float(error / level) if float(level) else float(error)
    return 10 * math.log10(ratio) if 0 < ratio < math.inf else (-math.inf if ratio == 0 else math.inf)


def probe(frames: int, rate: int, channels: int) -> torch.Tensor:
    """Make the fixed signal, (1, channels, frames) float32 of unit variance: chord, strokes of noise, gliding voice."""
    time = torch.arange(frames, dtype=torch.float64) / rate
    noise = torch.randn(channels, frames, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    strokes = noise * torch.exp(-12 * (time % 0.5))
    chord = sum(torch.sin(2 * math.pi * pitch * time) for pitch in (55.0, 220.0, 277.18, 329.63))
    phase = 2 * math.pi * (180 * time - 8 * torch.cos(2 * math.pi * 0.7 * time))
    voice = sum(torch.sin(order * phase) / order for order in range(1, 20)) * (1 + torch.sin(2 * math.pi * 0.4 * time))
    mix = strokes + 0.4 * torch.as_tensor(chord) + 0.5 * torch.as_tensor(voice) + 0.01 * noise
    return ((mix - mix.mean()) / mix.std()).float()[None]


def _candidates(device: torch.device) -> list[torch.dtype]:
    if device.type == "cuda":
        return [torch.float16, torch.bfloat16]
    return [torch.bfloat16] if _NATIVE & _flags() else []


def _verdict(member: Member, segment: float, device: torch.device, candidates: list[torch.dtype]) -> dict[str, str]:
    measured = {}
    for dtype in candidates:
        measured[NAMES[dtype]] = f"{error_db(member, segment, device, dtype):.1f} dB"
        if float(measured[NAMES[dtype]].split()[0]) <= LIMIT_DB:
            return {"precision": NAMES[dtype], **measured, "machine": machine(device)}
    return {"precision": NAMES[None], **measured, "machine": machine(device)}


def _key(member: Member, segment: float, device: torch.device) -> str:
    text = json.dumps([member.sha256, float(segment), machine(device)])
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _read(file: Path) -> dict[str, str] | None:
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return known if isinstance(known, dict) and known.get("precision") in _DTYPES else None


def _store(file: Path, verdict: dict[str, str]) -> None:
    """Write beside and rename, so that nobody reads half of it; a cache that cannot be written is no error."""
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(json.dumps(verdict) + "\n", encoding="utf-8")
        beside.replace(file)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink()


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _flags() -> set[str]:
    return set(next((line.partition(":")[2] for line in _cpuinfo() if line.startswith("flags")), "").split())
