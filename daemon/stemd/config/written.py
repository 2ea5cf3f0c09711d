"""Writes settings as a config.toml that loads back to the same settings: every key, nothing left to defaults."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stemd.config.settings import Settings

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")


def as_toml(settings: Settings) -> str:
    """Write all settings. A key that has no value ("the model's own") stands as a comment."""
    parts = [f"# {settings.path}"]
    for name in ("daemon", "schedule", "resources", "notify"):
        parts += ["", f"[{name}]", *_table(getattr(settings, name))]
    for rule in settings.rules:
        parts += ["", "[[rule]]", *_table(rule)]
        for field in fields(rule):
            if is_dataclass(inner := getattr(rule, field.name)):
                parts += ["", f"[rule.{field.name}]", *_table(inner)]
    return "\n".join(parts) + "\n"


def _table(facts: Any) -> Iterator[str]:
    for field in fields(facts):
        value = getattr(facts, field.name)
        if value is None:
            yield f"# {field.name} is not set"
        elif not is_dataclass(value):
            yield f"{field.name} = {literal(value)}"


def literal(value: str | bool | float | tuple[str, ...] | Path) -> str:  # noqa: FBT001 - a value, not a switch
    """Write one value as TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (str, Path)):
        escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
        return '"' + _UNPRINTABLE.sub(lambda char: f"\\u{ord(char[0]):04x}", escaped) + '"'
    if isinstance(value, tuple):
        return f"[{', '.join(literal(part) for part in value)}]"
    return repr(value)  # numbers look alike in TOML and Python: 1e-05, 30.0
