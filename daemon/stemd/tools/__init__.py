"""Other programs: run one to its end, or keep one and talk to it. The only user of subprocess."""

from stemd.tools.child import Child, start
from stemd.tools.once import Completed, run
from stemd.tools.spawn import Limits

__all__ = ["Child", "Completed", "Limits", "run", "start"]
