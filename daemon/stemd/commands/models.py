"""`stemd models list|fetch|verify`: which models there are, and which of them are here. The engine child does it."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stemd.children import Worker
from stemd.commands.common import AsJson, ConfigPath, settings_of
from stemd.commands.separate import bars, configured_models, interruptible
from stemd.errors import StemdError

if TYPE_CHECKING:
    from collections.abc import Callable

app = typer.Typer(no_args_is_help=True, help="Which models there are, and which are on this machine.")

Folder = Annotated[str, typer.Option("--models", help="A folder of local models, looked at first.")]
_PATIENCE = 900.0  # seconds for one file to arrive without a word in between


@app.command("list")
def list_models(config: ConfigPath = None, models: Folder = "", as_json: AsJson = False) -> None:
    """List every model that stemd can run, and where it is."""
    answer = asked({"do": "list", "models": models or configured_models(config)})["models"]
    typer.echo(json.dumps(answer, indent=1) if as_json else listed(answer))


@app.command()
def fetch(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Names from `stemd models list`, or hf://someone/model. Default: those of the rules."),
    ] = None,
    config: ConfigPath = None,
    models: Folder = "",
) -> None:
    """Fetch models from where Demucs publishes them; afterwards they work without a network."""
    folder = models or configured_models(config)
    for name in names or dict.fromkeys(rule.model for rule in settings_of(config).rules):
        with bars() as show:
            done = asked(
                {"do": "fetch", "model": name, "models": folder},
                lambda message, show=show, name=name: show(name, float(message["progress"])),  # type: ignore[misc]
            )
        typer.echo(f"{name}: {done['where']}, {done['bytes'] / 1e6:.0f} MB, sha256 {done['digest'][:16]}")


@app.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(help="Default: every model on this machine.")] = None,
    config: ConfigPath = None,
    models: Folder = "",
    as_json: AsJson = False,
) -> None:
    """Check that models are whole and load; exit code 1 if one is not."""
    folder = models or configured_models(config)
    wanted = names or [m["name"] for m in asked({"do": "list", "models": folder})["models"] if m["here"]]
    verdicts = [verdict(name, folder) for name in wanted]
    typer.echo(json.dumps(verdicts, indent=1) if as_json else "\n".join(_line(v) for v in verdicts))
    if not all(each["whole"] for each in verdicts):
        raise typer.Exit(1)


def verdict(name: str, folder: str) -> dict[str, Any]:
    """Have the engine load one model, and say whether it is whole."""
    try:
        card = asked({"do": "describe", "model": name, "models": folder})
    except StemdError as error:
        return {"name": name, "whole": False, "code": error.code, "message": error.message, "hint": error.hint}
    return {"name": name, "whole": True, "digest": card["digest"], "sources": card["sources"]}


def asked(question: dict[str, Any], on_progress: Callable[[dict[str, Any]], None] = lambda _: None) -> dict[str, Any]:
    """Put one question to an engine of its own."""
    worker = Worker("stemd.engine", "engine")
    with interruptible() as stop:
        try:
            return worker.ask(question, stop=stop, stall=_PATIENCE, on_progress=on_progress)
        finally:
            worker.kill()


def listed(models: list[dict[str, Any]]) -> str:
    """Lay the list out for a person."""
    wide = max((len(model["name"]) for model in models), default=0)
    lines = [f"{m['name']:<{wide}}  {m['where'] or '-':<14}  {m['members']} x  {_size(m['bytes'])}" for m in models]
    absent = any(not model["here"] for model in models)
    return "\n".join(lines + (["", "-: not on this machine; get it with: stemd models fetch NAME"] if absent else []))


def _size(count: int) -> str:
    return f"{count / 1e6:.0f} MB" if count else ""


def _line(each: dict[str, Any]) -> str:
    if each["whole"]:
        return f"{each['name']}: whole, {', '.join(each['sources'])}, sha256 {each['digest'][:16]}"
    return f"{each['name']}: {each['message']}\n  {each['hint']}"


if __name__ == "__main__":
    sys.exit(app())
