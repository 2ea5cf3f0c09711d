"""`stemd run` with fake workers: python daemon.py CONFIG [--once] [--flagging]. All else of it is real."""

import sys
from pathlib import Path

from workers import FakeWorkers, FlaggingWorkers

from stemd import log
from stemd.config import load
from stemd.service.daemon import Service

if __name__ == "__main__":
    log.set_up("human", "DEBUG")
    settings = load(Path(sys.argv[1]))
    workers = FlaggingWorkers(0.05) if "--flagging" in sys.argv else FakeWorkers(0.05)
    service = Service(settings, once="--once" in sys.argv, pool=workers)
    service.listen_to_signals(lambda: load(Path(sys.argv[1])))
    sys.exit(service.run())
