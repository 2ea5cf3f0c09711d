"""Names that every system can read, and that are free. Pure: looks at no disk.

Windows and SMB: https://learn.microsoft.com/windows/win32/fileio/naming-a-file.
"""

from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

LONGEST: Final = 255
"""Bytes that a name may have on nearly every file system."""

_NUMBER_ROOM: Final = len(" (9999)")
_DOUBLE: Final = re.compile(r".+(\.stem\.(?:m4a|mp4))", re.IGNORECASE)  # DJ players know files by both parts
_EXTENSION: Final = 16  # bytes; what is longer is no extension but a name with a dot
_FORBIDDEN: Final = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f-\x9f\u2028\u2029]')
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_DEVICE: Final = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])\s*(\..*)?", re.IGNORECASE)
_KEPT_APART: Final = "_"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file is to appear below the outbox.

    folders: from the outbox down, shared with other tracks. unit: the track's own folder and those in it, from which
    on down everything belongs to this job; empty where the template gives a track no folder of its own.
    """

    folders: tuple[str, ...]
    unit: tuple[str, ...]
    name: str

    def mapped(self, change: Callable[[str], str]) -> Place:
        """Return the place with every component changed."""
        return Place(
            tuple(change(part) for part in self.folders),
            tuple(change(part) for part in self.unit),
            change(self.name),
        )  # fmt: skip


def legal(name: str, longest: int = LONGEST) -> str:
    """Make one component of a path legal everywhere: same text for same text, never empty, `.` or `..`, never hidden.

    What is not UTF-8 (as surrogate escapes) stays. Different names may become one: `free` tells them apart again.
    """
    clean = _FORBIDDEN.sub(_KEPT_APART, name)
    if clean.startswith("."):
        clean = _KEPT_APART + clean[1:]
    base, extension = split(_trimmed(clean))
    clean = _trimmed(cut(base, longest - len(os.fsencode(extension))) + extension)
    if device := _DEVICE.fullmatch(clean):
        return legal(f"{device[1]}{_KEPT_APART}{device[2] or ''}", longest)
    return clean or _KEPT_APART


def split(name: str) -> tuple[str, str]:
    """Split a file's name into base and extension with its dot; a long or spaced "extension" belongs to the base."""
    if double := _DOUBLE.fullmatch(name):
        return name[: double.start(1)], double[1]
    base, dot, extension = name.rpartition(".")
    if not base or not extension or " " in extension or len(os.fsencode(extension)) >= _EXTENSION:
        return name, ""
    return base, dot + extension


def readable(name: bytes | str) -> str:
    """Show a name, a path or words with them, which need not be UTF-8, and may hold what steers a terminal.

    Each byte that is no text and each control character but tab and line feed is shown by its number.
    """
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def cut(text: str, longest: int) -> str:
    """Shorten to `longest` bytes, between characters and never before a combining one."""
    if len(os.fsencode(text)) <= longest:
        return text
    end, size = 0, 0
    for end, character in enumerate(text):  # noqa: B007 - the place is what is looked for
        size += len(os.fsencode(character))
        if size > longest:
            break
    while end > 0 and (unicodedata.combining(text[end]) or text[end] in "\u200d\ufe0f" or text[end - 1] == "\u200d"):
        end -= 1
    return text[:end].rstrip(" .")


def unicode_only(name: str) -> str:
    """Replace what is not UTF-8, for shares that refuse it."""
    return os.fsencode(name).decode("utf-8", "replace").replace("\ufffd", _KEPT_APART)


def fold(name: str) -> str:
    """Give equal texts for names that some system takes for one: case, and ways to write accents."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def numbered(name: str, number: int, *, folder: bool, longest: int = LONGEST) -> str:
    """Tell a name apart: `song (2)`, `song (2).flac`. number: 1 leaves it as it is."""
    if number == 1:
        return name
    base, extension = (name, "") if folder else split(name)
    mark = f" ({number}){extension}"
    return cut(base, longest - len(os.fsencode(mark))) + mark


def free(names: Collection[str], taken: Callable[[str], bool], *, folder: bool, longest: int = LONGEST) -> int:
    """Find the lowest number with which none of the names is taken; `taken` is asked with the folded name."""
    for number in count(1):
        if not any(taken(fold(numbered(name, number, folder=folder, longest=longest))) for name in names):
            return number
    raise AssertionError  # count() does not end


def places(
    template: str,
    stems: Iterable[str],
    fields: dict[str, str],
    below: tuple[str, ...],
    longest: int = LONGEST,
    *,
    papers: Iterable[str] = (),
) -> dict[str, Place]:
    """Work out each stem's place below the outbox by the rule's template.

    template: as `config.names` accepts it. stems: names that go in for {stem}. fields: the other fields' texts, of
    which {parent} is ignored. below: folders of the source below the inbox; they come first unless the template has
    {parent}. papers: what lies beside the stems ("manifest"); named as if it were a stem, and always by its name.
    All places are different, even where the template forgets {stem}.
    """
    made, beside = list(stems), list(papers)
    above = () if "{parent}" in template else tuple(legal(part, longest) for part in below)
    found: dict[str, Place] = {}
    for name in made + beside:
        parts = _parts(template, several=len(made) > 1 or name in beside)
        own = _own_folder(parts)
        rendered = [_component(part, fields | {"stem": name}, below, made + beside, longest) for part in parts]
        folders = [part for component in rendered[:own] for part in component]
        unit = [part for component in rendered[own:-1] for part in component]
        place = Place(above + tuple(folders), tuple(unit), rendered[-1][0])
        found[name] = _told_apart(place, found.values(), longest)
    return found


def _own_folder(parts: list[str]) -> int:
    """Which component is the track's own folder; the file itself if there is none."""
    return next(
        (at for at, part in enumerate(parts[:-1]) if "{track}" in part and "{stem}" not in part), len(parts) - 1
    )


def _told_apart(place: Place, others: Iterable[Place], longest: int) -> Place:
    """The place, numbered if another one has the same name in some system's eyes."""
    beside = {fold(other.name) for other in others if (other.folders, other.unit) == (place.folders, place.unit)}
    number = free([place.name], beside.__contains__, folder=False, longest=longest)
    return Place(place.folders, place.unit, numbered(place.name, number, folder=False, longest=longest))


def _parts(template: str, *, several: bool) -> list[str]:
    """The template's components: with {track}, with {stem} if there are several stems, and {ext} at the end."""
    parts = [part for part in template.split("/") if part not in {"", ".", ".."}]
    if "{track}" not in template:
        parts.insert(0, "{track}")
    if several and "{stem}" not in template:
        base, dot, rest = parts[-1].rpartition(".")
        parts[-1] = f"{base} ({{stem}}){dot}{rest}" if dot else f"{rest} ({{stem}})"
    if "{ext}" not in parts[-1]:
        parts[-1] += ".{ext}"
    return parts


def _component(part: str, fields: dict[str, str], below: tuple[str, ...], stems: list[str], longest: int) -> list[str]:
    """One component of the template filled in: a legal name, or several or none for a lone {parent}."""
    if part == "{parent}":
        return [legal(folder, longest) for folder in below]
    values = fields | {"parent": below[-1] if below else ""}
    values = {field: _FORBIDDEN.sub(_KEPT_APART, text) for field, text in values.items()}
    if "{track}" in part:  # the track gives way, by the same measure for all stems; stem and extension stay whole
        room = longest - _NUMBER_ROOM
        widest = max(_width(part, values | {"stem": stem}) for stem in stems)
        values["track"] = cut(values["track"], max(len(os.fsencode(values["track"])) + min(room - widest, 0), 1))
    name = part.format(**values)
    if "{parent}" in part and not values["parent"]:
        name = name.strip(" -_")
    return [legal(name, longest - _NUMBER_ROOM)]


def _width(part: str, values: dict[str, str]) -> int:
    return len(os.fsencode(part.format(**values)))


def _trimmed(name: str) -> str:
    """Without dots and spaces at the end, which Windows drops, and spaces at the start, which Explorer drops."""
    return name.rstrip(" .").lstrip(" ")
