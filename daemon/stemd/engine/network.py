"""One member of a bag, ready to run: its view, device and precision, and one forward pass."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch
from demucs.htdemucs import HTDemucs

from stemd.engine import views

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from torch import Tensor

    from stemd.engine.models import Network as Module


class Network:
    """Runs one member on windows of audio.

    sources: indices to compute. segment: seconds, None for its own. dtype: of the autocast, None for float32
    throughout.
    """

    def __init__(
        self,
        module: Module,
        sources: Sequence[int],
        segment: float | None,
        device: torch.device,
        dtype: torch.dtype | None,
    ) -> None:
        view, sliced = views.with_sources(views.with_segment(module.to(device), segment), sources)
        layered = views.with_layers(view) if device.type == "cpu" else None
        self._view = layered or views.with_attention(view)
        self._quick = views.with_dtype(self._view, dtype) if dtype else self._view
        self._keep = None if sliced else list(sources)
        self._device = device
        self._dtype = dtype
        self._casts = layered is None  # the layers for a CPU bring their own input to their precision

    def window(self, length: int) -> int:
        """Return how many frames the network takes for a segment of length frames (demucs.apply.apply_model).

        One single value has no deviation to normalise by; it gets a zero beside it, where stock gives not-a-number.
        """
        valid = getattr(self._view, "valid_length", None)
        shortest = 2 if self._view.audio_channels == 1 else 1
        return max(shortest, int(valid(length)) if valid else length)

    @property
    def segment(self) -> int:
        """Frames of a segment."""
        return views.frames(self._view)

    @property
    def precision(self) -> str:
        """The precision of its arithmetic: "float32", "float16" or "bfloat16"."""
        return str(self._dtype or torch.float32).removeprefix("torch.")

    def __call__(self, windows: Tensor, *, exact: bool = False) -> Tensor:
        """Separate windows: (batch, channels, window) -> (batch, sources, channels, window), float32, normalised audio.

        exact: everything in float32, whatever the precision.
        """
        view, dtype = (self._view, None) if exact else (self._quick, self._dtype)
        with torch.inference_mode(), self._autocast(dtype):
            output: Tensor = view(windows)
        return output[:, self._keep] if self._keep else output

    def _autocast(self, dtype: torch.dtype | None) -> AbstractContextManager[object]:
        if dtype is None or not self._casts:
            return nullcontext()
        return torch.autocast(self._device.type, dtype)


def draws(module: Module) -> int:
    """Return how many values one stock forward pass takes from Python's random generator."""
    transformer = module.crosstransformer if isinstance(module, HTDemucs) else None
    return int(transformer is not None and transformer.emb == "sin")
