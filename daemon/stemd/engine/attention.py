"""Attention as Demucs's transformer asks for it, by the quickest way on each device. Same weights, same result.

torch.nn.MultiheadAttention takes a path of its own in inference that holds all heads' scores at once: for htdemucs 230
MB in float32, through memory twice. On a GPU the fused kernel is quicker. On a CPU that kernel multiplies by MKL in
float32, whatever the precision; there, one head at a time keeps the scores in the cache and multiplies by oneDNN
(measured on a core of an EPYC, 2688 x 2688 positions, 8 heads: 172 ms fused, 110 in float32, 65 in bfloat16).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeGuard

import torch
from torch import nn
from torch.nn import functional

from stemd.engine.products import Linear, linear

if TYPE_CHECKING:
    from torch import Tensor

_ROWS = 1400  # positions at a time, at most: 1344 x 2688 scores in bfloat16 are 7 MB, which stays in the cache


class FusedAttention(nn.Module):
    """Stands in for a torch.nn.MultiheadAttention with `batch_first` and no mask. Shares its parameters."""

    def __init__(self, origin: nn.MultiheadAttention) -> None:
        super().__init__()
        self.heads = origin.num_heads
        self.in_proj_weight = origin.in_proj_weight
        self.in_proj_bias = origin.in_proj_bias
        self.out_proj = origin.out_proj

    def forward(self, query: Tensor, key: Tensor, _value: Tensor, **_options: object) -> tuple[Tensor, None]:
        """Attend: query (batch, n, features), key (batch, m, features) -> (batch, n, features).

        Demucs gives the key as the value, and in inference no masks; the options are those of torch's module.
        """
        q, k, v = (self._split(part) for part in self._project(query, key))
        attended = functional.scaled_dot_product_attention(q, k, v)
        joined: Tensor = self.out_proj(attended.transpose(1, 2).flatten(2))
        return joined, None

    def _project(self, query: Tensor, key: Tensor) -> tuple[Tensor, ...]:
        weight, bias = self.in_proj_weight, self.in_proj_bias
        if query is key:
            return functional.linear(query, weight, bias).chunk(3, dim=-1)
        width = query.shape[-1]
        first = functional.linear(query, weight[:width], bias[:width])
        return first, *functional.linear(key, weight[width:], bias[width:]).chunk(2, dim=-1)

    def _split(self, part: Tensor) -> Tensor:
        """Give every head its features: (batch, n, features) -> (batch, heads, n, features / heads)."""
        batch, positions, _ = part.shape
        return part.reshape(batch, positions, self.heads, -1).transpose(1, 2)


class HeadByHead(nn.Module):
    """Stands in for a torch.nn.MultiheadAttention like that on a CPU, and for a scale of its output: (features,).

    The values' bias goes through to the output, for the weights of a position's values sum to one.
    """

    def __init__(self, origin: nn.MultiheadAttention, scale: Tensor | float = 1.0) -> None:
        super().__init__()
        self.heads = origin.num_heads
        weights, biases = origin.in_proj_weight.chunk(3), origin.in_proj_bias.chunk(3)
        evened = 1 / math.sqrt(origin.head_dim)
        self.query = Linear(weights[0] * evened, biases[0] * evened)
        self.key = Linear(weights[1], biases[1])
        self.value = nn.Parameter(weights[2], requires_grad=False)
        out = origin.out_proj
        self.out = Linear((out.weight.t() * scale).t().contiguous(), (out.bias + out.weight @ biases[2]) * scale)

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        """Attend: query (batch, n, features), key (batch, m, features) -> (batch, n, features)."""
        q, k = self.query(query), self.key(key)
        attended = torch.empty_like(q)
        for queries, keys, origin, out in zip(q, k, key, attended, strict=True):
            values = linear(self.value, origin.to(self.value.dtype))  # (features, m)
            for head in range(self.heads):
                mine = slice(head * len(values) // self.heads, (head + 1) * len(values) // self.heads)
                self._attend(queries[:, mine].contiguous(), keys[:, mine].contiguous(), values[mine], out[:, mine])
        joined: Tensor = self.out(attended)
        return joined

    @staticmethod
    def _attend(queries: Tensor, keys: Tensor, values: Tensor, out: Tensor) -> None:
        """One head: queries (n, features), keys (m, features), values (features, m) -> out (n, features)."""
        rows = math.ceil(len(queries) / math.ceil(len(queries) / _ROWS))
        for some, result in zip(queries.split(rows), out.split(rows), strict=True):
            result.copy_(linear(linear(some, keys).softmax(-1), values))


def plain(module: nn.Module) -> TypeGuard[nn.MultiheadAttention]:
    """Say whether a module is attention that the classes above can stand in for."""
    if not isinstance(module, nn.MultiheadAttention) or not module.batch_first:
        return False
    parameters = dict(module.named_parameters(recurse=False))
    return parameters.keys() == {"in_proj_weight", "in_proj_bias"}


def fused(module: nn.Module) -> nn.Module:
    """Return a `FusedAttention` where it can stand in for module, else module."""
    return FusedAttention(module) if plain(module) else module
