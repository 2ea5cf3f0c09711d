"""Figures for Prometheus, from the ledger and from what the running daemon says of itself. Reads only."""

from stemd.metrics.collector import Studio, exposition

__all__ = ["Studio", "exposition"]
