"""The engine as a child process: requests and answers as JSON, one object a line, on standard input and output.

Requests: describe, find, separate, cancel, list, fetch. While separating, a thread reads on, so that a cancel
arrives. Everything that libraries print goes to standard error. Ends at the end of input or on SIGTERM; SIGINT is the
parent's to decide on.
"""

from __future__ import annotations

import os
import sys

from stemd.engine.environment import MARK, engine_environment


def main() -> None:
    """Run with the right environment: once more, as the same process, if started without it."""
    if os.environ.get(MARK) != "1":
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], engine_environment())  # noqa: S606 - itself
    from stemd.engine.conversation import converse  # noqa: PLC0415 - torch only now, with the environment set

    sys.exit(converse())


if __name__ == "__main__":
    main()
