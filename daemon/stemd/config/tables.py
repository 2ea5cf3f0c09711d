"""Checks one table of config.toml, key by key, against the dataclass that it fills; pydantic judges the values.

A table is checked as it is written, before presets and defaults are laid under it: so every mistake is told where it
stands, all of them are told at once, and one bad key does not hide another.
"""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, Union, cast, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from stemd.config.problems import Place, did_you_mean, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

Mistake: TypeAlias = tuple[Place, str, str]
"""Where, what is wrong, what to write instead."""

FOLDER = 'write the path of a folder; of a share, where it is mounted: "/srv/nas/in"'
"""What to do about a path that `absolute` refuses."""

_ADDRESS = re.compile(r"[A-Za-z][\w+.-]*:[/\\]|\\\\|//")
"""How shares are written elsewhere: smb://nas/in (a Path has one stroke), nas:/in, C:/in, \\\\nas\\in, //nas/in."""

_STRICT = ConfigDict(strict=True, allow_inf_nan=False)


def check(
    kind: type, table: Any, place: Place, homes: Mapping[str, str], absent: frozenset[str] = frozenset()
) -> tuple[dict[str, Any], list[Mistake]]:
    """Check a table against the dataclass `kind`: the values that are right, and what is wrong with the others.

    homes: where keys belong that people look for here ("shifts": "[[rule]]"). absent: keys of `kind` not allowed here.
    """
    if not isinstance(table, dict):
        return {}, [(place, f"must be a table, not {shown(table)}", f"write [{place[-1]}] and its keys below")]
    hints = {key: hint for key, hint in _hints(kind).items() if key not in absent}
    values: dict[str, Any] = {}
    mistakes: list[Mistake] = []
    for key, value in table.items():
        if key not in hints:
            known = did_you_mean(key, hints, f"known keys: {', '.join(hints)}")
            mistakes.append(((*place, key), "is not a key of this table", homes.get(key, known)))
        elif is_dataclass(hints[key]):
            values[key], inner = check(hints[key], value, (*place, key), homes)
            mistakes += inner
        else:
            _check_value(hints[key], value, (*place, key), values, mistakes, _example(kind, key))
    return values, mistakes


def nested(kind: type, key: str) -> type:
    """Give the dataclass of a table inside a table."""
    return cast(type, _hints(kind)[key])


def absolute(path: Path, base: Path) -> Path:
    """Make a path absolute: `~` is the home folder, other paths begin at `base`. ValueError says what is wrong."""
    if _ADDRESS.match(str(path)):
        message = "is an address, not a folder of this machine"
        raise ValueError(message)
    if "\0" in str(path) or not str(path).strip() or path == Path():
        message = "names no folder"
        raise ValueError(message)
    try:
        whole = base / path.expanduser()
    except RuntimeError as error:  # no such user
        raise ValueError(str(error).lower()) from None
    return _without_dots(whole) if ".." in whole.parts else whole


def _without_dots(path: Path) -> Path:
    """Take `..` out. After a symbolic link it is not the folder before it, so that the file system has to be asked.

    What follows the last `..` may lie on a share that hangs, and is not looked at.
    """
    after = len(path.parts) - path.parts[::-1].index("..")
    return Path(*path.parts[:after]).resolve().joinpath(*path.parts[after:])


def _check_value(
    hint: Any, value: Any, place: Place, values: dict[str, Any], mistakes: list[Mistake], example: str
) -> None:
    """Put a good value into `values`; tell of a bad one."""
    try:
        # Python's True equals 1, so that pydantic takes it for a literal 1.
        misplaced = isinstance(value, bool) and hint is not bool
        values[str(place[-1])] = _adapter(hint).validate_python(None if misplaced else value)
    except ValidationError:
        wrong = _wrong_part(hint, value)
        words = [word for word in _words(hint) if isinstance(wrong, str)]
        mistakes.append(
            (place, f"must be {describe(hint)}, not {shown(value)}", did_you_mean(str(wrong), words, example))
        )


def _wrong_part(hint: Any, value: Any) -> Any:
    """The value, or of a list the first text that may not be in it."""
    known = _words(hint) if get_origin(hint) is tuple else []
    unknown = [part for part in value if part not in known] if known and isinstance(value, list) else []
    return unknown[0] if unknown else value


def _example(kind: type, key: str) -> str:
    """Suggest a key's default."""
    default = next(field.default for field in fields(kind) if field.name == key)
    if isinstance(default, (str, int, float)):
        return f"for example {key} = {shown(default)}"
    if isinstance(default, tuple):
        return f"for example {key} = {shown(list(default))}"
    return f"write {describe(_hints(kind)[key])}"


@cache
def _hints(kind: type) -> dict[str, Any]:
    """The keys of a table and the types of their values; TOML knows no None."""
    return {name: _given(hint) for name, hint in get_type_hints(kind, include_extras=True).items()}


def _given(hint: Any) -> Any:
    if get_origin(hint) in {Union, UnionType}:
        left = tuple(part for part in get_args(hint) if part is not NoneType)
        return Union[left]  # noqa: UP007 - made at run time
    return hint


@cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    # TOML has arrays and texts where Python has tuples and paths; everything else is taken strictly.
    loose = hint is Path or get_origin(hint) is tuple
    return TypeAdapter(Annotated[hint, Field(strict=False)] if loose else hint, config=_STRICT)


def _words(hint: Any) -> list[str]:
    """Texts that a value may be."""
    if get_origin(hint) is Literal:
        return [word for word in get_args(hint) if isinstance(word, str)]
    if get_origin(hint) in {Union, UnionType, tuple}:
        return [word for part in get_args(hint) for word in _words(part)]
    return []


def describe(hint: Any) -> str:
    """Say in words what a value must be."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        return _either([f'"{part}"' if isinstance(part, str) else str(part) for part in parts])
    if origin in {Union, UnionType}:
        return _either([describe(part) for part in parts])
    if origin is Annotated:
        return describe(parts[0]) + _range(parts[1:])
    if origin is tuple:
        words = _words(hint)
        return f"a list of {_either([shown(word) for word in words])}" if words else 'a list of texts, ["..."]'
    if hint is Path:
        return "a folder, as a text"
    return {bool: "true or false", str: "a text", int: "a whole number", float: "a number"}[hint]


def _range(limits: tuple[Any, ...]) -> str:
    low = next((f"from {limit.ge:g}" for limit in limits if isinstance(limit, Ge)), "")
    low = low or next((f"above {limit.gt:g}" for limit in limits if isinstance(limit, Gt)), "")
    high = next((f"to {limit.le:g}" for limit in limits if isinstance(limit, Le)), "")
    high = high or next((f"below {limit.lt:g}" for limit in limits if isinstance(limit, Lt)), "")
    if not low and high.startswith("to"):
        high = f"up {high}"
    return "".join(f" {part}" for part in (low, high) if part) or " that is not empty"


def _either(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} or {parts[-1]}"
