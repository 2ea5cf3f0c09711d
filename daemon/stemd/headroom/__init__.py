"""What this machine has left: memory, graphics cards, disks, load. Measures, decides nothing, never raises."""

from stemd.headroom.meter import Meter, measure

__all__ = ["Meter", "measure"]
