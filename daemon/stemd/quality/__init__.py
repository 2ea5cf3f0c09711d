"""Measures stems: levels, faults, and vocal bleed. A library and a child process (`python -m stemd.quality`).

It never imports torch and knows nothing of jobs, rules or the daemon.
"""

from stemd.quality.measure import measure
from stemd.quality.report import Bleed, Flag, Levels, Report, Request, Thresholds

__all__ = ["Bleed", "Flag", "Levels", "Report", "Request", "Thresholds", "measure"]
