"""Keys that config.toml may have although their part is not built yet. Take an entry out when its part works."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

NOT_YET: Mapping[str, str] = MappingProxyType(
    {
        "rule.hook.delivered": "no command is run",
    }
)
"""`table.key`, or `table.key=value` for one value of it; and what happens meanwhile."""
