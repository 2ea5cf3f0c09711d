"""The boxes of an MP4 file (ISO/IEC 14496-12): finds one, and adds user data at the end. Changes no sample's place."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_HEAD: Final = struct.Struct(">I4s")
_LONG: Final = struct.Struct(">Q")
_LARGEST: Final = 1 << 30  # bytes of a movie box: no file of ours comes near


def add_user_data(path: Path, name: bytes, content: bytes) -> None:
    """Put a box `name` into moov/udta of a file whose moov is its last box, as ffmpeg leaves it without faststart.

    Nothing before moov is touched, so that the tables of where samples are stay right. Written through to the disk.
    Raises ValueError for a file of another build.
    """
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        start, end = _last(file.fileno(), size)
        if end - start > _LARGEST:
            raise ValueError(f"{path} has a movie box of {end - start} bytes")
        file.seek(start)
        movie = file.read(end - start)
        file.seek(start)
        file.write(_with_user_data(movie, box(name, content)))
        file.flush()
        os.fsync(file.fileno())


def box(name: bytes, content: bytes) -> bytes:
    """Form a box of up to 4 GiB."""
    return _HEAD.pack(_HEAD.size + len(content), name) + content


def boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Take a box's content apart: the name and the content of each box in it. Raises ValueError where it has none."""
    at = 0
    while at < len(content):
        size, name = _HEAD.unpack_from(content, at) if at + _HEAD.size <= len(content) else (0, b"")
        if not _HEAD.size <= size <= len(content) - at:
            raise ValueError(f"no box at {at}")
        yield name, content[at + _HEAD.size : at + size]
        at += size


def _last(descriptor: int, size: int) -> tuple[int, int]:
    """Where the file's last box begins and ends, which must be its movie."""
    at, start, name = 0, 0, b""
    while at < size:
        start = at
        length, name = _HEAD.unpack(os.pread(descriptor, _HEAD.size, at))
        if length == 1:
            length = _LONG.unpack(os.pread(descriptor, _LONG.size, at + _HEAD.size))[0]
        if length < _HEAD.size:
            raise ValueError(f"no box at {at}")
        at += length
    if name != b"moov" or at != size:
        raise ValueError("the movie box is not the last one")
    return start, size


def _with_user_data(movie: bytes, new: bytes) -> bytes:
    parts = list(boxes(movie[_HEAD.size :]))
    if not any(name == b"udta" for name, _ in parts):
        parts.append((b"udta", b""))
    return box(b"moov", b"".join(box(name, content + new if name == b"udta" else content) for name, content in parts))
