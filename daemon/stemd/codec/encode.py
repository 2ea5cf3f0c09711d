"""Encoding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def encode(question: Mapping[str, Any], progress: Callable[[float], None]) -> dict[str, Any]:
    """Encode."""
    raise NotImplementedError
