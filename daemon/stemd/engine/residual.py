"""DConv's residual branches, without a pass over their wide output for the norm.

A branch is x + scale * glu(norm(expand(gelu(norm(squeeze(x)))))), squeezed to an eighth of its features. `expand` is
linear, so the mean and deviation of what it gives follow from the mean and covariance of the few features that it
takes: with those as more features, expand, norm and scale are one product.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from demucs.transformer import LayerScale
from torch import nn
from torch.nn import functional

from stemd.engine.convolutions import Convolution
from stemd.engine.products import Linear

if TYPE_CHECKING:
    from torch import Tensor

_KINDS = (nn.Conv1d, nn.GroupNorm, nn.GELU, nn.Conv1d, nn.GroupNorm, nn.GLU, LayerScale)


class Residual(nn.Module):
    """Stands in for one branch of a demucs.demucs.DConv and adds it to its input, in place."""

    def __init__(self, branch: nn.Sequential) -> None:
        super().__init__()
        parts: list[Any] = list(branch)
        squeeze, self.inner, _, expand, outer, _, scale = parts
        self.squeeze = Convolution(squeeze)
        self.weight, self.bias, self.eps = expand.weight.detach()[..., 0], expand.bias.detach(), outer.eps
        self.gram = self.weight.t() @ self.weight / len(self.weight)
        more = torch.stack([self.bias * outer.weight, outer.weight, outer.bias], 1)
        value, gate = torch.cat([self.weight * outer.weight[:, None], more], 1).chunk(2)
        self.value = Linear(value * scale.scale[:, None], None)
        self.gate = Linear(gate.clone(), None, "sigmoid")

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, features, bands, frames), features innermost in memory -> itself."""
        few = self._few(x)
        _rows(x).addcmul_(self.value(few), self.gate(few))
        return x

    def _few(self, x: Tensor) -> Tensor:
        """-> (batch * bands, frames, few + 3): squeezed, and with what `expand` is normalised by; both by deviation."""
        rows = _rows(self.squeeze(x))
        few = functional.gelu(self.inner(rows.transpose(1, 2).unsqueeze(-1)).squeeze(-1).transpose(1, 2))
        mean, rise = (part.to(few.dtype) for part in self._level(few.float()))
        more = torch.cat([rise, -mean * rise, torch.ones_like(rise)], -1)
        return torch.cat([few * rise, more.expand(-1, few.shape[1], -1)], -1)

    def _level(self, few: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean of what `expand` gives, and the inverse of its deviation: (batch * bands, 1, 1) each."""
        mean = few.mean(1, keepdim=True)
        off = few - mean
        covariance = torch.bmm(off.transpose(1, 2), off) / few.shape[1]
        level = functional.linear(mean, self.weight, self.bias)
        between, middle = torch.var_mean(level, -1, correction=0, keepdim=True)
        within = (covariance * self.gram).sum((1, 2), keepdim=True)
        return middle, torch.rsqrt(within + between + self.eps)


def replaceable(branch: nn.Module) -> bool:
    """Say whether `Residual` can stand in for a branch: one without LSTM and attention, normed over all features."""
    parts: list[Any] = list(branch) if isinstance(branch, nn.Sequential) else []
    fits = len(parts) == len(_KINDS) and all(map(isinstance, parts, _KINDS))
    return fits and bool(parts[1].num_groups == parts[4].num_groups == 1)


def _rows(x: Tensor) -> Tensor:
    """View (batch, features, bands, frames) as (batch * bands, frames, features)."""
    return x.permute(0, 2, 3, 1).flatten(0, 1)
