"""The layers of HTDemucs's transformer, on a CPU. Same weights, same result, fewer passes.

Scales are part of the weights before them and activations part of the products; features stay innermost in memory,
where Demucs's norm over positions turns them outward for all that follows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from demucs.transformer import CrossTransformerEncoderLayer, LayerScale, MyGroupNorm, MyTransformerEncoderLayer
from torch import nn
from torch.nn import functional

from stemd.engine import attention
from stemd.engine.products import Linear

if TYPE_CHECKING:
    from torch import Tensor


class Layer(nn.Module):
    """Stands in for a layer that attends to itself, or for one that attends to the other branch."""

    def __init__(self, origin: Any) -> None:
        super().__init__()
        self.crosses = isinstance(origin, CrossTransformerEncoderLayer)
        attending = origin.cross_attn if self.crosses else origin.self_attn
        self.attention = attention.HeadByHead(attending, _scale(origin.gamma_1))
        self.norm_query = origin.norm1
        self.norm_key = origin.norm2 if self.crosses else nn.Identity()
        self.norm = origin.norm3 if self.crosses else origin.norm2
        scale = _scale(origin.gamma_2)
        self.widen = Linear(origin.linear1.weight, origin.linear1.bias, "gelu")
        self.narrow = Linear((origin.linear2.weight.t() * scale).t().contiguous(), origin.linear2.bias * scale)
        self.norm_out = NormOverAll(origin.norm_out) if origin.norm_out else nn.Identity()

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        """x: (batch, n, features), other: (batch, m, features) -> (batch, n, features)."""
        query = self.norm_query(x)
        x = x + self.attention(query, query if other is None else self.norm_key(other))
        x = x + self.narrow(self.widen(self.norm(x)))
        out: Tensor = self.norm_out(x)
        return out


class NormOverAll(nn.Module):
    """Stands in for a norm over all positions and features of a recording."""

    def __init__(self, origin: MyGroupNorm) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = origin.weight, origin.bias, origin.eps

    def forward(self, x: Tensor) -> Tensor:
        """Turn (batch, n, features) into the same shape and order."""
        return torch.addcmul(self.bias, functional.layer_norm(x, x.shape[1:], eps=self.eps), self.weight)


def replaceable(layer: nn.Module) -> bool:
    """Say whether `Layer` can stand in for a layer: dense attention, norms first, GELU."""
    if not isinstance(layer, (MyTransformerEncoderLayer, CrossTransformerEncoderLayer)):
        return False
    crosses = isinstance(layer, CrossTransformerEncoderLayer)
    attending: Any = layer.cross_attn if crosses else layer.self_attn
    norms = (layer.norm1, layer.norm2, *([layer.norm3] if crosses else []))
    return bool(
        not layer.sparse
        and attention.plain(attending)
        and layer.norm_first
        and layer.activation is functional.gelu
        and all(isinstance(norm, nn.LayerNorm) for norm in norms)
        and (layer.norm_out is None or layer.norm_out.num_groups == 1)
    )


def _scale(gamma: nn.Module) -> Tensor | float:
    return gamma.scale if isinstance(gamma, LayerScale) else 1.0
