"""HTDemucs's encoders and decoders with features innermost in memory. Same weights, same result, fewer passes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from demucs.hdemucs import HDecLayer, HEncLayer
from torch import nn
from torch.nn import functional

from stemd.engine import residual
from stemd.engine.convolutions import Convolution, Gated, Transposed
from stemd.engine.products import Linear

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor


class Encoder(nn.Module):
    """Stands in for a demucs.hdemucs.HEncLayer, over bands or over time."""

    empty = False

    def __init__(self, origin: Any) -> None:
        super().__init__()
        self.over_time, self.stride = not origin.freq, origin.stride
        self.lower = Convolution(origin.conv, "gelu")
        self.residual = nn.Sequential(*map(residual.Residual, _residual_layers(origin)))
        self.rewrite = Gated(origin.rewrite)

    def forward(self, x: Tensor, _inject: None = None) -> Tensor:
        """x: (batch, features, bands, frames), or without bands."""
        if self.over_time:
            x = functional.pad(x.unsqueeze(2), (0, -x.shape[-1] % self.stride))
        y: Tensor = self.rewrite(self.residual(self.lower(x)))
        return y.squeeze(2) if self.over_time else y


class Decoder(nn.Module):
    """Stands in for a demucs.hdemucs.HDecLayer, over bands or over time. What the last one gives is float32."""

    empty = False

    def __init__(self, origin: Any) -> None:
        super().__init__()
        self.over_time, self.last = not origin.freq, origin.last
        self.rewrite = Gated(origin.rewrite)
        self.residual = nn.Sequential(*map(residual.Residual, _residual_layers(origin)))
        self.raised = Transposed(origin.conv_tr, origin.pad)

    def forward(self, x: Tensor, skip: Tensor, length: int) -> tuple[Tensor, None]:
        """x, skip: as in `Encoder`. length: frames wanted, where it is over time."""
        x = x + skip
        y = self.raised(self.residual(self.rewrite(x.unsqueeze(2) if self.over_time else x)))
        if self.over_time:
            y = y[..., :length].squeeze(2)
        return y.float() if self.last else functional.gelu(y), None


class Sampler(nn.Module):
    """Stands in for a convolution of one frame that changes the number of features."""

    def __init__(self, origin: nn.Conv1d) -> None:
        super().__init__()
        self.linear = Linear(origin.weight[..., 0], origin.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Turn (batch, features in, frames) into (batch, features out, frames), features innermost in memory."""
        y: Tensor = self.linear(x.transpose(1, 2))
        return y.transpose(1, 2)


def replaceable(layer: nn.Module) -> bool:
    """Say whether `Encoder` or `Decoder` can stand in for a layer: without norms, and as wide as it is padded."""
    if not isinstance(layer, (HEncLayer, HDecLayer)) or layer.empty or not layer.pad:
        return False
    return (
        layer.norm is False
        and layer.rewrite is not None
        and layer.kernel_size - 2 * layer.pad == layer.stride
        and all(map(residual.replaceable, _residual_layers(layer)))
    )


def _residual_layers(layer: Any) -> Iterable[Any]:
    """Return the dilated convolutions beside a layer; demucs's `dconv_mode` leaves them out on either side."""
    return () if layer.dconv is None else layer.dconv.layers
