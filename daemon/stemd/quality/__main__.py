"""`python -m stemd.quality`: one numpy thread, then the conversation on stdin and stdout."""

from __future__ import annotations

import os
import sys

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # before numpy: a check is one of `cpu_jobs`, not a whole machine

from stemd.quality.child import serve  # noqa: E402 - after the environment is set

if __name__ == "__main__":
    sys.exit(serve())
