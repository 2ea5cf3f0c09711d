"""Which jobs start now, and why the others wait. Pure: it starts nothing, measures nothing, remembers nothing."""

from stemd.planner.choose import choose
from stemd.planner.facts import QUALITY, Candidate, Gate, Limits, Plan, Promise, Start, Warm

__all__ = ["QUALITY", "Candidate", "Gate", "Limits", "Plan", "Promise", "Start", "Warm", "choose"]
