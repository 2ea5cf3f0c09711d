"""What only the running daemon knows, left in the state folder for `stemd status` and the web page."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

FILE: Final = "live.json"


def write(state: Path, facts: dict[str, Any]) -> None:
    """Leave the facts, whole or not at all; never made durable, since they are of this moment."""
    unfinished = state / f".{FILE}"
    unfinished.write_text(json.dumps(facts, default=str))
    unfinished.replace(state / FILE)


def read(state: Path) -> dict[str, Any]:
    """Read what the daemon left; {} if it left nothing."""
    try:
        facts = json.loads((state / FILE).read_text())
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}
