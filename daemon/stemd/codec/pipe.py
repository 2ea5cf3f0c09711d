"""ffmpeg with samples flowing out of it or into it, and its last words. Knows no format."""

from __future__ import annotations

import contextlib
import re
import signal
import threading
from collections import Counter, deque
from typing import IO, TYPE_CHECKING, Final, Self

import numpy as np  # noqa: TID251 - this process is a child; the daemon stays without numpy

from stemd.tools.sandbox import forbidden
from stemd.tools.spawn import Argument, spawn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from numpy.typing import NDArray  # noqa: TID251

BLOCK: Final = 1 << 16
"""Frames read at a time."""

_HOLES: Final = re.compile(
    r"\[(error|warning|fatal)\].*"
    r"(Error while decoding|Error submitting|CRC mismatch|corrupt input packet|corrupt decoded)"
)
_COUNTED: Final = re.compile(r"^\[Parsed_astats_(\d+) @ 0x[0-9a-f]+\] \[info\] Number of samples: (\d+)\s*$")
_NOT_NUMBERS: Final = re.compile(r"^\[Parsed_astats_\d+ @ 0x[0-9a-f]+\] \[info\] Number of NaNs: ([\d.]+)\s*$")
_REACHED: Final = re.compile(r"^out_time_us=(\d+)$")
_PROBLEM: Final = re.compile(r"\[(error|fatal)\] ?(.*)")
_LINES: Final = 12


class Ffmpeg:
    """A running ffmpeg. It dies with this process; leaving the context ends it.

    holes: how often its decoder complained. counted: frames that passed each astats, by its place among the filters.
    not_numbers: samples that are none in these, a channel on average, where an astats tells them.
    reached: seconds, the time stamp up to which it came (with -progress pipe:2), holes included.
    """

    def __init__(self, argv: Sequence[Argument], *, feed: bool) -> None:
        """feed: whether samples are written to its standard input, rather than read from its standard output."""
        self.holes = 0
        self.counted: Counter[int] = Counter()
        self.not_numbers = 0.0
        self.reached = 0.0
        self._problems: deque[str] = deque(maxlen=_LINES)
        self._first_words = ""
        self._process = spawn(argv, feed=feed, dies_with_thread=True)
        popen = self._process.popen
        if popen.stdout is None or popen.stderr is None:
            raise ValueError("ffmpeg needs its pipes")
        self._output: IO[bytes] = popen.stdout
        self._input = popen.stdin
        self._listener = threading.Thread(target=self._listen, args=(popen.stderr,), daemon=True)
        self._listener.start()

    @property
    def last_words(self) -> str:
        """Its last complaint, or nothing."""
        return self._problems[-1] if self._problems else ""

    def blocks(self, channels: int) -> Iterator[NDArray[np.float32]]:
        """Yield its output, raw float32, as (frames, channels); the array is used again for the next block."""
        buffer = np.empty((BLOCK, channels), dtype="<f4")
        view = memoryview(buffer.data).cast("B")
        while size := _fill(self._output, view):
            yield buffer[: size // (4 * channels)]

    def write(self, samples: bytes | memoryview) -> bool:
        """Give it raw samples; False if it does not take any more."""
        if self._input is None:
            raise ValueError("this one is read from")
        try:
            self._input.write(samples)
        except BrokenPipeError:
            return False
        return True

    def finish(self) -> int:
        """Close its input, wait for its end, and return its exit status. Raises EnvironmentFault("tool-forbidden")."""
        if self._input is not None:
            with contextlib.suppress(BrokenPipeError):
                self._input.close()
        self._process.exited(float(2**20))
        self._listener.join(5.0)
        status = self._process.popen.wait()
        if fault := forbidden("ffmpeg", status, self._first_words):
            raise fault
        return status

    def _listen(self, pipe: IO[bytes]) -> None:
        with pipe:
            for raw in pipe:
                line = raw.decode("utf-8", "replace").rstrip()
                self._first_words = self._first_words or line
                if match := _COUNTED.match(line):
                    self.counted[int(match[1])] += int(match[2])
                if match := _NOT_NUMBERS.match(line):
                    self.not_numbers += float(match[1])
                if match := _REACHED.match(line):
                    self.reached = int(match[1]) / 1e6
                self.holes += bool(_HOLES.search(line))
                if match := _PROBLEM.search(line):
                    self._problems.append(match[2])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._process.exited():
            self._process.signal(signal.SIGKILL)
        self._process.reap()
        self._output.close()
        if self._input is not None:
            with contextlib.suppress(BrokenPipeError):
                self._input.close()
        self._listener.join(5.0)


def _fill(pipe: IO[bytes], view: memoryview) -> int:
    """Read until the view is full or the pipe ends; returns the bytes read."""
    size = 0
    while size < len(view):
        count = pipe.readinto(view[size:])  # type: ignore[attr-defined]  # a BufferedReader
        if not count:
            break
        size += count
    return size
