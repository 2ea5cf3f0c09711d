"""The template of file names (`names`): which fields it may have and what makes it safe. Pure."""

from __future__ import annotations

from string import Formatter

from stemd.config.problems import did_you_mean

FIELDS = ("track", "stem", "ext", "model", "rule", "date", "parent")
"""What a rule's `names` template may hold.

{track}: the source's name without its extension. {stem}: "vocals", "no_vocals", .. {ext}: the format's extension.
{model}, {rule}: as in config.toml. {date}: day on which the job began, as 2026-11-22. {parent}: the source's folder
below the inbox; alone between slashes it stands for all folders, elsewhere for the innermost.
"""
_KNOWN = "the fields are " + " ".join(f"{{{field}}}" for field in FIELDS)
_EXAMPLE = 'for example "{track}/{stem}.{ext}"'


def mistakes(template: str, *, several: bool) -> list[tuple[str, str]]:
    """Say what is wrong with a template and what to write instead. several: more than one stem may be written."""
    try:
        parsed = list(Formatter().parse(template))
    except ValueError as error:
        return [(f"{error}", f"write {{ and }} around a field's name, {_EXAMPLE}")]
    found = [mistake for _, field, form, conversion in parsed for mistake in _field(field, form, conversion)]
    if several and "stem" not in {field for _, field, _, _ in parsed}:
        found.append(("lacks {stem}: the stems of a track would all have one name", _EXAMPLE))
    return found + _path(template)


def _field(field: str | None, form: str | None, conversion: str | None) -> list[tuple[str, str]]:
    if field is None:
        return []
    if field not in FIELDS:
        return [(f"has an unknown field {{{field}}}", did_you_mean(field, FIELDS, _KNOWN))]
    if form or conversion:
        return [(f"formats {{{field}}}, which is not possible", f"write just {{{field}}}")]
    return []


def _path(template: str) -> list[tuple[str, str]]:
    """It must name a place below the outbox, visible and legal on other systems."""
    parts = template.split("/")
    if template.startswith(("/", "~")):
        return [("begins outside the outbox", f"write it from the outbox on, {_EXAMPLE}")]
    if ".." in parts or "." in parts or "" in parts:
        return [("has an empty, '.' or '..' part", f"write folder/file, {_EXAMPLE}")]
    if any(part.startswith(".") for part in parts):
        return [("makes hidden files", f"begin no part with a dot, {_EXAMPLE}")]
    if "\\" in template or any(not char.isprintable() for char in template):
        return [("has a backslash or an unprintable character", f"separate folders by '/', {_EXAMPLE}")]
    return []
