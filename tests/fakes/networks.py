"""Small random networks of every family that Demucs has, alone and in bags, in memory and as a local repository."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from demucs.demucs import Demucs
from demucs.hdemucs import HDemucs
from demucs.htdemucs import HTDemucs
from demucs.states import get_state, save_with_checksum

from stemd.engine.models import Member, Model

SOURCES = ("drums", "vocals", "other")
RATE = 8000


def htdemucs(segment: Fraction | float = Fraction(1, 2), channels: int = 2, seed: int = 0, **more: Any) -> HTDemucs:
    torch.manual_seed(seed)
    shape = {"channels": 4, "nfft": 256, "depth": 2, "t_layers": 2, "t_heads": 2, "bottom_channels": 8}
    shape |= {"dconv_mode": 3, "dconv_comp": 2, "samplerate": RATE, **more}
    return HTDemucs(sources=list(SOURCES), audio_channels=channels, segment=segment, **shape).eval()


def hdemucs(segment: float = 0.7, channels: int = 2, seed: int = 0, **more: Any) -> HDemucs:
    torch.manual_seed(seed)
    shape = {"channels": 8, "nfft": 1024, "depth": 5, "samplerate": RATE, **more}
    return HDemucs(sources=list(SOURCES), audio_channels=channels, segment=segment, **shape).eval()


def demucs(segment: float = 0.6, channels: int = 2, seed: int = 0, **more: Any) -> Demucs:
    torch.manual_seed(seed)
    shape = {"channels": 8, "depth": 3, "samplerate": RATE, **more}
    return Demucs(sources=list(SOURCES), audio_channels=channels, segment=segment, **shape).eval()


def model(*networks: Any, weights: list[list[float]] | None = None) -> Model:
    """A bag in memory, as the engine has it after loading."""
    rows = weights or [[1.0] * len(SOURCES) for _ in networks]
    members = tuple(Member(f"m{i}", f"{i:064x}", network, float(network.segment)) for i, network in enumerate(networks))
    return Model("test", "0" * 64, members, tuple(tuple(row) for row in rows))


def save(network: Any, folder: Path, signature: str) -> Path:
    """Save a network as Demucs does: <signature>-<checksum>.th."""
    folder.mkdir(parents=True, exist_ok=True)
    args, kwargs = network._init_args_kwargs
    package = {"klass": type(network), "args": args, "kwargs": kwargs, "training_args": {"dset": {"samplerate": RATE}}}
    save_with_checksum({**package, "state": get_state(network, None, half=False)}, folder / f"{signature}.th")
    return next(folder.glob(f"{signature}-*.th"))
