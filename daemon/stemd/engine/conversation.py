"""The conversation with the parent: one request after another, cancel at any time, an answer to each."""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch

from stemd.engine import fetch, library, models, stems
from stemd.engine.separator import Separator
from stemd.errors import StemdError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType

    from stemd.engine.separation import Progress

_GRACE = 5.0  # seconds between the wish to end and the end, if a segment takes that long
_PAUSE = 0.2  # seconds between two progress lines


class Conversation:
    """Holds the model between requests. stop: set while the current separation should end."""

    def __init__(self, out: int) -> None:
        """out: file descriptor that the answers go to."""
        self._out = out
        self._requests: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._ending = False
        self._stamp: object = None
        self._model: models.Model | None = None
        self._separator: Separator | None = None
        self._said = 0.0

    def listen(self, lines: Iterable[bytes]) -> None:
        """Take requests until the end of input. Runs in a thread of its own."""
        for line in lines:
            try:
                request = json.loads(line)
            except ValueError:
                request = None
            if not isinstance(request, dict):
                request = {"do": "?"}
            if request.get("do") == "cancel":
                self._stop.set()
                continue
            if not self._ending:
                self._stop.clear()  # here and not when it is taken up: a cancel may follow before that
            self._requests.put(request)
        self.end()

    def end(self) -> None:
        """Finish: at once when idle, else with the segment under way, at the latest after a few seconds."""
        self._ending = True
        self._stop.set()
        self._requests.put(None)
        deadline = threading.Timer(_GRACE, os._exit, [1])
        deadline.daemon = True
        deadline.start()

    def answer_all(self) -> None:
        """Answer requests until the end."""
        while not self._ending and (request := self._requests.get()) is not None:
            self._say(self._answer(request))

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"done": self._do(request)}
        except StemdError as error:
            return {"failed": {"code": error.code, "message": error.message, "hint": error.hint}}
        except Exception as error:  # noqa: BLE001 - the boundary: whatever happened, the parent gets an answer
            traceback.print_exc()
            return {"failed": _unexpected(error)}

    def _do(self, request: dict[str, Any]) -> dict[str, Any]:
        match request.get("do"):
            case "describe":
                return describe(self._loaded(request))
            case "find":
                models.find(str(request["model"]), request.get("models") or None)
                return {}
            case "separate":
                return self._separate(request)
            case "list":
                return {"models": library.listing(request.get("models"))}
            case "fetch":
                return fetch.fetch(str(request["model"]), request.get("models"), self._fetched)
        raise StemdError(
            "unknown-request", f"the engine does not know {request.get('do')!r}", "use matching versions of stemd"
        )

    def _loaded(self, request: dict[str, Any]) -> models.Model:
        """Return the model asked for; the one at hand, unless its files have changed."""
        name, folder = str(request["model"]), request.get("models") or None
        stamp = (name, folder, models.stamp(name, folder))
        if self._model is None or stamp != self._stamp:
            self._unload()
            self._model, self._stamp = models.load(name, folder), stamp
        return self._model

    def _separate(self, request: dict[str, Any]) -> dict[str, Any]:
        model = self._loaded(request)
        if request.get("digest", model.digest) != model.digest:
            self._unload()  # what is at hand may be the older one
            raise StemdError(
                "model-changed",
                f"model {model.name} is not the one that was asked for any more: its files have changed",
                "it is looked at anew; the work then goes on with the model as it is",
            )
        device, precision = request.get("device", "auto"), request.get("precision", "auto")
        at_hand = self._separator
        if (
            at_hand is None
            or at_hand.model is not model
            or (at_hand.asked_device, at_hand.precision) != (device, precision)
        ):
            self._separator = Separator(model, device=device, precision=precision)
        separator = self._separator
        assert separator is not None  # noqa: S101 - for the type checker
        self._said = 0.0
        keys = ("stems", "shifts", "overlap", "segment", "seed", "residual", "batch")
        options = {key: request[key] for key in keys if key in request}
        done = separator.separate(
            request["mix"],
            request["out"],
            **options,
            on_progress=self._progress,
            should_stop=self._stop.is_set,
            convert=False,  # the daemon has done that, in blocks
        )
        return asdict(done)

    def _progress(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._said >= _PAUSE:
            self._said = now
            facts = {key: round(value, 3) for key, value in asdict(progress).items() if key != "fraction"}
            self._say({"progress": round(progress.fraction, 5), **facts})

    def _fetched(self, fraction: float) -> None:
        if self._stop.is_set():
            raise StemdError("cancelled", "the download was cancelled", "fetch again to go on where it stopped")
        if time.monotonic() - self._said >= _PAUSE:
            self._said = time.monotonic()
            self._say({"progress": round(fraction, 4)})

    def _unload(self) -> None:
        self._model = self._separator = None
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            torch.cuda.empty_cache()

    def _say(self, answer: dict[str, Any]) -> None:
        line = (json.dumps(answer) + "\n").encode()
        while line:
            line = line[os.write(self._out, line) :]


def describe(model: models.Model) -> dict[str, Any]:
    """Return what a parent must know of a model. segment: seconds. needs: source -> indices of the members it takes."""
    return {
        "model": model.name,
        "digest": model.digest,
        "sources": list(model.sources),
        "sample_rate": model.sample_rate,
        "channels": model.channels,
        "segment": model.segment,
        "family": model.family,
        "parameters": model.parameters,
        "members": [
            {"signature": member.signature, "sha256": member.sha256, "segment": member.segment}
            for member in model.members
        ],
        "weights": [list(row) for row in model.weights],
        "needs": {source: list(stems.members(model.weights, index)) for index, source in enumerate(model.sources)},
    }


def converse() -> int:
    """Hold the conversation on this process's standard streams. Returns the exit code."""
    out = os.dup(1)
    os.dup2(2, 1)  # C libraries print to 1, too
    sys.stdout = sys.stderr
    conversation = Conversation(out)

    def terminate(_signal: int, _frame: FrameType | None) -> None:
        conversation.end()

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, terminate)
    threading.Thread(target=conversation.listen, args=[sys.stdin.buffer], daemon=True).start()
    try:
        conversation.answer_all()
    except BrokenPipeError:
        return 1
    return 0


def _unexpected(error: Exception) -> dict[str, str]:
    text = str(error).strip().splitlines()
    return {
        "code": "internal",
        "message": f"{type(error).__name__}: {text[0] if text else 'no further word'}",
        "hint": "this is a defect of stemd; the log holds the details",
    }
