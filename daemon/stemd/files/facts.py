"""Facts beside the files that they are about: JSON that is whole or not there. Knows no fact's meaning."""

from __future__ import annotations

import dataclasses
import enum
import json
import os
import secrets
import types
import typing
from typing import TYPE_CHECKING, Any, Final, TypeVar

from stemd.errors import StemdError
from stemd.files.disk import sync_folder
from stemd.files.faults import faults_in
from stemd.files.names import cut

if TYPE_CHECKING:
    from pathlib import Path

Fact = TypeVar("Fact")

_ROOM: Final = 200  # bytes of a name, so that there is room for what tells a temporary file apart


def write_json(path: Path, value: Any, *, place: str = "state") -> None:
    """Write JSON so that even after a power cut `path` holds either its old or its new content.

    Raises EnvironmentFault(f"{place}-full" and its like).
    """
    text = json.dumps(value, indent=2, ensure_ascii=True) + "\n"  # ASCII: paths may hold bytes that are no text
    rest = path.with_name(f".{cut(path.name, _ROOM)}.{os.getpid()}-{secrets.token_hex(4)}")
    with faults_in(place, path.parent):
        try:
            with rest.open("xb") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
            rest.replace(path)
        except BaseException:
            rest.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def read_json(path: Path) -> Any:
    """Read JSON. Raises StemdError("lost-fact") if the file is not there or is no JSON."""
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError) as error:
        raise StemdError(
            "lost-fact", f"{path} is missing or damaged", "let the job start again: stemd retry JOB"
        ) from error


def write_fact(path: Path, fact: Any, *, place: str = "state") -> None:
    """Write a dataclass as `write_json` does; bytes as text with surrogate escapes."""
    write_json(path, _plain(fact), place=place)


def read_fact(path: Path, kind: type[Fact]) -> Fact:
    """Read back what `write_fact` wrote; fields that it did not know yet get their defaults, unknown ones are dropped.

    Raises StemdError("lost-fact") if the file is missing, damaged or of another kind.
    """
    value = read_json(path)
    try:
        return typing.cast("Fact", _formed(value, kind))
    except (TypeError, ValueError, KeyError) as error:
        raise StemdError(
            "lost-fact", f"{path} does not hold what it should ({error})", "let the job start again: stemd retry JOB"
        ) from error


def _plain(value: Any) -> Any:
    """Only what JSON knows."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return os.fsdecode(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value


def _formed(value: Any, kind: Any) -> Any:  # noqa: PLR0911 - one way out for each kind of type
    """Form plain JSON into the type that a field is declared with."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any or origin is typing.Literal:
        return value
    if origin is typing.Annotated:
        return _formed(value, parts[0])
    if origin in {typing.Union, types.UnionType}:
        return _one_of(value, parts)
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind, include_extras=True)
        names = [field.name for field in dataclasses.fields(kind) if field.init and field.name in value]
        return typing.cast("Any", kind)(**{name: _formed(value[name], hints[name]) for name in names})
    if origin in {tuple, list, frozenset, set}:
        return origin(_formed(item, part) for item, part in zip(value, _item_types(value, parts), strict=True))
    if origin is dict:
        return {key: _formed(item, parts[1]) for key, item in value.items()}
    return _scalar(value, kind)


def _one_of(value: Any, parts: tuple[Any, ...]) -> Any:
    """The first member of a union that takes the value."""
    if value is None and type(None) in parts:
        return None
    for part in parts:
        if part is not type(None):
            try:
                return _formed(value, part)
            except (TypeError, ValueError, KeyError):
                continue
    raise TypeError(f"{value!r} is none of {parts}")


def _item_types(value: Any, parts: tuple[Any, ...]) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is no list")
    if (len(parts) == 2 and parts[1] is not Ellipsis) or len(parts) > 2:  # noqa: PLR2004 - tuple[X, Y]
        return list(parts)
    return [parts[0] if parts else Any] * len(value)


def _scalar(value: Any, kind: Any) -> Any:
    if kind is bytes:
        return os.fsencode(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(kind, type) and issubclass(kind, (enum.Enum, os.PathLike)):
        return kind(value)  # type: ignore[call-arg]  # a Path or an Enum of one value
    if isinstance(kind, type) and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value
