"""Finds config.toml, reads it, and gives settings that are complete and right, or every mistake in it at once."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import tomli

from stemd.config import folders, hours, tables
from stemd.config.lines import find_lines, line_of
from stemd.config.problems import ConfigError, Place, Problem, did_you_mean, label, shown
from stemd.config.rules import RULE_HOMES, read_rules
from stemd.config.settings import Daemon, Notify, Resources, Schedule, Settings
from stemd.errors import StemdError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stemd.config.tables import Mistake

_TABLES: dict[str, type] = {"daemon": Daemon, "schedule": Schedule, "resources": Resources, "notify": Notify}
_KNOWN = (*_TABLES, "defaults", "rule")
_HOMES = {
    **RULE_HOMES,
    **{field.name: f"it belongs in [{name}]" for name, kind in _TABLES.items() for field in fields(kind)},
}
_DEFAULT = (Path("config.toml"), Path("/etc/stemd/config.toml"))


@dataclass(frozen=True, slots=True)
class Reading:
    """A configuration as read: the settings, and what is allowed in the file but worth a word."""

    settings: Settings
    remarks: tuple[Problem, ...]


def find(option: Path | None = None) -> Path:
    """Choose the file: the option, $STEMD_CONFIG, ./config.toml, /etc/stemd/config.toml.

    Raises ConfigError if the file named does not exist, StemdError "no-config" if none is named or found.
    """
    named = option or (Path(os.environ["STEMD_CONFIG"]) if os.environ.get("STEMD_CONFIG") else None)
    if named is not None:
        how = "the option --config names it" if option else "$STEMD_CONFIG names it"
        if not named.exists():
            raise ConfigError(named, [Problem("file", "does not exist", f"{how}: correct the path")])
        return named
    for path in _DEFAULT:
        if path.is_file():
            return path
    searched = " nor ".join(str(path) for path in _DEFAULT)
    raise StemdError("no-config", f"there is no configuration: neither {searched}", "name one: stemd -c PATH ...")


def load(path: Path) -> Settings:
    """Read settings; ConfigError carries every mistake."""
    return read(path).settings


def read(path: Path) -> Reading:
    """Read settings and remarks; ConfigError carries every mistake."""
    text = _text(path)
    raw = _parse(path, text)
    settings, mistakes, remarks = _settings(path.absolute(), raw)
    lines = find_lines(text) if mistakes or remarks else {}
    names = _rule_names(raw)
    if mistakes:
        raise ConfigError(path, _problems(mistakes, lines, names))
    return Reading(settings, tuple(_problems(remarks, lines, names)))


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")  # editors on Windows mark the file's beginning
    except UnicodeDecodeError as error:
        problem = Problem("file", "is not UTF-8 text", "save it as UTF-8", _line_at(path.read_bytes(), error.start))
    except OSError as error:
        problem = Problem("file", f"cannot be read: {error.strerror}", "check the path and its permissions")
    raise ConfigError(path, [problem])


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        lines = text.split("\n")
        line = lines[error.lineno - 1] if error.lineno <= len(lines) else ""
        hint = "see toml.io for how values are written"
        if "overwrite" in error.msg or "twice" in error.msg or "Duplicate" in error.msg:
            hint = "set each key once"
            if "name" in line:
                hint += '; the template of file names is called "names"'
        raise ConfigError(path, [Problem(f"column {error.colno}", error.msg, hint, error.lineno)]) from None


def _settings(path: Path, raw: dict[str, Any]) -> tuple[Settings, list[Mistake], list[Mistake]]:
    mistakes = [_unknown_table(key) for key in raw if key not in _KNOWN]
    values: dict[str, dict[str, Any]] = {}
    for name, kind in _TABLES.items():
        values[name], wrong = tables.check(kind, _without_empty(name, raw.get(name, {})), (name,), _HOMES)
        mistakes += wrong
    mistakes += _folders(values["daemon"], path.parent)
    mistakes += _machine(values["schedule"], values["resources"])
    mistakes += _notify(values["notify"])
    daemon = Daemon(**values["daemon"])
    reading = read_rules(raw, path.parent, _HOMES, local_models=daemon.models is not None)
    mistakes += reading.mistakes
    mistakes += folders.overlaps(reading.placed, daemon.state_dir, daemon.models)
    rules = tuple(rule for _, rule in reading.placed)
    schedule, resources = Schedule(**values["schedule"]), Resources(**values["resources"])
    settings = Settings(path, daemon, schedule, resources, rules, Notify(**values["notify"]))
    return settings, mistakes, reading.remarks


def _unknown_table(key: str) -> Mistake:
    if key in RULE_HOMES:
        return (key,), "stands above every table", RULE_HOMES[key]
    if key in {"rules", "Rule"}:
        return (key,), "is not known", "every rule begins with [[rule]]"
    return (key,), "is not known", _HOMES.get(key, did_you_mean(key, _KNOWN, f"tables are {', '.join(_KNOWN)}"))


def _without_empty(name: str, table: Any) -> Any:
    """`models = ""` means none."""
    if name == "daemon" and isinstance(table, dict) and table.get("models") == "":
        return {key: value for key, value in table.items() if key != "models"}
    return table


def _folders(daemon: dict[str, Any], base: Path) -> list[Mistake]:
    """Make the daemon's folders absolute; a folder that cannot be is left out."""
    mistakes: list[Mistake] = []
    for key in {"state_dir", "models"} & daemon.keys():
        try:
            daemon[key] = tables.absolute(daemon[key], base)
        except ValueError as error:
            mistakes.append((("daemon", key), str(error), tables.FOLDER))
            del daemon[key]
    return mistakes


def _machine(schedule: dict[str, Any], resources: dict[str, Any]) -> list[Mistake]:
    """Check the texts that have a grammar of their own."""
    mistakes: list[Mistake] = []
    for text in schedule.get("active", ()):
        try:
            hours.parse(text)
        except ValueError as error:
            mistakes.append((("schedule", "active"), f"{shown(text)}: {error}", hours.EXAMPLES))
    device = resources.get("device", "auto")
    kind, _, number = device.partition(":")
    if device not in {"auto", "cpu", "cuda"} and not (kind == "cuda" and number.isascii() and number.isdecimal()):
        meant, known = device.lower().replace("gpu", "cuda"), ("auto", "cpu", "cuda", "cuda:1")
        suggestion = did_you_mean(meant, known, 'write "auto", "cpu", "cuda" or "cuda:1"')
        mistakes.append((("resources", "device"), f"{shown(device)} is no device", suggestion))
    return mistakes


def _problems(mistakes: Iterable[Mistake], lines: Mapping[Place, int], names: Mapping[int, str]) -> list[Problem]:
    """Give each mistake its key and its line; in the file's order, none twice."""
    problems = [
        Problem(label(place, names), message, suggestion, line_of(place, lines))
        for place, message, suggestion in dict.fromkeys(mistakes)
    ]
    return sorted(problems, key=lambda problem: problem.line or 0)


def _notify(table: dict[str, Any]) -> list[Mistake]:
    """Check whom to tell."""
    mistakes: list[Mistake] = []
    if table.get("command") and not table["command"][0]:
        mistakes.append((("notify", "command"), "names no program", 'for example ["/usr/local/bin/tell", "me"]'))
    address = table.get("webhook", "")
    try:
        parts = urlsplit(address)
        right = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        right = False
    if address and not (right and address.isascii() and address.isprintable() and " " not in address):
        example = 'for example "https://chat.example.org/hooks/..."'
        mistakes.append((("notify", "webhook"), f"{shown(address)} is no address to post to", example))
    return mistakes


def _rule_names(raw: Mapping[str, Any]) -> dict[int, str]:
    rules = raw.get("rule")
    named = enumerate(rules if isinstance(rules, list) else [])
    return {n: rule["name"] for n, rule in named if isinstance(rule, dict) and isinstance(rule.get("name"), str)}


def _line_at(content: bytes, offset: int) -> int:
    return content.count(b"\n", 0, offset) + 1
