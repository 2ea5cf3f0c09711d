"""`stemd` of which one part can be blocked: python blocked.py headroom|engine FLAG WORDS.., blocked while FLAG exists.

A graphics driver that hangs blocks the one; the other is a thread that never comes back from its engine's pipe.
"""

import sys
import time
from pathlib import Path

from stemd import cli
from stemd.headroom import Meter
from stemd.tools import Child

PARTS = {"headroom": (Meter, "measure"), "engine": (Child, "receive")}

if __name__ == "__main__":
    part, flag = sys.argv.pop(1), Path(sys.argv.pop(1))
    home, name = PARTS[part]
    original = getattr(home, name)

    def blocked(*words):
        while flag.exists():
            time.sleep(0.1)
        return original(*words)

    setattr(home, name, blocked)
    cli.main()
