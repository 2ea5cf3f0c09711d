"""`stemd review`: what a person should hear before it is used, and the decisions about it."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from stemd.commands.ask import JobOrPath
from stemd.commands.common import AsJson, ConfigPath, ask, clock, find_job, ledger_of, readable
from stemd.ledger import jobs
from stemd.model import Stage, Status
from stemd.status import full

app = typer.Typer(no_args_is_help=True, help="Results that wait for a listener.")


@app.command("list")
def list_(config: ConfigPath = None, as_json: AsJson = False) -> None:
    """List what waits for a listener, oldest first."""
    with ledger_of(config) as (_, ledger):
        held = [job for job in jobs.select(ledger, statuses=(Status.HELD,)) if job.stage is Stage.DELIVER]
        if as_json:
            typer.echo(json.dumps([full(ledger, job) for job in held], indent=1))
            return
    for job in held:
        typer.echo(f"{job.id:>5}  {clock(job.changed)}  {job.rule}: {readable(job.name)}")
        for reason in job.reasons:
            typer.echo(f"       {reason}")
    if not held:
        typer.echo("nothing waits for a review")


@app.command()
def show(job: JobOrPath, config: ConfigPath = None, as_json: AsJson = False) -> None:
    """Show why a job is held and where its stems are to be heard."""
    with ledger_of(config) as (_, ledger):
        found = full(ledger, find_job(ledger, job))
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    typer.echo(f"job {found['job']}, {found['rule']}: {readable(found['name'])} is {found['status']}")
    for reason in found["reasons"]:
        typer.echo(f"  {reason}")
    for file in found["artifacts"]:
        typer.echo(f"  listen: {readable(file['path'])}")


@app.command()
def approve(job: JobOrPath, config: ConfigPath = None) -> None:
    """Let the stems go to the outbox."""
    typer.echo(ask(config, "approve", job))


@app.command()
def reject(
    job: JobOrPath,
    config: ConfigPath = None,
    reason: Annotated[str, typer.Option("--reason", help="Goes beside the source into the failed folder.")] = "",
) -> None:
    """Put the source aside in the failed folder."""
    typer.echo(ask(config, "reject", job, {"reason": reason}))
