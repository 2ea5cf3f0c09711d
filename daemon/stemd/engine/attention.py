"""Attention as Demucs's transformer asks for it, by the quickest way on each device. Same weights, same result.

torch.nn.MultiheadAttention takes a path of its own in inference that holds all heads' scores at once: for htdemucs 230
MB in float32, through memory twice. In float32 and on a GPU the fused kernel is quicker. In bfloat16 on a CPU that
kernel is not, for it multiplies in float32; there, one head at a time keeps the scores in the cache and multiplies
natively (measured on an EPYC with avx512_bf16, 2688 x 2688 positions: 31 ms against 91 fused).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

_ROWS = 1400  # positions at a time, at most: 1344 x 2688 scores in bfloat16 are 7 MB, which stays in the cache


class Attention(nn.Module):
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
        on_cores = q.dtype == torch.bfloat16 and q.device.type == "cpu"
        attended = by_head(q, k, v) if on_cores else functional.scaled_dot_product_attention(q, k, v)
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


def replaced(module: nn.Module) -> nn.Module:
    """Return an `Attention` where it can stand in for module, else module."""
    if not isinstance(module, nn.MultiheadAttention) or not module.batch_first:
        return module
    parameters = dict(module.named_parameters(recurse=False))
    return Attention(module) if parameters.keys() == {"in_proj_weight", "in_proj_bias"} else module


def by_head(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend one head after another: (batch, heads, positions, features) each -> the shape of q."""
    positions = q.shape[2]
    rows = math.ceil(positions / math.ceil(positions / _ROWS))
    q = q * (1 / math.sqrt(q.shape[-1]))
    attended = torch.empty(q.shape, dtype=q.dtype)
    for queries, keys, values, out in zip(
        *(t.contiguous().flatten(0, 1) for t in (q, k, v)), attended.flatten(0, 1), strict=True
    ):
        for row in range(0, positions, rows):
            scores = torch.mm(queries[row : row + rows], keys.t())
            torch.mm(scores.softmax(-1), values, out=out[row : row + rows])
    return attended
