"""Separation with Demucs: a library, `from stemd.engine import Separator`, and a child, `python -m stemd.engine`.

The only home of torch and demucs. Importing this package sets nothing global and loads neither: they come with the
first use of `Separator`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stemd.engine.separator import Separated, Separator

__all__ = ["Separated", "Separator"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from stemd.engine import separator  # noqa: PLC0415 - torch only when it is needed

        return getattr(separator, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
