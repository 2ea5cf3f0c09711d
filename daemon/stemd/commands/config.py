"""`stemd config`: whether config.toml is right, what it amounts to, and the presets. Changes nothing."""

from __future__ import annotations

import os
import shutil
from functools import partial
from typing import TYPE_CHECKING, Final

import typer

from stemd import patience
from stemd.commands.common import ConfigPath, settings_of
from stemd.config import find, made_by_daemon, read
from stemd.config.written import as_toml, literal
from stemd.model.presets import PRESETS, PURPOSES
from stemd.mounts import filesystem, not_mounted, unmounted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from stemd.config import Settings
    from stemd.model import Rule

_PATIENCE: Final = 5.0  # seconds: a sleeping disk wakes in them
app = typer.Typer(no_args_is_help=True, help="Check and show the configuration.")


@app.command()
def check(config: ConfigPath = None) -> None:
    """Say every mistake in the configuration at once; or what its rules do, and what is worth a word."""
    reading = read(find(config))
    settings = reading.settings
    count = "1 rule" if len(settings.rules) == 1 else f"{len(settings.rules)} rules"
    typer.echo(f"{settings.path}: all right, {count}")
    for rule in settings.rules:
        typer.echo(_described(rule))
    for remark in reading.remarks:
        typer.echo(f"note: {remark}")
    for warning in warnings(settings):
        typer.echo(f"warning: {warning}")


@app.command()
def show(config: ConfigPath = None) -> None:
    """Print the settings in force, with presets and defaults filled in, as a config.toml."""
    typer.echo(as_toml(settings_of(config)), nl=False)


@app.command()
def presets(_config: ConfigPath = None) -> None:
    """Print the presets and the keys that each sets; a rule's own key wins."""
    for name, keys in PRESETS.items():
        typer.echo(f"{name}: {PURPOSES[name]}")
        typer.echo("".join(f"  {key} = {literal(value)}\n" for key, value in keys.items()))


def warnings(settings: Settings) -> Iterator[str]:
    """Say what of the outside world would keep rules from working at present."""
    home = settings.path.parent
    told = patience.ask({rule.name: partial(_folders, rule, home) for rule in settings.rules}, _PATIENCE)
    for rule in settings.rules:
        silent = ["a folder of it does not answer: does its share hang?"]
        yield from (f'rule "{rule.name}": {text}' for text in told.get(rule.name, silent))
        if rule.hook.delivered and shutil.which(rule.hook.delivered[0]) is None:
            yield f'rule "{rule.name}": its hook {rule.hook.delivered[0]} is not there, or cannot be executed'
    if (system := filesystem(settings.daemon.state_dir)).network:
        yield f"state_dir {settings.daemon.state_dir} lies on a network share ({system.name}): choose a local disk"
    yield from _made_when_needed("state_dir", settings.daemon.state_dir)


def _folders(rule: Rule, home: Path) -> list[str]:
    away = {folder: point for folder in (rule.inbox, rule.outbox) if (point := unmounted(folder))}
    told = [f"{folder} is waited for: {not_mounted(point)}; run: mount {point}" for folder, point in away.items()]
    inbox = [] if rule.inbox in away else _inbox(rule.inbox, home)
    outbox = [] if rule.outbox in away else _made_when_needed("outbox", rule.outbox)
    return [*told, *inbox, *outbox]


def _inbox(inbox: Path, home: Path) -> Iterator[str]:
    if not inbox.exists() and made_by_daemon(inbox, home):
        yield f"inbox {inbox} is not there yet; the daemon makes it when it starts"
    elif not inbox.exists():
        yield f"inbox {inbox} is not there: the rule waits for it; mount it, or make it: mkdir -p {inbox}"
    elif not inbox.is_dir():
        yield f"inbox {inbox} is not a folder"
    elif not os.access(inbox, os.R_OK | os.X_OK):
        yield f"inbox {inbox} cannot be read by this user"
    elif not os.access(inbox, os.W_OK):
        yield f"inbox {inbox} cannot be written by this user: sources stay where they are"


def _made_when_needed(what: str, folder: Path) -> Iterator[str]:
    """A folder that is missing is made later, if the folder above it allows it."""
    present = next(place for place in (folder, *folder.parents) if place.exists())
    if not present.is_dir():
        yield f"{what} {folder}: {present} is not a folder"
    elif not os.access(present, os.W_OK | os.X_OK):
        yield f"{what} {folder} cannot be written by this user"


def _described(rule: Rule) -> str:
    """Say what a rule does, on a few lines."""
    stems = "all stems" if rule.stems == ("all",) else ", ".join(rule.stems)
    depth = f", {rule.bit_depth} bit" if isinstance(rule.bit_depth, int) else ", float32"
    figures = depth if rule.format in {"wav", "flac"} else f", {rule.bitrate} kbit/s"
    return (
        f'  rule "{rule.name}" (preset {rule.preset})\n'
        f"    from {rule.inbox}\n"
        f"    to   {rule.outbox}, as {rule.names}\n"
        f"    {stems} by {rule.model}, shifts {rule.shifts}, overlap {rule.overlap:g}; {rule.format}{figures}\n"
        f"    bleed above {rule.quality.bleed_db:g} dB: {rule.quality.on_flag}; source afterwards: {rule.source}"
    )
