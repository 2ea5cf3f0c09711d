"""The writer of MP4 boxes: adds at the end, leaves the rest, refuses what it would break."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemd.formats.boxes import add_user_data, box, boxes

NAMES = st.binary(min_size=4, max_size=4)


@given(st.lists(st.tuples(NAMES, st.binary(max_size=40))))
def test_boxes_are_taken_apart_as_they_were_put_together(parts: list[tuple[bytes, bytes]]) -> None:
    assert list(boxes(b"".join(box(name, content) for name, content in parts))) == parts


@pytest.mark.parametrize("content", [b"\0\0\0\x07abcd", b"\0\0\0\x09abcd", b"abc"])
def test_what_is_no_box_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="no box at 0"):
        list(boxes(content))


@pytest.mark.parametrize("there", [b"", box(b"udta", box(b"meta", b"tags"))])
def test_user_data_joins_what_is_there(tmp_path: Path, there: bytes) -> None:
    file = tmp_path / "a.m4a"
    before = box(b"ftyp", b"M4A ") + b"\0\0\0\x01mdat" + (20).to_bytes(8, "big") + b"data"
    file.write_bytes(before + box(b"moov", box(b"mvhd", b"head") + there))
    add_user_data(file, b"stem", b"{}")
    kept = there[8:]
    assert file.read_bytes() == before + box(b"moov", box(b"mvhd", b"head") + box(b"udta", kept + box(b"stem", b"{}")))


def test_a_movie_box_before_the_samples_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.m4a"
    file.write_bytes(box(b"moov", b"") + box(b"mdat", b"data"))
    with pytest.raises(ValueError, match="not the last"):
        add_user_data(file, b"stem", b"{}")
    assert file.read_bytes() == box(b"moov", b"") + box(b"mdat", b"data")
