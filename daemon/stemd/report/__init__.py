"""What became of the work since some moment, for the morning after: gathered from the ledger, told in three forms."""

from stemd.report.facts import Report, gather
from stemd.report.page import page
from stemd.report.text import text
from stemd.report.window import beginning

__all__ = ["Report", "beginning", "gather", "page", "text"]
