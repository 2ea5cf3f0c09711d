"""Sound file formats: what a file says of itself, and what a delivered one is made of. Decodes and encodes nothing."""

from stemd.formats.container import Declared, declared
from stemd.formats.downmix import gains, pan
from stemd.formats.resampler import resampler
from stemd.formats.streams import GUARDS, SANDBOX, inspect

__all__ = ["GUARDS", "SANDBOX", "Declared", "declared", "gains", "inspect", "pan", "resampler"]
