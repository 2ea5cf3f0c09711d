"""Reads one audio file of any length in blocks, through libsndfile. It never holds more than a block."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
import soundfile
from numpy.typing import NDArray

from stemd.errors import StemdError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

Block: TypeAlias = NDArray[np.float32]
"""(frames, channels) float32; full scale is 1.0, float files may pass it."""

LOSSY: Final = frozenset({"MP3", "OGG", "MPEG"})
"""libsndfile's names of containers whose decoders may add or drop up to a few thousand frames."""


class Recording:
    """An open audio file. Frames are per channel; `frames` is what the file's header (or a scan of it) declares."""

    def __init__(self, name: str, path: str) -> None:
        self.name = name
        self.path = path
        self._file = _opened(name, path)
        self.rate: int = self._file.samplerate
        self.channels: int = self._file.channels
        self.frames: int = max(0, self._file.frames)
        self.lossy: bool = self._file.format in LOSSY

    def read(self, frames: int) -> Block:
        """Read the next frames: (at most `frames`, channels) float32; fewer only at the end."""
        try:
            block: Block = self._file.read(frames, dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            raise _unreadable(self.name, self.path, str(error)) from error
        return block

    def seek(self, frame: int) -> None:
        """Go to a frame, 0 to `frames`."""
        try:
            self._file.seek(min(max(frame, 0), self.frames))
        except (soundfile.LibsndfileError, RuntimeError) as error:
            raise _unreadable(self.name, self.path, str(error)) from error

    def close(self) -> None:
        """Close the file; further calls do nothing."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _opened(name: str, path: str) -> soundfile.SoundFile:
    """Open by bytes, since names need not be UTF-8."""
    try:
        if not os.path.isfile(path):  # noqa: PTH113 - never waits on a pipe
            raise StemdError("no-file", f"{_shown(path)} ({name}) is not a file", "Check the path.")
        return soundfile.SoundFile(os.fsencode(path))
    except (soundfile.LibsndfileError, OSError, RuntimeError, TypeError) as error:
        raise _unreadable(name, path, str(error)) from error


def _unreadable(name: str, path: str, why: str) -> StemdError:
    reason = why.rsplit(": ", maxsplit=1)[-1].strip() or "unknown format"
    return StemdError(
        "unreadable-audio",
        f"{_shown(path)} ({name}) cannot be read as audio: {reason}",
        "Use WAV, RF64, FLAC, AIFF, Ogg or MP3; convert other formats with ffmpeg first.",
    )


def _shown(path: str) -> str:
    """A path as text that can be printed and put into JSON."""
    return os.fsencode(path).decode("utf-8", "replace")
