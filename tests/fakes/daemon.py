"""`stemd run` with fake workers: python daemon.py CONFIG [--once]. Everything else of it is real."""

import sys
from pathlib import Path

from workers import FakeWorkers

from stemd import log
from stemd.config import load
from stemd.service.daemon import Service

if __name__ == "__main__":
    log.set_up("human", "DEBUG")
    settings = load(Path(sys.argv[1]))
    service = Service(settings, once="--once" in sys.argv, pool=FakeWorkers(0.05))
    service.listen_to_signals(lambda: load(Path(sys.argv[1])))
    sys.exit(service.run())
