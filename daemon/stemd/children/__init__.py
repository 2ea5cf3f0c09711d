"""The daemon's side of its worker processes: start, ask, follow, cancel, replace. Knows no stage and no job's fate."""

from stemd.children.pool import WorkerPool
from stemd.children.worker import Worker

__all__ = ["Worker", "WorkerPool"]
