"""`stemd run --once` with hungry_engine.py for an engine, and a check that hears nothing: python hungry.py CONFIG."""

import sys
from pathlib import Path

from workers import FakeWorkers

from stemd import log
from stemd.children import Worker, WorkerPool
from stemd.config import load
from stemd.service.daemon import Service


class Hungry(WorkerPool):
    """The real pool of real processes."""

    def _engine(self):
        return Worker("hungry_engine", "engine")

    def measure(self, request, work):
        return FakeWorkers().measure(request, work)


if __name__ == "__main__":
    log.set_up("human", "DEBUG")
    settings = load(Path(sys.argv[1]))
    sys.exit(Service(settings, once=True, pool=Hungry(settings.daemon.state_dir)).run())
