"""What is wrong with a configuration: every mistake at once, each with its key, its line and a suggestion."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeAlias

from stemd.errors import StemdError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

Place: TypeAlias = tuple[str | int, ...]
"""Where a value stands: ("rule", 0, "quality", "bleed_db")."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake, or one remark.

    key: as a person would write it, `rule[0] "karaoke".stems`. line: in the file, from 1; None where it has none.
    message: what is wrong. suggestion: what to write instead.
    """

    key: str
    message: str
    suggestion: str
    line: int | None = None

    def __str__(self) -> str:
        line = f"line {self.line}, " if self.line else ""
        return f"{line}{self.key}: {self.message} ({self.suggestion})"


class ConfigError(StemdError):
    """A configuration that cannot be used. problems: all that is wrong with it, at least one; code "config"."""

    def __init__(self, source: Path | str, problems: Sequence[Problem]) -> None:
        count = "a mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
        lines = "".join(f"\n  {problem}" for problem in problems)
        super().__init__("config", f"{source} has {count}:{lines}", "correct the file, then: stemd config check")
        self.source = source
        self.problems = tuple(problems)


def label(place: Place, rule_names: Mapping[int, str]) -> str:
    """Write a place as a person would: `daemon.rescan`, `rule[0] "karaoke".stems`."""
    text = ""
    for part in place:
        if isinstance(part, int):
            name = rule_names.get(part) if text == "rule" else None
            text += f"[{part}]" + (f' "{name}"' if name else "")
        else:
            text += f".{part}" if text else part
    return text


def did_you_mean(word: str, known: Iterable[str], otherwise: str) -> str:
    """Suggest the known word that looks most like `word`."""
    choices = {choice.lower(): choice for choice in known}
    close = get_close_matches(word.lower(), choices, n=1, cutoff=0.6)
    return f"did you mean {shown(choices[close[0]])}?" if close else otherwise


def shown(value: Any) -> str:
    """Write a value as in TOML, shortened."""
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    if isinstance(value, str) and '"' not in value:
        text = f'"{text[1:-1]}"'
    limit = 60
    return text if len(text) <= limit else text[: limit - 3] + "..."
