"""What a container's own header promises, where ffmpeg only tells what is there. Pure but for reading the file.

ffmpeg estimates the length of a WAV, Wave64, CAF, ASF or Ogg file that was cut off from what is left of it; and it does
not say whether an MP3 lacks frames at its end or in its middle.
"""

from __future__ import annotations

import math
import os
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_UNKNOWN_32: Final = 0xFFFFFFFF
_UNKNOWN_64: Final = 0xFFFFFFFFFFFFFFFF
_TAIL: Final = 128 * 1024  # holds at least one Ogg page, of 65,307 bytes at most
_TAGS: Final = 2048  # bytes: a tag at the end may have been counted and taken away since
_CHUNKS: Final = 4096  # a file of more chunks is no recording
_UNPACKED: Final = frozenset({1, 3, 6, 7, 0xFFFE})  # tags of whole numbers, floats, A-law, mu-law; many channels
_W64_RIFF: Final = bytes.fromhex("726966662e91cf11a5d628db04c10000")
_W64_DATA: Final = bytes.fromhex("64617461f3acd3118cd100c04f8edb8a")
_W64_FORM: Final = bytes.fromhex("666d7420f3acd3118cd100c04f8edb8a")
_ASF: Final = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_PROPERTIES: Final = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


@dataclass(frozen=True, slots=True)
class Declared:
    """What the header promises.

    seconds: of audio, None if it does not say. cut: whether bytes are missing at the end, None if it does not say.
    """

    seconds: float | None
    cut: bool | None


def declared(path: Path) -> Declared | None:
    """Read a container's header; None for one that needs no second look. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(descriptor).st_size
        head = os.pread(descriptor, 64, 0)
        reader = _reader(head)
        return reader(descriptor, size) if reader else None
    except struct.error:  # the header itself is cut off
        return Declared(None, cut=True)
    finally:
        os.close(descriptor)


def _reader(head: bytes) -> Callable[[int, int], Declared] | None:
    if head[:4] in {b"RIFF", b"RF64", b"BW64"} and head[8:12] == b"WAVE":
        return _wave
    if head.startswith(_W64_RIFF):
        return _wave64
    if head.startswith(b"caff"):
        return _caf
    if head.startswith(b"OggS"):
        return _ogg
    if head.startswith(_ASF):
        return _asf
    return _mp3 if head.startswith(b"ID3") or (head[:1] == b"\xff" and head[1:2] >= b"\xe0") else None


def _wave(descriptor: int, size: int) -> Declared:
    at, rate, large = 12, 0, 0
    for _ in range(_CHUNKS):
        if at + 8 > size:
            break
        name, length = struct.unpack("<4sI", os.pread(descriptor, 8, at))
        if name == b"ds64":
            large = struct.unpack("<QQ", os.pread(descriptor, 16, at + 8))[1]
        elif name == b"fmt ":
            rate = _bytes_per_second(os.pread(descriptor, 14, at + 8))
        elif name == b"data":
            judge, promised = (_audio, large) if length == _UNKNOWN_32 else (_by_32_bits, length)
            return judge(promised, size - at - 8, rate)
        at += 8 + length + (length & 1)
    return Declared(None, cut=True)


def _by_32_bits(length: int, present: int, bytes_per_second: float) -> Declared:
    """Judge by a size of 32 bits. Where 4 GiB more are there, a recorder without RF64 wrote its lowest bits only.

    Readers stop where these end: such audio counts as cut, and its seconds are those that are there.
    """
    if 0 < length <= present - (1 << 32):
        return replace(_audio(present, present, bytes_per_second), cut=True)
    return _audio(length, present, bytes_per_second)


def _wave64(descriptor: int, size: int) -> Declared:
    at, rate = 40, 0
    for _ in range(_CHUNKS):
        if at + 24 > size:
            break
        name, length = struct.unpack("<16sQ", os.pread(descriptor, 24, at))
        if name == _W64_FORM:
            rate = _bytes_per_second(os.pread(descriptor, 14, at + 24))
        elif name == _W64_DATA:
            return _audio(length - 24, size - at - 24, rate)
        at += max((length + 7) & ~7, 24)
    return Declared(None, cut=True)


def _bytes_per_second(form: bytes) -> int:
    """Read a WAVEFORMAT; 0 for compressed sound, of which its own figure is a hint only."""
    tag, _, rate, _, align = struct.unpack("<HHIIH", form)
    return rate * align if tag in _UNPACKED else 0


def _caf(descriptor: int, size: int) -> Declared:
    at, rate = 8, 0.0
    for _ in range(_CHUNKS):
        if at + 12 > size:
            break
        name, length = struct.unpack(">4sQ", os.pread(descriptor, 12, at))
        if name == b"desc":
            frames, _, _, packet, per_packet = struct.unpack(">d4sIII", os.pread(descriptor, 24, at + 12))
            rate = frames * packet / per_packet if per_packet else 0.0
        elif name == b"data":
            return _audio(0 if length == _UNKNOWN_64 else length - 4, size - at - 16, rate)
        at += 12 + length
    return Declared(None, cut=True)


def _audio(promised: int, present: int, bytes_per_second: float) -> Declared:
    """Judge a block of audio. A promise of nothing is a recorder's that never came to its end: all there is counts."""
    if promised <= 0 or promised in {_UNKNOWN_32, _UNKNOWN_64}:
        return Declared(None, cut=None)
    seconds = promised / bytes_per_second if 0 < bytes_per_second < math.inf else None  # not for a CAF's NaN either
    return Declared(seconds, cut=promised > present)


def _ogg(descriptor: int, size: int) -> Declared:
    """Whether the last page is whole (RFC 3533, section 6). A stream without a last-page mark is an ordinary thing."""
    start = max(size - _TAIL, 0)
    tail = os.pread(descriptor, _TAIL, start)
    at = tail.rfind(b"OggS")
    if at < 0 or at + 27 > len(tail):
        return Declared(None, cut=True)
    table = tail[at + 27 : at + 27 + tail[at + 26]]
    whole = len(table) == tail[at + 26] and at + 27 + len(table) + sum(table) <= len(tail)
    return Declared(None, cut=not whole)


def _asf(descriptor: int, size: int) -> Declared:
    head = os.pread(descriptor, 64 * 1024, 0)
    at = head.find(_ASF_PROPERTIES)
    if at < 0:
        return Declared(None, cut=None)
    total, _, _, duration, _, preroll, flags = struct.unpack("<QQQQQQI", head[at + 40 : at + 92])
    if flags & 1:  # a broadcast: the figures are not valid
        return Declared(None, cut=None)
    return Declared(max(duration / 1e7 - preroll / 1e3, 0.0), cut=total > size)


def _mp3(descriptor: int, size: int) -> Declared:
    """Compare the bytes that a Xing or Info header counts (http://gabriel.mp3-tech.org/mp3infotag.html)."""
    start = 0
    head = os.pread(descriptor, 10, 0)
    if head.startswith(b"ID3"):
        high, upper, lower, low = struct.unpack(">4B", head[6:10])
        start = 10 + (high << 21 | upper << 14 | lower << 7 | low)
    frame = os.pread(descriptor, 8192, start)
    first = frame.find(b"\xff")
    at = max(frame.find(b"Xing"), frame.find(b"Info"))
    if first < 0 or not first < at < first + 64:
        return Declared(None, cut=None)
    flags, *counts = struct.unpack(">III", frame[at + 4 : at + 16])
    if not flags & 2:
        return Declared(None, cut=None)
    counted = counts[flags & 1]  # the number of frames stands before, if it is there
    return Declared(None, cut=start + first + counted - size > _TAGS)
