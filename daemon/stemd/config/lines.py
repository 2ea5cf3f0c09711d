"""Finds the lines on which a TOML file sets its keys, by reading the text; tomli keeps none. Never judges the file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from stemd.config.problems import Place

_PART = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_DOTTED = rf"{_PART}(?:\s*\.\s*{_PART})*"
_HEADER = re.compile(rf"\s*(?P<open>\[\[?)\s*(?P<key>{_DOTTED})\s*\]")
_ENTRY = re.compile(rf"\s*(?P<key>{_DOTTED})\s*=")
_TOKEN = re.compile(r'''"""|\'\'\'|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|\#[^\n]*|[\[\]{}]''')

_FENCES = frozenset({'"""', "'''"})
_BRACKETS = {"[": 1, "{": 1, "]": -1, "}": -1}


def line_of(place: Place, lines: Mapping[Place, int]) -> int | None:
    """Give the line of a place, or of the nearest thing around it that has one."""
    while place:
        if place in lines:
            return lines[place]
        place = place[:-1]
    return None


def find_lines(text: str) -> dict[Place, int]:
    """Map each table and key of a valid TOML text to its line, from 1; keys of inline tables are left out."""
    lines: dict[Place, int] = {}
    table: Place = ()
    counts: dict[Place, int] = {}
    for number, line in _starts(text):
        if header := _HEADER.match(line):
            table = _resolve(_parts(header["key"]), counts, opens_new=header["open"] == "[[")
            lines.setdefault(table, number)
        elif entry := _ENTRY.match(line):
            lines.setdefault(table + _parts(entry["key"]), number)
    return lines


def _resolve(parts: Place, counts: dict[Place, int], *, opens_new: bool) -> Place:
    """Turn ("rule", "quality") into ("rule", 0, "quality"): a header speaks of the last element of an array."""
    place: Place = ()
    for depth, part in enumerate(parts, 1):
        place += (part,)
        if opens_new and depth == len(parts):
            counts[place] = counts.get(place, -1) + 1
        if place in counts:
            place += (counts[place],)
    return place


def _parts(dotted: str) -> Place:
    """Split `a."b.c"` at the dots between its parts."""
    return tuple(part.strip("\"'") for part in re.findall(_PART, dotted))


def _starts(text: str) -> Iterator[tuple[int, str]]:
    """Give the lines on which something new begins: not those inside a long string or an open bracket."""
    depth, fence = 0, ""
    for number, line in enumerate(text.split("\n"), 1):
        rest = line
        if not depth and not fence:
            yield number, line
            if header := _HEADER.match(line):
                rest = line[header.end() :].removeprefix("]")
        depth, fence = _follow(rest, depth, fence)


def _follow(rest: str, depth: int, fence: str) -> tuple[int, str]:
    """Read on to the end of a line: how many brackets are open then, and which long string."""
    at = 0
    while True:
        if fence:
            end = rest.find(fence, at)
            if end < 0:
                return depth, fence
            at, fence = end + len(fence), ""
        token = _TOKEN.search(rest, at)
        if token is None:
            return depth, fence
        at = token.end()
        if token[0] in _FENCES:
            fence = token[0]
        else:
            depth += _BRACKETS.get(token[0], 0)
