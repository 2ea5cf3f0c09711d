"""The files that an installation writes from answers: config.toml, and drop-ins for its folders. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from installing.steps import CannotGoOn

if TYPE_CHECKING:
    from collections.abc import Sequence

_HIDDEN = ("/home/", "/root/", "/run/user/")
"""Below these nothing is visible to the services (ProtectHome=tmpfs), so that a folder there is bound in."""

_MADE = ("work", "results", "models")
"""What the daemon alone writes in its state folder."""


def configuration(*, name: str, inbox: str, outbox: str, preset: str, model: str, state: str) -> str:
    """A short config.toml; /opt/stemd/config.example.toml explains every key."""
    choice = f"model = {_toml(model)}" if model else '# model = "htdemucs"'
    return f"""\
# stemd's configuration. /opt/stemd/config.example.toml explains every key.
# After a change: stemd config check, then systemctl reload stemd. After a change of folders: scripts/install again.

[daemon]
state_dir = {_toml(state)}

[[rule]]
name = {_toml(name)}
inbox = {_toml(inbox)}
outbox = {_toml(outbox)}
preset = {_toml(preset)}
{choice}
"""


def drop_in(folders: Sequence[str], state: str = "") -> str:
    """What the daemon's unit is given: the folders open, and what lies inside another of them only with that one.

    `-` before a path: the service starts although a folder is missing because its share is not mounted.
    state: that among them without which it does not start, if it lies elsewhere than the unit says.
    """
    return _drop_in(state, [_opened(folder) for folder in _outermost(folders)])


def reading_drop_in(state: str, shown: Sequence[str] = ()) -> str:
    """What a unit is given that only reads what the daemon has made; "" where it needs nothing.

    state: a state folder elsewhere than the unit says, in which it may write the ledger. shown: folders to be seen.
    """
    opened = [_opened(state), *(_line("ReadOnlyPaths", f"{state}/{made}") for made in _MADE)] if state else []
    hidden = [_line("BindReadOnlyPaths", folder) for folder in _outermost(shown) if folder.startswith(_HIDDEN)]
    return _drop_in(state, [*opened, *hidden]) if opened or hidden else ""


def _drop_in(state: str, lines: Sequence[str]) -> str:
    head = ["# Made by scripts/install from the configuration's folders; run it again after changing them."]
    unit = ["[Unit]", _line("RequiresMountsFor", state, missing="")] if state else []
    return "\n".join([*head, *unit, "[Service]", *lines]) + "\n"


def _outermost(folders: Sequence[str]) -> list[str]:
    inside = {folder for folder in folders for other in folders if folder.startswith(other.rstrip("/") + "/")}
    return [folder for folder in dict.fromkeys(folders) if folder not in inside]


def _opened(folder: str) -> str:
    return _line("BindPaths" if folder.startswith(_HIDDEN) else "ReadWritePaths", folder)


def _line(key: str, folder: str, missing: str = "-") -> str:
    """One path for systemd. missing: what stands before one that need not be there."""
    if any(char in folder for char in '"\\\n' + (":" if key.startswith("Bind") else "")):
        message = (
            f"{folder}: such a name cannot be written for systemd; use a folder without quotes, backslash or colon"
        )
        raise CannotGoOn(message)
    return f'{key}="{missing}{folder.replace("%", "%%")}"'


def _toml(text: str) -> str:
    """A TOML text: JSON's escapes are TOML's, but for characters beyond the basic plane, which stand for themselves."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
