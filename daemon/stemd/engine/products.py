"""Linear layers and convolutions on a CPU, by oneDNN, with the activation behind them in the same pass.

torch gives products in float32 to MKL, which leaves AVX-512 unused on processors that are not Intel's: one linear layer
of htdemucs took 55 ms on an EPYC, by oneDNN 25. The operators are those that torch's own compiler calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


def available() -> bool:
    """Say whether this build of torch has the operators."""
    names = ("_linear_pointwise", "_convolution_pointwise")
    return torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in names)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, activation: str = "none") -> Tensor:
    """Return activation(x @ weight.T + bias), in weight's precision.

    x: (..., n); weight: (m, n); bias: (m,) -> (..., m). activation: "none", "gelu" or "sigmoid".
    """
    result: Tensor = torch.ops.mkldnn._linear_pointwise(  # noqa: SLF001 - there is no public name
        x.to(weight.dtype), weight, bias, activation, [], "none"
    )
    return result


def convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    activation: str = "none",
) -> Tensor:
    """Return activation(conv2d(x)), in weight's precision and memory format. activation: as `linear`."""
    result: Tensor = torch.ops.mkldnn._convolution_pointwise(  # noqa: SLF001 - as above
        x.to(weight.dtype), weight, bias, padding, stride, dilation, 1, activation, [], "none"
    )
    return result


class Linear(nn.Module):
    """A linear layer by `linear`. weight, bias, activation: as there."""

    def __init__(self, weight: Tensor, bias: Tensor | None, activation: str = "none") -> None:
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Turn (..., n) into (..., m)."""
        return linear(x, self.weight, self.bias, self.activation)
