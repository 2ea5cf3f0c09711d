"""`stemd alerts`: tells people what happens, by a command or a webhook. A process of its own: nobody waits for it.

It reads what the daemon writes and remembers in the state folder what it has told. Nothing of the daemon imports it.
"""

from stemd.alerts.follow import Alerts, try_out

__all__ = ["Alerts", "try_out"]
