"""`stemd review`: what a person should hear before it is used, and the decisions about it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stemd.commands.ask import JobOrPath
from stemd.commands.common import AsJson, ConfigPath, ask, clock, ledger_of
from stemd.commands.lookup import find_job
from stemd.commands.models import asked as ask_engine
from stemd.errors import StemdError
from stemd.files.names import readable
from stemd.flow import made_with, reviewable, why_held
from stemd.ledger import facts, jobs, locked, requests
from stemd.model.presets import PRESETS
from stemd.status import full

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stemd.config import Settings
    from stemd.model import Artifact, Job

app = typer.Typer(no_args_is_help=True, help="Results that wait for a listener.")

ResultNumber = Annotated[
    int | None, typer.Option("--result", "-n", help="Which of its results; see: stemd review show.", show_default=False)
]


@app.command("list")
def list_(config: ConfigPath = None, as_json: AsJson = False) -> None:
    """List what waits for a listener, oldest first."""
    with ledger_of(config) as (_, ledger):
        held = jobs.held(ledger, for_review=True)
        if as_json:
            typer.echo(json.dumps([full(ledger, job) for job in held], indent=1))
            return
    for job in held:
        typer.echo(f"{job.id:>5}  {clock(job.changed)}  {job.rule}: {readable(job.name)}")
        for reason in job.reasons or (job.reason,):
            typer.echo(f"       {reason}")
    if not held:
        typer.echo("nothing waits for a review")


@app.command()
def show(job: JobOrPath, config: ConfigPath = None, as_json: AsJson = False) -> None:
    """Show why a job is held and where its stems are to be heard, result by result."""
    with ledger_of(config) as (settings, ledger):
        found = find_job(settings, ledger, job)
        files = facts.artifacts(ledger, found.id)
        told = full(ledger, found)
    if as_json:
        typer.echo(json.dumps(told, indent=1))
        return
    typer.echo(f"job {found.id}, {found.rule}: {readable(found.name)} is {found.status}")
    for line in _results(found, files):
        typer.echo(line)


def _results(job: Job, files: list[Artifact]) -> Iterator[str]:
    for result in job.results:
        if job.others:
            yield f"  result {result.number}, {made_with(result)}: {why_held(result)}"
        yield from (f"  {reason}" for reason in result.reasons if not job.others)
        yield from (f"  listen: {readable(file.path)}" for file in files if file.result == result.number)


@app.command()
def approve(job: JobOrPath, config: ConfigPath = None, result: ResultNumber = None) -> None:
    """Let the stems go to the outbox; of several results the newest, unless told."""
    typer.echo(_decide(config, "approve", job, {"result": result} if result else {}))


@app.command()
def reject(
    job: JobOrPath,
    config: ConfigPath = None,
    reason: Annotated[str, typer.Option("--reason", help="Goes beside the source into the failed folder.")] = "",
) -> None:
    """Put the source aside in the failed folder."""
    typer.echo(_decide(config, "reject", job, {"reason": reason}))


@app.command()
def rerun(
    job: JobOrPath,
    config: ConfigPath = None,
    preset: Annotated[str, typer.Option("--preset", help=f"How: {', '.join(PRESETS)}.")] = "best",
    model: Annotated[str, typer.Option("--model", help="Another model than the preset's.", show_default=False)] = "",
) -> None:
    """Separate once more with another preset, and keep both results in the review folder to compare."""
    if preset not in PRESETS:
        raise typer.BadParameter(f"give one of {', '.join(PRESETS)}", param_hint="--preset")
    with ledger_of(config) as (settings, ledger):
        reviewable(find_job(settings, ledger, job))
        if not locked(settings.daemon.state_dir):  # a daemon looks itself, where it keeps its models
            _check_model(settings, model or str(PRESETS[preset]["model"]))  # type: ignore[index] # checked above
    typer.echo(_decide(config, "rerun", job, {"preset": preset, "model": model}))


def _check_model(settings: Settings, model: str) -> None:
    """Raise StemdError "model-missing" rather than let the listener wait for a model that is not on this machine."""
    here = ask_engine({"do": "list", "models": str(settings.daemon.models or "")})["models"]
    if not any(known["name"] == model and known["here"] for known in here):
        raise StemdError(
            "model-missing", f"the model {model} is not on this machine",
            f"fetch it: stemd models fetch {model}, or choose another with --preset or --model",
        )  # fmt: skip


def _decide(config: ConfigPath, verb: str, job: str, details: dict[str, Any]) -> str:
    """Leave the decision for the daemon, unless it does not apply (any more). Raises StemdError "not-now"."""
    with ledger_of(config) as (settings, ledger):
        found = reviewable(find_job(settings, ledger, job))
        asked = requests.unanswered_for(ledger, found.id)
    if asked is not None:
        raise StemdError(
            "not-now", f"{asked.who} has asked to {asked.verb} job {found.id} already; the daemon has not answered yet",
            "start it, if it is not running: stemd run",
        )  # fmt: skip
    return ask(config, verb, str(found.id), details)
