"""The demo network: what it is made of, its file in Demucs's format, its moving average."""

import hashlib
import io
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from demucs.htdemucs import HTDemucs
from torch import Tensor, nn

SOURCES = ("drums", "bass", "other", "vocals")
RATE = 44_100
SIGNATURE = "stemd_demo"
State = dict[str, Tensor]


@dataclass(frozen=True)
class Shape:
    """What decides a network's size: 2.8 million parameters as it stands, 5.7 MB in float16.

    The outermost layers give four bins of both sides for each of four stems at a time, 32 numbers, and are
    therefore wide rather than deep. The spectral branch estimates magnitudes and keeps the mixture's phase (`cac`
    off): complex spectra as channels learn more slowly, with a mean loss (vocals weighing four) of 1.12 over steps
    251 to 300 of two crops where magnitudes had 1.00. The phase is a limit too: true magnitudes would improve the
    vocals of the 26 sung held-out songs by 15.9 dB (median), and no more. Residual convolutions (`dconv`) let a bin
    see half a second to either side of it. Demucs's Wiener filter (`wiener_iters`) is left out, although it would
    make shares of the mixture out of magnitudes: it takes bins that are exactly zero for ones, and is loud where a
    recording is digitally silent.
    """

    channels: int = 24
    depth: int = 4
    bottom: int = 96
    layers: int = 2
    heads: int = 4
    nfft: int = 4096
    seconds: int = 4

    def settings(self) -> dict[str, Any]:
        """Return HTDemucs's keyword arguments; plain values only, since they are pickled into the file."""
        return {
            "sources": list(SOURCES),
            "channels": self.channels,
            "depth": self.depth,
            "nfft": self.nfft,
            "cac": False,
            "wiener_iters": -1,
            "end_iters": -1,
            "bottom_channels": self.bottom,
            "t_layers": self.layers,
            "t_heads": self.heads,
            "t_hidden_scale": 2,
            "dconv_mode": 3,
            "dconv_comp": 8,
            "dconv_init": 0.03,
            "samplerate": RATE,
            "segment": Fraction(self.seconds),
        }

    def build(self) -> HTDemucs:
        """Return a network with fresh weights."""
        network: HTDemucs = HTDemucs(**self.settings())
        return network


class Average:
    """The exponential moving average of a network's weights, quick at first (bias-free) and slow later."""

    def __init__(self, network: nn.Module, slowest: float) -> None:
        """Begin with the network's present weights; `slowest` is the decay reached in the end."""
        self.state: State = {name: value.detach().clone() for name, value in network.state_dict().items()}
        self.slowest = slowest

    @torch.no_grad()
    def follow(self, network: nn.Module, step: int) -> None:
        """Move towards the network's weights after a step."""
        decay = min(self.slowest, (1 + step) / (10 + step))
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                self.state[name].lerp_(value, 1 - decay)
            else:
                self.state[name].copy_(value)


def package(shape: Shape, state: State, card: dict[str, Any]) -> bytes:
    """Return a model file: what `demucs.states.load_model` reads, with float16 weights.

    It holds the class HTDemucs, Fraction, plain containers, plain values and tensors: nothing else,
    so that `torch.load(weights_only=True)` with these two classes allowed can read it.
    """
    half = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    content = {"klass": HTDemucs, "args": (), "kwargs": shape.settings(), "state": half, "training_args": card}
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def export(shape: Shape, state: State, card: dict[str, Any], folder: Path) -> Path:
    """Write the model file and its bag, `demo.yaml`, in place of the ones before; return the model's path."""
    folder.mkdir(parents=True, exist_ok=True)
    content = package(shape, state, card)
    path = folder / f"{SIGNATURE}-{hashlib.sha256(content).hexdigest()[:8]}.th"
    path.write_bytes(content)
    (folder / "demo.yaml").write_text(f"models: ['{SIGNATURE}']\n")
    for old in folder.glob(f"{SIGNATURE}-*.th"):
        if old != path:
            old.unlink()
    return path
