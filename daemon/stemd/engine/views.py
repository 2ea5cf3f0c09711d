"""Views of a loaded network: other segment, only some sources, same weights. The network itself is never changed.

The last layers compute every source from the same features, one group of output channels a source. Keeping only the
wanted groups is exact, and saves their transposed convolutions, inverse STFTs and resampling.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from demucs.hdemucs import HDecLayer, HDemucs, HEncLayer
from demucs.htdemucs import HTDemucs
from demucs.transformer import CrossTransformerEncoderLayer, LayerScale, MyTransformerEncoderLayer
from torch import nn

from stemd.engine import attention, layers, products, transformer
from stemd.engine.convolutions import Convolution, Transposed
from stemd.engine.products import Linear

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from demucs.demucs import Demucs
    from torch import Tensor

    from stemd.engine.models import Network

M = TypeVar("M", bound=nn.Module)


def frames(network: Network, segment: float | None = None) -> int:
    """Return how many frames a segment has; segment: seconds, None for the network's own."""
    return int(network.samplerate * (network.segment if segment is None else segment))


def with_segment(network: Network, segment: float | None) -> Network:
    """Return a view that runs on segments of that many seconds; None: as it is."""
    view = shallow(network)
    if segment is not None:
        view.segment = segment
    if isinstance(view, HTDemucs) and view.crosstransformer is not None:
        still = shallow(view.crosstransformer)
        still.sin_random_shift = 0  # an augmentation for training; at random, results could not be repeated
        view.crosstransformer = still
    return view


def with_sources(network: Network, sources: Sequence[int]) -> tuple[Network, bool]:
    """Return a view that computes only those sources, in that order, and whether it could be made.

    It cannot where all sources depend on each other (Wiener filters, a norm over them, frequency bands of their own).
    """
    if tuple(sources) == tuple(range(len(network.sources))):
        return network, True
    view = (
        _slice_hybrid(network, sources)
        if isinstance(network, (HDemucs, HTDemucs))
        else _slice_time(cast("Demucs", network), sources)
    )
    if view is None:
        return network, False
    view.sources = [network.sources[source] for source in sources]
    return view, True


def with_layers(network: Network) -> Network | None:
    """Return a view made of the layers that are quickest on a CPU; None where they cannot stand in for all of its own.

    They take each other's order in memory, so one that had to stay would cost more than the others save.
    """
    if not isinstance(network, HTDemucs) or network.crosstransformer is None or not products.available():
        return None
    crossing = network.crosstransformer
    inner = [*crossing.layers, *crossing.layers_t]
    outer = [*network.encoder, *network.tencoder, *network.decoder, *network.tdecoder]
    if not all(map(layers.replaceable, outer)) or not all(map(transformer.replaceable, inner)):
        return None
    stands_in: dict[type, Callable[[Any], nn.Module]]
    stands_in = {HEncLayer: layers.Encoder, HDecLayer: layers.Decoder, nn.Conv1d: layers.Sampler}
    stands_in |= dict.fromkeys((MyTransformerEncoderLayer, CrossTransformerEncoderLayer), transformer.Layer)
    with torch.no_grad():
        return cast("Network", _replaced(network, lambda m: stands_in[type(m)](m) if type(m) in stands_in else m))


def with_attention(network: Network) -> Network:
    """Return a view whose transformer, if it has one, attends by `attention.FusedAttention`."""
    if not isinstance(network, HTDemucs) or network.crosstransformer is None:
        return network
    return cast("Network", _replaced(network, attention.fused))


def with_dtype(network: Network, dtype: torch.dtype) -> Network:
    """Return a view whose convolutions, linear layers and scales hold their weights in dtype; norms keep float32.

    A scale or embedding in float32 would silently bring everything behind it back to float32. What the last layers give
    is widened at once: everything behind them is float32 again.
    """
    view = cast("Network", _replaced(network, lambda module: _cast(module, dtype)))
    for name in ("decoder", "tdecoder"):
        layer = getattr(view, name)[-1] if hasattr(view, name) else None
        if isinstance(layer, HDecLayer):
            layer._modules["conv_tr"] = Widened(layer.conv_tr)  # noqa: SLF001 - declared as a convolution
    return view


class Widened(nn.Module):
    """A layer whose output is turned to float32."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """Run the layer on x, of any shape that it takes."""
        output: Tensor = self.inner(x)
        return output.float()


def _replaced(module: nn.Module, replace: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """Copy a tree of modules, giving each to replace, leaves last; what takes another's place stays as it is."""
    new = replace(module)
    if type(new) is not type(module):
        return new
    if new is module:
        new = shallow(module)
    for name, child in new._modules.items():  # noqa: SLF001 - as in `shallow`
        if child is not None:
            new._modules[name] = _replaced(child, replace)  # noqa: SLF001
    return new


def _cast(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    convolutions = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d)
    plain = (*convolutions, nn.Linear, nn.Embedding, LayerScale, attention.FusedAttention)
    kinds = (*plain, Convolution, Transposed, attention.HeadByHead, Linear)
    if not isinstance(module, kinds):
        return module
    view = shallow(module)
    for name, parameter in view._parameters.items():  # noqa: SLF001
        if parameter is not None:
            view._parameters[name] = nn.Parameter(parameter.detach().to(dtype), requires_grad=False)  # noqa: SLF001
    return view


def shallow(module: M) -> M:
    """Copy a module without its parameters: they, and the modules below, are shared."""
    clone = copy.copy(module)
    clone._modules = dict(module._modules)  # noqa: SLF001 - copy.copy shares this dictionary
    clone._parameters = dict(module._parameters)  # noqa: SLF001
    return clone


def _slice_time(network: Demucs, sources: Sequence[int]) -> Demucs | None:
    last = cast("nn.Sequential", network.decoder[-1])
    if not isinstance(last[-1], nn.ConvTranspose1d):
        return None
    view = shallow(network)
    layer = shallow(last)
    layer[-1] = _slice_conv(last[-1], sources, len(network.sources))
    view.decoder = _replace_last(network.decoder, layer)
    return view


def _slice_hybrid(network: HDemucs | HTDemucs, sources: Sequence[int]) -> HDemucs | HTDemucs | None:
    branches = [name for name in ("decoder", "tdecoder") if hasattr(network, name)]
    layers = {name: getattr(network, name)[-1] for name in branches}
    if not network.cac or not all(_sliceable(layer) for layer in layers.values()):
        return None
    view = shallow(network)
    for name, layer in layers.items():
        sliced = shallow(layer)
        sliced.conv_tr = _slice_conv(layer.conv_tr, sources, len(network.sources))
        setattr(view, name, _replace_last(getattr(network, name), sliced))
    return view


def _sliceable(layer: nn.Module) -> bool:
    return isinstance(layer, HDecLayer) and layer.last and isinstance(layer.norm2, nn.Identity)


def _replace_last(layers: nn.ModuleList, last: nn.Module) -> nn.ModuleList:
    view = shallow(layers)
    view[len(layers) - 1] = last
    return view


def _slice_conv(conv: nn.Module, sources: Sequence[int], count: int) -> nn.Module:
    """Keep the output channels of sources in a transposed convolution. weight: (in, out, ...), out = count groups."""
    weight, bias = cast("Tensor", conv.weight), cast("Tensor | None", conv.bias)
    group = weight.shape[1] // count
    keep = [channel for source in sources for channel in range(source * group, (source + 1) * group)]
    view = shallow(conv)
    cast("nn.ConvTranspose1d", view).out_channels = len(keep)
    view.weight = nn.Parameter(weight.detach()[:, keep].contiguous(), requires_grad=False)
    if bias is not None:
        view.bias = nn.Parameter(bias.detach()[keep].contiguous(), requires_grad=False)
    return view
