"""The log: one line an event, for a person at a terminal, for the journal, or as JSON for programs."""

from stemd.log.output import Form, set_up

__all__ = ["Form", "set_up"]
