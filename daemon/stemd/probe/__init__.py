"""What a file says of itself: its container, its streams, its length. Decodes nothing."""

from stemd.probe.container import Declared, declared
from stemd.probe.downmix import gains, pan
from stemd.probe.streams import GUARDS, SANDBOX, inspect

__all__ = ["GUARDS", "SANDBOX", "Declared", "declared", "gains", "inspect", "pan"]
