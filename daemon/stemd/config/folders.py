"""Which folders may lie inside which. Symbolic links are followed, unless a share hangs; nothing is opened."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Final

from stemd import patience
from stemd.model import OWN_FOLDERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from stemd.config.tables import Mistake
    from stemd.model import Rule

_PATIENCE: Final = 5.0
"""Seconds for all folders together: a sleeping disk wakes in them. A share that hangs on keeps its links unfollowed."""


def overlaps(rules: Sequence[tuple[int, Rule]], state_dir: Path, models: Path | None) -> Iterator[Mistake]:
    """Say which folders would feed the daemon its own work. rules: with their places in the file."""
    named = {(n, key): getattr(rule, key) for n, rule in rules for key in ("inbox", "outbox", *OWN_FOLDERS)}
    links_followed = _followed({state_dir, *named.values(), *([models] if models else [])})
    real = {place: links_followed[folder] for place, folder in named.items()}
    for n, rule in rules:
        for m, other in rules:
            if m < n:
                yield from _inboxes(n, m, other, real)
            yield from _outbox(n, m, other, real)
            yield from _own(n, rule, m, other, real)
        yield from _in_disguise(n, rule, real)
    yield from _daemon_folder("state_dir", links_followed[state_dir], rules, real)
    if models is not None:
        yield from _daemon_folder("models", links_followed[models], rules, real)


def _inboxes(n: int, m: int, other: Rule, real: dict[tuple[int, str], str]) -> Iterator[Mistake]:
    mine, theirs = real[n, "inbox"], real[m, "inbox"]
    if relation := _relation(mine, theirs):
        yield (
            ("rule", n, "inbox"),
            f"{relation} the inbox of rule {_quoted(other)}: a file would be taken twice",
            "give every rule an inbox of its own, side by side",
        )


def _outbox(n: int, m: int, other: Rule, real: dict[tuple[int, str], str]) -> Iterator[Mistake]:
    if relation := _relation(real[n, "outbox"], real[m, "inbox"]):
        whose = "the rule's own inbox" if n == m else f"the inbox of rule {_quoted(other)}"
        yield (
            ("rule", n, "outbox"),
            f"{relation} {whose}: stems would be separated again",
            "keep inboxes and outboxes apart, for example .../in and .../out",
        )


def _own(n: int, rule: Rule, m: int, other: Rule, real: dict[tuple[int, str], str]) -> Iterator[Mistake]:
    """Review, failed and archive may lie inside the rule's own inbox, nowhere else that is watched or delivered to."""
    for key, name in OWN_FOLDERS.items():
        if getattr(rule, key) == rule.inbox / name:
            continue  # the default: if it is wrong, the inbox is, and that is told
        place = ("rule", n, key)
        mine = real[n, key]
        example = f'for example "{rule.inbox}/{name}"'
        whose = "the rule's own" if n == m else f'"{other.name}"\'s'
        if relation := _relation(mine, real[m, "outbox"]):
            yield place, f"{relation} {whose} outbox, which holds only what is good", example
        inbox = real[m, "inbox"]
        relation = _relation(mine, inbox)
        if relation and (n != m or not _inside(mine, inbox) or mine == inbox):
            yield place, f"{relation} {whose} inbox", example


def _in_disguise(n: int, rule: Rule, real: dict[tuple[int, str], str]) -> Iterator[Mistake]:
    """Review, failed and archive inside the inbox are told from the recordings there by their paths, as written."""
    inbox = real[n, "inbox"]
    for key in OWN_FOLDERS:
        mine = real[n, key]
        if _relation(mine, inbox) != "lies inside":
            continue
        path = rule.inbox / os.path.relpath(mine, inbox)
        if getattr(rule, key) != path:
            message = "lies inside the rule's own inbox by way of a symbolic link: what is in it would be taken as new"
            yield ("rule", n, key), message, f'write {key} = "{path}"'


def _daemon_folder(
    key: str, mine: str, rules: Sequence[tuple[int, Rule]], real: dict[tuple[int, str], str]
) -> Iterator[Mistake]:
    for n, rule in rules:
        for theirs in ("inbox", "outbox"):
            if relation := _relation(mine, real[n, theirs]):
                yield (
                    ("daemon", key),
                    f"{relation} the {theirs} of rule {_quoted(rule)}",
                    "choose a folder of the daemon's own, on a local disk",
                )


def made_by_daemon(folder: Path, home: Path) -> bool:
    """Whether the daemon makes a folder that is missing: beside the configuration's file, or in a folder that exists.

    Where more than the last folder is missing, a share is not mounted. home: the folder of the configuration's file.
    """
    return folder.parent.is_dir() or folder.is_relative_to(home)


def _followed(folders: Iterable[Path]) -> dict[Path, str]:
    """Follow the links in paths; empty for a folder that the file does not name."""
    named = {folder: os.path.normpath(folder) if folder.is_absolute() else "" for folder in folders}
    return named | patience.ask(
        {folder: partial(os.path.realpath, folder) for folder, path in named.items() if path}, _PATIENCE
    )


def _relation(mine: str, theirs: str) -> str:
    """How two real paths overlap, as a verb; empty when they do not."""
    if not mine or not theirs:
        return ""
    if mine == theirs:
        return "is"
    if _inside(mine, theirs):
        return "lies inside"
    return "contains" if _inside(theirs, mine) else ""


def _inside(inner: str, outer: str) -> bool:
    return inner == outer or inner.startswith(outer.rstrip("/") + "/")


def _quoted(rule: Rule) -> str:
    return f'"{rule.name}"'
