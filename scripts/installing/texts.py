"""The files that an installation writes from answers: config.toml, and the drop-in for the rules' folders. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from installing.steps import CannotGoOn

if TYPE_CHECKING:
    from collections.abc import Sequence

_HIDDEN = ("/home/", "/root/", "/run/user/")
"""Below these nothing is visible to the service (ProtectHome=tmpfs), so that a folder there is bound in."""


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


def drop_in(folders: Sequence[str]) -> str:
    """Open the folders, and what lies inside another of them only with that one.

    `-` before a path: the service starts although a folder is missing because its share is not mounted.
    """
    inside = {folder for folder in folders for other in folders if folder.startswith(other.rstrip("/") + "/")}
    lines = ["# Made by scripts/install from the rules' folders; run it again after changing them.", "[Service]"]
    lines += [_opened(folder) for folder in dict.fromkeys(folders) if folder not in inside]
    return "\n".join(lines) + "\n"


def _opened(folder: str) -> str:
    hidden = folder.startswith(_HIDDEN)
    if any(char in folder for char in '"\\\n' + (":" if hidden else "")):
        message = (
            f"{folder}: such a name cannot be written for systemd; use a folder without quotes, backslash or colon"
        )
        raise CannotGoOn(message)
    path = folder.replace("%", "%%")
    return f'{"BindPaths" if hidden else "ReadWritePaths"}="-{path}"'


def _toml(text: str) -> str:
    """A TOML text: JSON's escapes are TOML's, but for characters beyond the basic plane, which stand for themselves."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
