"""The child's side: one question as the only argument, JSON lines as the answer.

Ends in `{"done": ..}` or `{"failed": {"code", "message", "hint"}}`; `{"progress": 0..1}` before.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

from stemd.codec.ask import FAULTS
from stemd.codec.bind import bind
from stemd.codec.combine import combine
from stemd.codec.decode import decode
from stemd.codec.encode import encode
from stemd.errors import StemdError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_TASKS: Final[dict[str, Callable[[Mapping[str, Any], Callable[[float], None]], dict[str, Any]]]] = {
    "bind": bind,
    "combine": combine,
    "decode": decode,
    "encode": encode,
}


def main() -> None:
    """Answer the one question."""
    question = json.loads(sys.argv[1])
    try:
        _tell({"done": _TASKS[question["do"]](question, lambda part: _tell({"progress": part}))})
    except StemdError as error:
        kind = next((name for name, fault in FAULTS.items() if isinstance(error, fault)), "file")
        _tell({"failed": {"kind": kind, "code": error.code, "message": error.message, "hint": error.hint}})


def _tell(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
