"""`stemd submit`: puts a file into a rule's inbox, whole at once, so that it arrives like any other."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stemd.commands.common import ConfigPath, settings_of
from stemd.config import made_by_daemon
from stemd.errors import EnvironmentFault, StemdError
from stemd.files import copy_hashing, rename_noreplace, sync_folder
from stemd.files.marker import set_ready
from stemd.files.names import numbered, readable
from stemd.files.wanted import ignored, wanted
from stemd.ledger.store import path_of
from stemd.model import Rule

if TYPE_CHECKING:
    from stemd.config import Settings


def submit(
    file: Annotated[Path, typer.Argument(help="The recording; it is copied and stays where it is.")],
    rule: Annotated[str, typer.Option("--rule", "-r", help="The rule whose inbox it goes to.")],
    config: ConfigPath = None,
) -> None:
    """Copy a recording into a rule's inbox."""
    settings = settings_of(config)
    found = settings.rule(rule)
    if found is None:
        names = ", ".join(known.name for known in settings.rules)
        raise StemdError("no-such-rule", f'there is no rule "{rule}"', f"the rules are: {names}")
    check_name(file.name, found)
    try:
        placed = place(file, found.inbox)
    except EnvironmentFault as fault:
        raise StemdError(fault.code, fault.message, _advice(fault, settings, found.inbox)) from fault
    if found.ready == "marker":
        set_ready(placed)
    when = "at once" if found.ready == "marker" else "once it has settled"
    typer.echo(f"{readable(str(placed))}: it is taken {when}; follow it with: stemd why")


def _advice(fault: EnvironmentFault, settings: Settings, inbox: Path) -> str:
    """Say what to do: there is no job that resumes, and before its first start the daemon has made no inbox."""
    first = not path_of(settings.daemon.state_dir).exists() and made_by_daemon(inbox, settings.path.parent)
    if fault.code == "inbox-missing" and first:
        return "start the daemon once: stemd run; then submit it again"
    return f"{fault.hint.rpartition('; ')[0]}; then submit it again"


def check_name(name: str, rule: Rule) -> None:
    """Refuse a name that the rule would leave lying in its inbox. Raises StemdError "not-taken"."""
    if ignored(os.fsencode(name)):
        raise StemdError(
            "not-taken", f"{readable(name)} would never be taken: hidden and unfinished files have such names",
            "submit it under another name",
        )  # fmt: skip
    if not wanted(os.fsencode(name), rule):
        raise StemdError(
            "not-taken", f'rule "{rule.name}" takes no file named {readable(name)} for a recording',
            "see its include and exclude; lyrics, markers and papers of albums are saved beside their recording",
        )  # fmt: skip


def place(file: Path, inbox: Path) -> Path:
    """Copy a file into an inbox under a name that is free, visible only when whole. Returns where it is now.

    Raises StemdError "unreadable", EnvironmentFault "inbox-missing" and its like.
    """
    unfinished = inbox / f".stemd-submit-{os.getpid()}.tmp"
    try:
        with file.open("rb") as source:
            copy_hashing(source.fileno(), unfinished, place="inbox")
    except OSError as error:
        raise StemdError(
            "unreadable", f"{file} cannot be read: {error.strerror}", "check its name and rights"
        ) from error
    number = 1
    while True:
        target = inbox / numbered(file.name, number, folder=False)
        try:
            rename_noreplace(unfinished, target)
        except FileExistsError:
            number += 1
        else:
            sync_folder(inbox)
            return target
