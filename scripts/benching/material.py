"""Networks of the released sizes with random weights, as a local repository, and songs to separate."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import torch
from demucs.htdemucs import HTDemucs
from demucs.states import get_state, save_with_checksum

from stemd import wav

if TYPE_CHECKING:
    from pathlib import Path

RATE = 44100
SOURCES = ["drums", "bass", "other", "vocals"]
# The published htdemucs: 42 million parameters (facebookresearch/demucs, conf/config.yaml and its paper, section 3)
HTDEMUCS = {
    "channels": 48, "growth": 2, "nfft": 4096, "cac": True, "depth": 4, "dconv_mode": 3, "dconv_comp": 8,
    "bottom_channels": 512, "t_layers": 5, "t_heads": 8, "t_hidden_scale": 4, "segment": Fraction(39, 5),
}  # fmt: skip
MEMBERS = 4


def repository(folder: Path) -> Path:
    """Write `htdemucs_size` and `ft_size`, a bag of four with one member a stem. Returns folder."""
    if folder.exists():
        return folder
    folder.mkdir()
    for number in range(MEMBERS):
        torch.manual_seed(number)
        network = HTDemucs(sources=SOURCES, **HTDEMUCS)
        args, kwargs = network._init_args_kwargs  # noqa: SLF001 - where Demucs keeps them
        package = {"klass": HTDemucs, "args": args, "kwargs": kwargs, "training_args": {}}
        save_with_checksum({**package, "state": get_state(network, None, half=True)}, folder / f"member{number}.th")
    rows = [[1.0 if column == row else 0.0 for column in range(MEMBERS)] for row in range(MEMBERS)]
    (folder / "htdemucs_size.yaml").write_text("models: ['member0']\n", encoding="ascii")
    names = [f"member{number}" for number in range(MEMBERS)]
    (folder / "ft_size.yaml").write_text(f"models: {names}\nweights: {rows}\n", encoding="ascii")
    return folder


def song(folder: Path, seconds: float, seed: int = 0) -> Path:
    """Write a stereo recording that is nowhere silent."""
    path = folder / f"song-{seconds:g}-{seed}.wav"
    if path.exists():
        return path
    dice = np.random.default_rng(seed)
    with wav.Writer(path, RATE, 2) as writer:
        left = round(seconds * RATE)
        while left:
            count = min(left, 10 * RATE)
            writer.write((dice.standard_normal((2, count)) * 0.1).astype(np.float32))
            left -= count
    return path
