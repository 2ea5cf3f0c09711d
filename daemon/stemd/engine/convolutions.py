"""Convolutions over (bands, frames) whose features lie innermost in memory, which is how oneDNN computes them.

In torch's usual order every convolution begins and ends with a rearrangement that takes as long as a small one itself.
A convolution over time is one over frames with a single band.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from stemd.engine import products

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


class Convolution(nn.Module):
    """Stands in for a convolution and the activation behind it. keep: its output features that are wanted."""

    def __init__(self, origin: nn.Conv1d | nn.Conv2d, activation: str = "none", keep: slice = slice(None)) -> None:
        super().__init__()
        assert origin.bias is not None  # noqa: S101 - for the type checker
        self.weight = _innermost(origin.weight[keep])
        self.bias = nn.Parameter(origin.bias[keep], requires_grad=False)
        self.stride, self.dilation = _pair(origin.stride, 1), _pair(origin.dilation, 1)
        self.padding = _pair([int(side) for side in origin.padding], 0)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Turn (batch, features in, bands, frames) into (batch, features out, bands, frames)."""
        return products.convolution(
            x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.activation
        )


class Gated(nn.Module):
    """Stands in for a convolution and the GLU behind it; computes its halves apart, for GLU is slow in this order."""

    def __init__(self, origin: nn.Conv1d | nn.Conv2d) -> None:
        super().__init__()
        half = origin.out_channels // 2
        self.value = Convolution(origin, keep=slice(half))
        self.gate = Convolution(origin, "sigmoid", keep=slice(half, None))

    def forward(self, x: Tensor) -> Tensor:
        """Turn (batch, features in, bands, frames) into (batch, half the features out, bands, frames)."""
        value: Tensor = self.value(x)
        return value.mul_(self.gate(x))


class Transposed(nn.Module):
    """Stands in for a transposed convolution and the cut of `cut` frames or bands at both ends behind it."""

    def __init__(self, origin: nn.ConvTranspose1d | nn.ConvTranspose2d, cut: int) -> None:
        super().__init__()
        self.weight, self.bias = _innermost(origin.weight), origin.bias
        self.stride = _pair(origin.stride, 1)
        self.padding = (0, cut) if origin.weight.dim() == _OVER_TIME else (cut, 0)

    def forward(self, x: Tensor) -> Tensor:
        """Turn (batch, features in, bands, frames) into (batch, features out, bands, frames)."""
        return functional.conv_transpose2d(x, self.weight, self.bias, self.stride, self.padding)


_OVER_TIME = 3  # dimensions of the weight of a convolution over time


def _innermost(weight: Tensor) -> nn.Parameter:
    planar = weight.unsqueeze(2) if weight.dim() == _OVER_TIME else weight
    return nn.Parameter(planar.contiguous(memory_format=torch.channels_last), requires_grad=False)


def _pair(sizes: Sequence[int], first: int) -> tuple[int, ...]:
    return (first, *sizes) if len(sizes) == 1 else tuple(sizes)
