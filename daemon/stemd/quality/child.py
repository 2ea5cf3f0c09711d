"""The quality child's conversation: JSON lines in, JSON lines out; nothing else is ever written to stdout."""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from typing import IO, TYPE_CHECKING, Any, Final

from stemd.errors import StemdError
from stemd.quality.report import METRICS, Request, Thresholds

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PROGRESS_SECONDS: Final = 0.2
_KEYS: Final = frozenset({
    "do", "mix", "stems", "vocals", "accompaniment", "thresholds", "segment", "overlap", "report", "picture", "title",
    "ignore", "suspects", "second_look",
})  # fmt: skip


def serve() -> int:
    """Answer requests until stdin ends. SIGTERM ends the process; SIGINT is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # whatever a library prints goes to stderr
    Conversation(sys.stdin.buffer, out).run()
    return 0


class Conversation:
    """Reads requests on a thread of its own, so that a cancel is heard during a measurement.

    When stdin ends, what was asked before is still answered; a parent that is gone shows as a closed stdout, at the
    next progress line.
    """

    def __init__(self, source: IO[bytes], out: IO[str]) -> None:
        self._source, self._out = source, out
        self._asked: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._cancelled = threading.Event()
        self._said = 0.0

    def run(self) -> None:
        """Answer one request after the other until the source ends."""
        threading.Thread(target=self._listen, daemon=True).start()
        while (asked := self._asked.get()) is not None:
            self._say(self._answer(asked))

    def _listen(self) -> None:
        for line in self._source:
            try:
                asked = json.loads(line)
            except ValueError:
                asked = {"do": None}
            if isinstance(asked, dict) and asked.get("do") == "cancel":
                self._cancelled.set()
                continue
            self._cancelled.clear()  # here and not after an answer: a cancel may come too late for that
            self._asked.put(asked if isinstance(asked, dict) else {"do": None})
        self._asked.put(None)

    def _answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        from stemd.quality.measure import measure  # noqa: PLC0415 - numpy with the first request: the child starts at once

        try:
            request = read(asked)
            report = measure(request, self._progress, self._cancelled.is_set)
            return {"done": report.as_json()}
        except StemdError as error:
            return _failed(error.code, error.message, error.hint)
        except MemoryError:
            return _failed("out-of-memory", "the check ran out of memory", "It is tried again when there is room.")
        except Exception as error:  # noqa: BLE001 - the boundary: a mistake here is answered too
            traceback.print_exc()
            return _failed("internal", f"{type(error).__name__}: {error}", "Please report this; the log has the place.")

    def _progress(self, fraction: float) -> None:
        now = time.monotonic()
        if now - self._said >= PROGRESS_SECONDS or fraction >= 1.0:
            self._said = now
            self._say({"progress": round(fraction, 4)})

    def _say(self, what: Mapping[str, Any]) -> None:
        try:
            self._out.write(json.dumps(what, allow_nan=False) + "\n")
            self._out.flush()
        except BrokenPipeError:
            os._exit(0)  # nobody listens any more: no answer, and no complaint from the interpreter's own flush


def read(asked: Mapping[str, Any]) -> Request:
    """Take a request from its JSON form; anything unexpected is a "bad-request"."""
    if asked.get("do") != "measure":
        raise StemdError("bad-request", f"unknown request {asked.get('do')!r}", "Known: measure, cancel.")
    unknown = sorted(set(asked) - _KEYS)
    if unknown:
        raise StemdError("bad-request", f"unknown key {unknown[0]!r}", f"Known: {', '.join(sorted(_KEYS))}.")
    stems = asked.get("stems")
    if not isinstance(stems, dict) or not all(isinstance(path, str) for path in stems.values()):
        raise StemdError("bad-request", "stems must be an object of names and paths", "Give at least one stem.")
    try:
        return Request(
            stems=stems,
            mix=_text(asked, "mix"),
            vocals=_text(asked, "vocals"),
            accompaniment=_text(asked, "accompaniment"),
            thresholds=Thresholds.read(asked.get("thresholds") or {}),
            segment=None if asked.get("segment") is None else float(asked["segment"]),
            overlap=float(0.25 if asked.get("overlap") is None else asked["overlap"]),
            report=_text(asked, "report"),
            picture=_text(asked, "picture"),
            title=_text(asked, "title") or "",
            ignore=_metrics(asked.get("ignore") or ()),
            suspects=_text(asked, "suspects"),
            second_look=_text(asked, "second_look"),
        )
    except (TypeError, ValueError, AttributeError) as error:
        raise StemdError("bad-request", f"not a valid request: {error}", "See the child protocol.") from error


def _metrics(names: Iterable[Any]) -> frozenset[str]:
    unknown = sorted({str(name) for name in names} - METRICS)
    if unknown:
        raise StemdError("bad-request", f"no flag is called {unknown[0]!r}", f"Known: {', '.join(sorted(METRICS))}.")
    return frozenset(names)


def _text(asked: Mapping[str, Any], key: str) -> str | None:
    value = asked.get(key)
    if value is not None and not isinstance(value, str):
        raise StemdError("bad-request", f"{key} must be text", "See the child protocol.")
    return value


def _failed(code: str, message: str, hint: str) -> dict[str, Any]:
    clean = message.encode("utf-8", "replace").decode()
    return {"failed": {"code": code, "message": clean, "hint": hint}}
