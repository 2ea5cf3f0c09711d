"""A program that stays and speaks JSON lines: `{"do": ..}` goes in, messages come out. Knows no message's meaning."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import threading
import time
from typing import IO, TYPE_CHECKING, Any, Final

from stemd.errors import StemdError
from stemd.tools.spawn import TAIL, Argument, Limits, Process, spawn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SEND_SECONDS: Final = 10.0
_LINE: Final = 16 * 1024 * 1024  # a longer line is no message
_WAITING: Final = 1024  # messages that wait to be received; a child that floods is held up by its pipe


def start(
    argv: Sequence[Argument],
    *,
    env: Mapping[str, str] | None = None,
    nice: int = 0,
    limits: Limits | None = None,
) -> Child:
    """Start a program that is to stay, in a session of its own.

    It outlives the calling thread, so the kernel does not end it with the daemon: the end of its standard input tells
    it, and its program must then leave at once, even in the middle of work (a thread that reads and calls os._exit).
    Raises EnvironmentFault("tool-missing") or EnvironmentFault("no-process").
    """
    return Child(spawn(argv, feed=True, env=env, nice=nice, limits=limits))


class Child:
    """A child that speaks JSON lines. Its methods may be called from any thread, one `receive` at a time."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._messages: queue.Queue[dict[str, Any] | None] = queue.Queue(_WAITING)
        self._error = bytearray()
        self._sending = threading.Lock()
        self._ending = threading.Lock()
        self._status: int | None = None
        self._gone = threading.Event()
        popen = process.popen
        if popen.stdin is None or popen.stdout is None or popen.stderr is None:
            raise ValueError("a child needs three pipes")
        os.set_blocking(popen.stdin.fileno(), False)
        self._stdin = popen.stdin
        self._readers = (
            threading.Thread(target=self._read_messages, args=(popen.stdout,), name=f"child-{self.pid}", daemon=True),
            threading.Thread(target=self._read_error, args=(popen.stderr,), name=f"child-{self.pid}-err", daemon=True),
        )
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        """Of the process, and of its group and session."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return not self._gone.is_set() and not self._process.exited()

    @property
    def returncode(self) -> int | None:
        """Exit status, minus the signal for a killed child; None while it runs, and if the kernel cannot end it."""
        if not self.alive:
            self._collect()
        return self._status

    @property
    def stderr_tail(self) -> str:
        """Its last words on standard error, at most 16 KiB, and lines on standard output that were no JSON object."""
        return bytes(self._error).decode("utf-8", "replace")

    def send(self, message: Mapping[str, Any]) -> None:
        """Write one message.

        Raises StemdError("child-died") if it has gone, StemdError("child-hangs") if it does not read for 10 s.
        """
        line = json.dumps(message, ensure_ascii=True).encode() + b"\n"
        with self._sending:
            try:
                self._write(memoryview(line))
            except (OSError, ValueError) as error:  # ValueError: closed by terminate
                raise StemdError(
                    "child-died", f"a worker process is gone ({error})", "it is started again; see stemd why"
                ) from error

    def receive(self, timeout: float) -> dict[str, Any] | None:
        """The next message; None if none came within `timeout` seconds or none will come.

        What a child said before it died is still received; so first `receive` until None, then look at `alive`.
        """
        deadline = time.monotonic() + timeout
        try:
            message = self._messages.get(timeout=max(timeout, 0.0)) if timeout > 0 else self._messages.get_nowait()
        except queue.Empty:
            return None
        if message is None:  # its output has ended: so that a caller's loop does not spin, wait for the process too
            self._messages.put(None)
            if not self._gone.is_set():
                self._process.exited(max(deadline - time.monotonic(), 0.0))
        return message

    def terminate(self, grace: float) -> int | None:
        """End it: close its input, after `grace` seconds SIGTERM, 2 s later SIGKILL to its whole group.

        Returns the exit status as `returncode` does. May be called again.
        """
        self._close_input(grace)
        self._process.exited(grace)
        self._collect()
        return self._status

    def _collect(self) -> None:
        with self._ending:
            if not self._gone.is_set():
                self._status = self._process.end()
                self._gone.set()
        self._close_input(1.0)
        for reader in self._readers:
            reader.join(1.0)

    def _close_input(self, patience: float) -> None:
        if self._sending.acquire(timeout=patience):  # not while somebody sends: the number may pass to another file
            with contextlib.suppress(OSError):
                self._stdin.close()
            self._sending.release()

    def _write(self, rest: memoryview) -> None:
        poll = select.poll()
        poll.register(self._stdin.fileno(), select.POLLOUT)
        deadline = time.monotonic() + _SEND_SECONDS
        while rest:
            if not poll.poll(max(deadline - time.monotonic(), 0.0) * 1000):
                raise StemdError("child-hangs", "a worker process does not listen", "it is started again")
            with contextlib.suppress(BlockingIOError):
                rest = rest[os.write(self._stdin.fileno(), rest) :]

    def _read_messages(self, pipe: IO[bytes]) -> None:
        with pipe:
            while line := pipe.readline(_LINE):
                message = _parsed(line)
                if message is None:
                    self._keep(line)
                else:
                    self._offer(message)
        self._offer(None)

    def _offer(self, message: dict[str, Any] | None) -> None:
        """Queue a message, and wait for room as long as somebody may receive it."""
        while True:
            try:
                return self._messages.put(message, timeout=0.5)
            except queue.Full:
                if self._gone.is_set():
                    return None

    def _read_error(self, pipe: IO[bytes]) -> None:
        with pipe:
            while chunk := pipe.read1(65536):  # type: ignore[attr-defined]  # a BufferedReader
                self._keep(chunk)

    def _keep(self, chunk: bytes) -> None:
        self._error += chunk
        del self._error[:-TAIL]


def _parsed(line: bytes) -> dict[str, Any] | None:
    """A JSON object, or None for anything else that a library may have printed."""
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None
