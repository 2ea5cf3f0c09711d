"""What both sides of `stemd.codec` call the kinds of faults."""

from __future__ import annotations

from typing import Final

from stemd.errors import EnvironmentFault, StemdError, WorkerFault

FAULTS: Final[dict[str, type[StemdError]]] = {"environment": EnvironmentFault, "worker": WorkerFault}
"""Any other kind is a fault of the file."""
