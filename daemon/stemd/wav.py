"""WAV and RF64 files, read and written in blocks of float32, so that length costs no memory.

Stands beside `files`: numpy only, used by the engine and by quality; the daemon itself never imports it.
Never resamples, never changes levels.

Container: RIFF/WAVE with a JUNK chunk kept free behind the header. Up to 4 GiB the file stays an ordinary WAV that
every program opens; beyond, closing turns RIFF into RF64 and JUNK into ds64 (EBU Tech 3306, section 3.5). The header is
written here and not by libsndfile, whose PEAK chunk holds the time of day: equal audio gives equal bytes.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np

from stemd.errors import StemdError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

Block: TypeAlias = "NDArray[np.float32]"

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_FULL = 0xFFFFFFFF  # a 32-bit size field that points to ds64, or that a streaming writer never filled in
_DS64_BYTES = 28
_GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")  # KSDATAFORMAT_SUBTYPE_*, after its first two bytes


@dataclass(frozen=True, slots=True)
class Header:
    """What a WAV or RF64 file says of itself.

    frames: per channel, counted from the bytes that are there. offset: first byte of audio.
    kind: numpy type of one stored sample; 24-bit audio has kind "i3".
    """

    sample_rate: int
    channels: int
    frames: int
    kind: str
    offset: int

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame: one sample of every channel."""
        return self.channels * int(self.kind[-1])


class Reader:
    """Random access to a WAV or RF64 file, PCM of 8 to 32 bits or float, as (channels, frames) float32.

    Integers are scaled to [-1, 1). Errors: StemdError "not-a-wav" where the header is unusable; OSError from the
    system.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = path
        self._fd = os.open(os.fsencode(path), os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.header = _parse(self._fd, path)
        except BaseException:
            os.close(self._fd)
            raise

    @property
    def frames(self) -> int:
        """Frames per channel."""
        return self.header.frames

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.header.channels

    @property
    def sample_rate(self) -> int:
        """Frames per second."""
        return self.header.sample_rate

    def read(self, start: int, stop: int) -> Block:
        """Return frames start..stop as (channels, stop - start) float32.

        0 <= start <= stop <= frames. A file that became shorter meanwhile raises StemdError "truncated".
        """
        width = self.header.frame_bytes
        raw = bytearray((stop - start) * width)
        view, position = memoryview(raw), self.header.offset + start * width
        while view:
            count = os.preadv(self._fd, [view], position)
            if count == 0:
                raise StemdError(
                    "truncated",
                    f"{os.fspath(self.path)} became shorter while it was read",
                    "copy the file again and do not change it while stemd works on it",
                )
            view, position = view[count:], position + count
        return _decode(raw, self.header.kind, self.channels)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Writer:
    """Writes (channels, frames) float32 blocks to a new file, a WAV that becomes RF64 past 4 GiB.

    path must not exist. Nothing is clipped: values beyond [-1, 1] are kept. `close` completes the header and syncs the
    file to disk; a writer left by an exception leaves an incomplete file, which is the caller's to remove.
    """

    def __init__(self, path: Path | str, sample_rate: int, channels: int) -> None:
        self.path = path
        self.sample_rate = sample_rate
        self.channels = channels
        self.frames = 0
        self._fd = os.open(os.fsencode(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            _write_all(self._fd, _head(sample_rate, channels, 0))
        except BaseException:
            os.close(self._fd)
            raise

    def write(self, block: Block) -> None:
        """Append block: (channels, frames) float32."""
        if block.shape[0] != self.channels:
            raise ValueError(f"{self.channels} channels expected, not {block.shape[0]}")
        self.write_frames(np.ascontiguousarray(block.T, dtype="<f4"))

    def write_frames(self, frames: Block) -> None:
        """Append frames: (frames, channels) float32, contiguous; saves the copy that `write` makes."""
        _write_all(self._fd, frames.data.cast("B") if frames.size else b"")
        self.frames += frames.shape[0]

    def close(self) -> None:
        """Complete the header, sync and close."""
        try:
            os.pwrite(self._fd, _head(self.sample_rate, self.channels, self.frames), 0)
            os.fsync(self._fd)
        finally:
            os.close(self._fd)

    def abandon(self) -> None:
        """Close without completing the header."""
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()


def _write_all(fd: int, content: bytes | memoryview) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]


def _head(rate: int, channels: int, frames: int) -> bytes:
    """Everything before the first sample. Its length depends on the channel count only."""
    width = 4 * channels
    form = _form(rate, channels)
    fact = struct.pack("<4sII", b"fact", 4, min(frames, _FULL))
    size = frames * width
    rest = 4 + (8 + _DS64_BYTES) + (8 + len(form)) + len(fact) + 8 + size
    chunks = struct.pack("<4sI", b"fmt ", len(form)) + form + fact
    if rest < _FULL:
        start = struct.pack("<4sI4s4sI", b"RIFF", rest, b"WAVE", b"JUNK", _DS64_BYTES) + bytes(_DS64_BYTES)
        return start + chunks + struct.pack("<4sI", b"data", size)
    start = struct.pack("<4sI4s4sI", b"RF64", _FULL, b"WAVE", b"ds64", _DS64_BYTES)
    return start + struct.pack("<QQQI", rest, size, frames, 0) + chunks + struct.pack("<4sI", b"data", _FULL)


def _form(rate: int, channels: int) -> bytes:
    width = 4 * channels
    if channels <= 2:  # noqa: PLR2004 - plain headers name mono and stereo only
        return struct.pack("<HHIIHHH", _FLOAT, channels, rate, rate * width, width, 32, 0)
    head = struct.pack("<HHIIHHHHI", _EXTENSIBLE, channels, rate, rate * width, width, 32, 22, 32, 0)
    return head + struct.pack("<H", _FLOAT) + _GUID_TAIL


def _parse(fd: int, path: Path | str) -> Header:
    total = os.fstat(fd).st_size
    head = os.pread(fd, 12, 0)
    if len(head) < 12 or head[:4] not in (b"RIFF", b"RF64", b"BW64") or head[8:] != b"WAVE":  # noqa: PLR2004 - its size
        raise _unusable(path, "it has no WAV header")
    position, form, large = 12, b"", 0
    while position + 8 <= total:
        name, size = struct.unpack("<4sI", os.pread(fd, 8, position))
        position += 8
        if name == b"data":
            return _header(path, form, position, _audio_bytes(size, large, total - position))
        if name == b"ds64":
            large = int(struct.unpack("<Q", os.pread(fd, 16, position)[8:])[0])
        elif name == b"fmt ":
            form = os.pread(fd, min(size, 40), position)
        position += size + (size & 1)
    raise _unusable(path, "it has no audio")


def _audio_bytes(declared: int, large: int, present: int) -> int:
    size = large if declared == _FULL else declared
    return min(size or present, present)


def _header(path: Path | str, form: bytes, offset: int, size: int) -> Header:
    if len(form) < 16:  # noqa: PLR2004 - the smallest format chunk
        raise _unusable(path, "its format chunk is missing")
    tag, channels, rate, _, _, bits = struct.unpack("<HHIIHH", form[:16])
    if tag == _EXTENSIBLE and len(form) >= 26:  # noqa: PLR2004 - up to the sub-format
        tag = struct.unpack("<H", form[24:26])[0]
    kinds = {
        (_PCM, 8): "u1",
        (_PCM, 16): "i2",
        (_PCM, 24): "i3",
        (_PCM, 32): "i4",
        (_FLOAT, 32): "f4",
        (_FLOAT, 64): "f8",
    }
    kind = kinds.get((tag, bits))
    if kind is None or not channels or not rate:
        raise _unusable(path, f"its format {tag} with {bits} bits, {channels} channels at {rate} Hz is not supported")
    return Header(rate, channels, size // (channels * bits // 8), kind, offset)


def _unusable(path: Path | str, reason: str) -> StemdError:
    return StemdError("not-a-wav", f"{os.fspath(path)} cannot be read as WAV: {reason}", "convert it to WAV first")


def _decode(raw: bytearray, kind: str, channels: int) -> Block:
    samples: NDArray[Any]
    if kind == "i3":
        wide = np.zeros((len(raw) // 3, 4), dtype=np.uint8)
        wide[:, 1:] = np.frombuffer(raw, dtype=np.uint8).reshape(-1, 3)
        samples = wide.view("<i4")[:, 0] / np.float64(2**31)
    elif kind == "u1":
        samples = (np.frombuffer(raw, dtype=np.uint8).astype(np.float32) - 128) / 128
    elif kind[0] == "i":
        samples = np.frombuffer(raw, dtype="<" + kind) / np.float64(2 ** (8 * int(kind[1]) - 1))
    else:
        samples = np.frombuffer(raw, dtype="<" + kind)
    return np.ascontiguousarray(samples.reshape(-1, channels).T, dtype=np.float32)
