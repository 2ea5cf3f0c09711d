"""Albums: a folder saved in an inbox, with all its sub-folders, and the order of its tracks. Pure."""

from __future__ import annotations

import fnmatch
import os
import re
from functools import lru_cache
from typing import Final, TypeAlias

TrackOrder: TypeAlias = tuple[tuple[int | bytes, ...], bytes]
"""Sorts tracks as people do; see `track_order`."""

PAPERS: Final = (
    "*.jpg", "*.jpeg", "*.png", "*.gif", "*.bmp", "*.webp", "*.tif", "*.tiff", "*.pdf", "*.txt", "*.nfo", "*.log",
    "*.cue", "*.m3u", "*.m3u8", "*.pls", "*.sfv", "*.md5", "*.ffp", "*.accurip", "*.url",
)  # fmt: skip
"""What lies beside the tracks of an album and is none: covers, booklets, playlists, checksums."""

_PAPER: Final = re.compile("|".join(fnmatch.translate(pattern) for pattern in PAPERS), re.IGNORECASE)
_NUMBER: Final = re.compile(rb"(\d+)")


def album_of(name: bytes) -> bytes:
    """Give the album of a recording: the outermost folder in its name below the inbox; empty if it lies in none."""
    folder, slash, _ = name.partition(b"/")
    return folder if slash else b""


def is_paper(name: bytes) -> bool:
    """Whether a file, by its name below the inbox, belongs to an album without being one of its tracks."""
    return bool(album_of(name)) and _PAPER.match(os.fsdecode(name)) is not None


@lru_cache(maxsize=1 << 16)
def track_order(name: bytes) -> TrackOrder:
    """Give what sorts `2 x` before `10 x` and `CD 1/9` before `CD 2/1`; numbers count by their value, case does not."""
    parts = _NUMBER.split(name.lower())
    return tuple(int(part) if at % 2 else part for at, part in enumerate(parts)), name
