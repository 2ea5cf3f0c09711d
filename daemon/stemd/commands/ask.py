"""Commands that ask something of the daemon: retry, redeliver, cancel, pause, resume. They only leave requests."""

from __future__ import annotations

from typing import Annotated

import typer

from stemd.commands.common import ConfigPath, ask

JobOrPath = Annotated[str, typer.Argument(metavar="JOB", help="The job's number, or its file.")]


def retry(job: JobOrPath, config: ConfigPath = None) -> None:
    """Try a failed, cancelled, held or waiting job again from the beginning."""
    typer.echo(ask(config, "retry", job))


def redeliver(job: JobOrPath, config: ConfigPath = None) -> None:
    """Make the files of a delivered recording once more from the stems that are kept, as its rule wants them now."""
    typer.echo(ask(config, "redeliver", job))


def cancel(job: JobOrPath, config: ConfigPath = None) -> None:
    """End a job; its source stays where it is."""
    typer.echo(ask(config, "cancel", job))


def pause(config: ConfigPath = None) -> None:
    """Start nothing new until `stemd resume`, also over restarts."""
    typer.echo(ask(config, "pause"))


def resume(config: ConfigPath = None) -> None:
    """Go on after `stemd pause`."""
    typer.echo(ask(config, "resume"))
