"""A program that is run to its end: output, time limit, stop. Never leaves anything of it running."""

from __future__ import annotations

import os
import selectors
import time
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from stemd.errors import EnvironmentFault, StemdError, Stopping, WorkerFault
from stemd.tools.sandbox import forbidden
from stemd.tools.spawn import TAIL, Argument, Limits, Process, spawn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from threading import Event

_LOOK: Final = 0.1  # seconds between looks at the clock and at `stop`
_DRAIN: Final = 1.0  # seconds for the pipes to run dry once the program has ended
_CHUNK: Final = 65536
_OUTPUT: Final = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Completed:
    """How a program ended.

    returncode: exit status, or minus the signal. stdout: bytes; empty where `on_line` took it line by line.
    stderr_tail: its last words, at most 16 KiB. seconds: of wall-clock time.
    """

    returncode: int
    stdout: bytes
    stderr_tail: str
    seconds: float

    @property
    def last_words(self) -> str:
        """The last line on the error output that says anything; empty if none."""
        lines = [line.strip() for line in self.stderr_tail.splitlines() if line.strip()]
        return lines[-1] if lines else ""


def run(  # noqa: PLR0913 - one call, each a plain keyword
    argv: Sequence[Argument],
    *,
    timeout: float,
    stop: Event | None = None,
    on_line: Callable[[str], None] | None = None,
    on_output: Callable[[bytes], None] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    nice: int = 0,
    limits: Limits | None = None,
    stall: float | None = None,
) -> Completed:
    """Run a program to its end, without standard input, in a session of its own.

    timeout: seconds of wall-clock time. stop: looked at ten times a second. on_line: told each line of standard output
    without its end; what it raises ends the program and goes on to the caller. on_output: told whatever comes on either
    output, as it comes, for programs that say what they like; nothing is collected then. nice: 0 to 19. stall: seconds
    without a word on either output after which it counts as hung.
    The program dies with the calling thread. On every way out its whole process group is gone: SIGTERM, 2 s, SIGKILL.
    A failing exit status is returned, not raised.

    Raises WorkerFault("timeout"), StemdError("too-much-output"), Stopping, EnvironmentFault("tool-missing"),
    EnvironmentFault("tool-forbidden"), EnvironmentFault("no-process"), EnvironmentFault("stuck").
    """
    began = time.monotonic()
    process = spawn(
        argv, feed=False, env=env, cwd=cwd, nice=nice, limits=limits, dies_with_thread=True
    )  # fmt: skip
    told = _Told(on_line, on_output)
    name = PurePath(str(argv[0])).name
    status = None
    try:
        _follow(process, told, _Patience(name, began + timeout, stall, stop))
        told.finish()
    finally:
        status = process.end()
        _close(process)
    if status is None:
        raise EnvironmentFault(
            "stuck", f"{name} cannot be ended: the kernel holds it", "a disk or network share hangs; check its mount"
        )
    words = told.error.decode("utf-8", "replace")
    if fault := forbidden(name, status, words):
        raise fault
    return Completed(status, bytes(told.output), words, time.monotonic() - began)


class _Told:
    """What a program has said so far."""

    def __init__(self, on_line: Callable[[str], None] | None, on_output: Callable[[bytes], None] | None) -> None:
        self.output = bytearray()
        self.error = bytearray()
        self._on_line = on_line
        self._on_output = on_output

    def hear_output(self, chunk: bytes) -> None:
        if self._on_output is not None:
            self._on_output(chunk)
            return
        self.output += chunk
        if self._on_line is not None:
            *lines, rest = self.output.split(b"\n")
            self.output = rest
            for line in lines:
                self._on_line(line.rstrip(b"\r").decode("utf-8", "replace"))
        if len(self.output) > _OUTPUT:
            raise StemdError(
                "too-much-output", "a program wrote more than it was asked for", "report this with the file"
            )

    def hear_error(self, chunk: bytes) -> None:
        if self._on_output is not None:
            self._on_output(chunk)
            return
        self.error += chunk
        del self.error[:-TAIL]

    def finish(self) -> None:
        if self._on_line is not None and self.output:
            self._on_line(self.output.decode("utf-8", "replace"))
            self.output.clear()


class _Patience:
    """How long a program may go on."""

    def __init__(self, name: str, deadline: float, stall: float | None, stop: Event | None) -> None:
        self._name = name
        self._deadline = deadline
        self._stall = stall or float("inf")
        self._stop = stop
        self._heard = time.monotonic()

    def heard(self) -> None:
        self._heard = time.monotonic()

    def check(self) -> None:
        """Raise if the time is up or the work is not wanted any more."""
        if self._stop is not None and self._stop.is_set():
            raise Stopping(self._name)
        now = time.monotonic()
        if now > self._deadline or now - self._heard > self._stall:
            raise WorkerFault(
                "timeout", f"{self._name} did not end in its time", "the file may be damaged, or the machine overloaded"
            )


def _follow(process: Process, told: _Told, patience: _Patience) -> None:
    """Read both pipes until the program has ended and they are dry."""
    assert process.popen.stdout is not None  # noqa: S101 - for the type checker: spawn asks for pipes
    assert process.popen.stderr is not None  # noqa: S101
    with selectors.DefaultSelector() as selector:
        selector.register(process.popen.stdout, selectors.EVENT_READ, told.hear_output)
        selector.register(process.popen.stderr, selectors.EVENT_READ, told.hear_error)
        selector.register(process.pidfd, selectors.EVENT_READ, None)
        dry = float("inf")
        while selector.get_map() and time.monotonic() < dry:
            patience.check()
            for key, _ in selector.select(_LOOK):
                if key.data is None:
                    selector.unregister(process.pidfd)
                    dry = time.monotonic() + _DRAIN
                elif chunk := os.read(key.fd, _CHUNK):
                    patience.heard()
                    key.data(chunk)
                else:
                    selector.unregister(key.fileobj)


def _close(process: Process) -> None:
    for pipe in (process.popen.stdout, process.popen.stderr):
        if pipe is not None:
            pipe.close()
