"""Makes whole rules of [[rule]], preset and [defaults], and checks each as a whole.

Precedence, highest first: the rule's own keys; the preset that the rule names; the keys of [defaults]; the preset that
[defaults] names, else `standard`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stemd.config import names, sound, tables
from stemd.config.problems import shown
from stemd.model import OWN_FOLDERS, Rule
from stemd.model.presets import PRESETS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from stemd.config.problems import Place
    from stemd.config.tables import Mistake

RULE_HOMES = {field.name: "it belongs in a [[rule]], or in [defaults] for all of them" for field in fields(Rule)}
_NEEDED = ("name", "inbox", "outbox")
_NESTED = ("quality", "hook")
_EXAMPLES = {"name": 'name = "karaoke"', "inbox": 'inbox = "/srv/nas/in"', "outbox": 'outbox = "/srv/nas/out"'}


@dataclass(slots=True)
class Rules:
    """The rules of a file with their places in it, and what is to be said about them."""

    placed: list[tuple[int, Rule]]
    mistakes: list[Mistake]
    remarks: list[Mistake]


@dataclass(frozen=True, slots=True)
class _Keys:
    """The keys of one rule by where they come from, all of them checked one by one."""

    own: dict[str, Any]
    defaults: dict[str, Any]

    @property
    def preset(self) -> str:
        return str(self.own.get("preset", self.defaults.get("preset", "standard")))

    @property
    def layers(self) -> tuple[Mapping[str, Any], ...]:
        """Lowest first."""
        preset = PRESETS[self.preset]  # type: ignore[index] # checked when the table was read
        return (self.defaults, preset, self.own) if "preset" in self.own else (preset, self.defaults, self.own)

    def rank(self, key: str) -> int:
        """How high the layer is that decides about a key; -1 for none."""
        return max((n for n, layer in enumerate(self.layers) if key in layer), default=-1)

    def merged(self) -> dict[str, Any]:
        values: dict[str, Any] = {"preset": self.preset}
        for layer in self.layers:
            for key, value in layer.items():
                values[key] = {**values.get(key, {}), **value} if key in _NESTED else value
        # A format that was chosen over a preset's float32 need not be able to hold it.
        if values.get("format") == "flac" and self.rank("bit_depth") < self.rank("format"):
            values["bit_depth"] = 24 if values.get("bit_depth") == "float32" else values.get("bit_depth", 24)
        return values


def read_rules(raw: Mapping[str, Any], base: Path, homes: Mapping[str, str], *, local_models: bool) -> Rules:
    """Read every [[rule]]. base: the folder that relative paths begin at."""
    found = Rules([], [], [])
    defaults, wrong = _table(raw.get("defaults", {}), ("defaults",), homes, base, absent=frozenset(_NEEDED))
    found.mistakes += wrong
    for n, table in enumerate(_list(raw, found.mistakes)):
        own, wrong = _table(table, ("rule", n), homes, base)
        missing = [key for key in _NEEDED if isinstance(table, dict) and key not in table]
        found.mistakes += [*wrong, *((("rule", n), f"lacks {key}", f"add {_EXAMPLES[key]}") for key in missing)]
        keys = _Keys(own, defaults)
        rule = _rule(keys)
        bad = {str(place[2]) for place, _, _ in wrong if len(place) > 2} | {  # noqa: PLR2004 - ("rule", n, key)
            str(place[1]) for place, _, _ in found.mistakes if place[0] == "defaults" and len(place) > 1
        }
        found.mistakes += _whole(rule, keys, n, bad, local_models=local_models)
        found.remarks += _remarks(rule, keys, n, local_models=local_models)
        found.placed.append((n, rule))
    found.mistakes += _same_names(found.placed)
    return found


def _list(raw: Mapping[str, Any], mistakes: list[Mistake]) -> list[Any]:
    rules = raw.get("rule", [])
    if isinstance(rules, dict):
        mistakes.append((("rule",), "is one table, but there may be many", "write [[rule]] with two brackets"))
        return [rules]
    if not isinstance(rules, list):
        mistakes.append((("rule",), f"must be tables, not {shown(rules)}", "begin every rule with [[rule]]"))
        return []
    if not rules:
        mistakes.append(
            (("rule",), "is missing: there is nothing to watch", "add [[rule]] with name, inbox and outbox")
        )
    return rules


def _table(
    table: Any, place: Place, homes: Mapping[str, str], base: Path, absent: frozenset[str] = frozenset()
) -> tuple[dict[str, Any], list[Mistake]]:
    """Check the keys of a [[rule]] or of [defaults] one by one; folders become absolute."""
    if isinstance(table, dict) and table.get("stems") == "all":
        table = {**table, "stems": ["all"]}
    homes = {key: home for key, home in homes.items() if key not in RULE_HOMES}
    if absent:
        homes |= dict.fromkeys(absent, "every [[rule]] has its own")
    values, mistakes = tables.check(Rule, table, place, homes, absent)
    for key in {"inbox", "outbox", *OWN_FOLDERS} & values.keys():
        try:
            values[key] = tables.absolute(values[key], base)
        except ValueError as error:
            mistakes.append(((*place, key), str(error), tables.FOLDER))
            del values[key]
    return values, mistakes


def _rule(keys: _Keys) -> Rule:
    """Make the rule. What it lacks is empty: an incomplete rule is still checked, to tell all mistakes at once."""
    values: dict[str, Any] = {"name": "", "inbox": Path(), "outbox": Path(), **keys.merged()}
    for key, folder in OWN_FOLDERS.items():
        values.setdefault(key, values["inbox"] / folder)
    for key in _NESTED:
        values[key] = tables.nested(Rule, key)(**values.get(key, {}))
    return Rule(**values)


def _whole(rule: Rule, keys: _Keys, n: int, bad: set[str], *, local_models: bool) -> Iterator[Mistake]:
    """Check what no single key can tell; keys that are wrong already are not blamed twice."""
    if not {"stems", "model"} & bad:
        for message, suggestion in sound.stems(rule, local_models=local_models):
            yield _place(keys, n, "stems"), message, suggestion
    if not {"names", "stems"} & bad:
        several = rule.format != "stem.m4a" and (len(rule.stems) > 1 or rule.stems == ("all",))
        for message, suggestion in names.mistakes(rule.names, several=several):
            yield _place(keys, n, "names"), message, suggestion
    for key, message, suggestion in sound.delivery(rule):
        if not {"format", key} & bad:
            yield _place(keys, n, key), message, suggestion
    yield from _texts(rule, keys, n)


def _texts(rule: Rule, keys: _Keys, n: int) -> Iterator[Mistake]:
    """Check texts that must be more than texts."""
    if rule.name and ("/" in rule.name or rule.name[0] in ". " or not rule.name.isprintable()):
        yield ("rule", n, "name"), f"{shown(rule.name)} cannot be a rule's name", "letters, digits, spaces, - and _"
    for key in ("include", "exclude"):
        if not all(getattr(rule, key)):
            yield _place(keys, n, key), "holds an empty pattern, which matches nothing", 'for example ["*.wav"]'
    if not rule.include:
        yield _place(keys, n, "include"), "is empty: no file would ever match", 'write include = ["*"]'
    if rule.hook.delivered:
        program, place = rule.hook.delivered[0], (*_place(keys, n, "hook"), "delivered")
        if not program:
            yield place, "names no program", 'for example ["/usr/local/bin/tell", "me"]'
        elif "/" in program and not program.startswith("/"):
            yield place, f"{shown(program)} is only part of a path", "write the whole path, or the program's name alone"


def _remarks(rule: Rule, keys: _Keys, n: int, *, local_models: bool) -> Iterator[Mistake]:
    for key, message, suggestion in sound.remarks(rule, frozenset(keys.own), local_models=local_models):
        yield _place(keys, n, key), message, suggestion


def _place(keys: _Keys, n: int, key: str) -> Place:
    """Where the value in force was written: the rule itself unless [defaults] decided."""
    decided = keys.rank(key)
    return ("defaults", key) if decided >= 0 and keys.layers[decided] is keys.defaults else ("rule", n, key)


def _same_names(placed: list[tuple[int, Rule]]) -> Iterator[Mistake]:
    seen: dict[str, int] = {}
    for n, rule in placed:
        if rule.name and rule.name in seen:
            yield ("rule", n, "name"), f"{rule.name!r} is rule[{seen[rule.name]}]'s name too", "give every rule its own"
        seen.setdefault(rule.name, n)
