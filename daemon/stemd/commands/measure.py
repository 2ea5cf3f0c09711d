"""`stemd measure`: the quality of stems from any tool. A child process measures; this only asks and shows."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Annotated, Any, Final, get_args

import typer

from stemd.children import Worker
from stemd.commands.common import ConfigPath
from stemd.errors import StemdError
from stemd.model.rule import Metric, Thresholds

_BLEED_DB: Final = Thresholds().bleed_db


def measure(  # noqa: PLR0917 - a command has as many parameters as options
    mix: Annotated[Path, typer.Argument(help="The recording that was separated.")],
    vocals: Annotated[Path | None, typer.Option("--vocals", help="The vocal stem.")] = None,
    accompaniment: Annotated[Path | None, typer.Option("--accompaniment", help="The stem without vocals.")] = None,
    stem: Annotated[list[str] | None, typer.Option("--stem", help="A further stem as NAME=PATH; repeatable.")] = None,
    threshold: Annotated[float, typer.Option("--bleed-db", help="Louder bleed is flagged, dB.")] = _BLEED_DB,
    ignore: Annotated[
        list[str] | None, typer.Option("--ignore", help="A flag not to raise, such as clipping; repeatable.")
    ] = None,
    picture: Annotated[Path | None, typer.Option("--picture", help="Draw the findings into this PNG file.")] = None,
    report: Annotated[Path | None, typer.Option("--report", help="A folder for quality.json and quality.png.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    _config: ConfigPath = None,
) -> None:
    """Measure stems from any tool: levels, faults, and vocal bleed with the seconds where it is heard."""
    question = asked(mix, vocals, accompaniment, stem or [], picture, report, threshold) | {
        "ignore": _flags(ignore or [])
    }
    worker = Worker("stemd.quality", "quality check")
    try:
        answer = worker.ask(question, stop=threading.Event(), on_progress=_bar(quiet=as_json))
    finally:
        worker.kill()
    typer.echo(json.dumps(answer, indent=1) if as_json else shown(answer))


def asked(
    mix: Path,
    vocals: Path | None,
    accompaniment: Path | None,
    others: list[str],
    picture: Path | None,
    report: Path | None,
    bleed_db: float,
) -> dict[str, Any]:
    """Build the child's request. Raises StemdError "usage" for stems that are not given as NAME=PATH, or for none."""
    stems = _others(others)
    if vocals is not None:
        stems["vocals"] = _whole(vocals)
    if accompaniment is not None:
        stems["no_vocals"] = _whole(accompaniment)
    if not stems:
        raise StemdError("usage", "there is nothing to measure", "Give --vocals and --accompaniment, or --stem.")
    return {
        "do": "measure",
        "mix": _whole(mix),
        "stems": stems,
        "vocals": "vocals" if "vocals" in stems else None,
        "accompaniment": "no_vocals" if accompaniment is not None else None,
        "thresholds": {"bleed_db": bleed_db},
        "picture": _whole(picture) if picture is not None else None,
        "report": _whole(report) if report is not None else None,
        "title": os.fsencode(mix.stem).decode("utf-8", "replace"),
    }


def shown(answer: dict[str, Any]) -> str:
    """Say for a person what was found."""
    lines = [f"{answer['verdict'].upper()}: {answer['title']}, {answer['seconds']:.1f} s"]
    if answer["vocals"] is not None:
        lines.append(
            f"vocal in {answer['accompaniment'] or 'the rest'}: {_db(answer['bleed_db'])} relative to the vocal"
        )
    if answer["null_of"]:
        lines.append(f"mix minus stems: {_db(answer['null_db'])} relative to the mix")
    lines.append(f"{'stem':<12}{'RMS dBFS':>10}{'peak':>8}{'true peak':>11}")
    for name, stem in answer["stems"].items():
        figures = (_figure(stem["rms_db"]), _figure(stem["peak_db"]), _figure(stem["true_peak_db"]))
        lines.append(f"{name:<12}{figures[0]:>10}{figures[1]:>8}{figures[2]:>11}")
    lines.extend(f"- {flag['text']}" for flag in answer["flags"])
    return "\n".join(lines)


def _others(given: list[str]) -> dict[str, str]:
    stems: dict[str, str] = {}
    for each in given:
        name, equals, path = each.partition("=")
        if not (name and equals and path) or name in stems:
            raise StemdError("usage", f"--stem {each}: not a new NAME=PATH", "For example --stem drums=drums.wav.")
        stems[name] = _whole(Path(path))
    return stems


def _flags(given: list[str]) -> list[str]:
    known = get_args(Metric)
    for each in given:
        if each not in known:
            raise StemdError("usage", f"--ignore: no flag is called {each!r}", f"Known: {', '.join(known)}.")
    return given


def _whole(path: Path) -> str:
    """An absolute path: the child's folder may be another one."""
    return str(Path.cwd() / path)


def _db(value: float | None) -> str:
    return "none found" if value is None else f"{value:.1f} dB"


def _figure(value: float | None) -> str:
    return "silent" if value is None else f"{value:.1f}"


def _bar(*, quiet: bool) -> Any:
    """Show progress on a terminal; stay silent in a pipe."""

    def tell(message: dict[str, Any]) -> None:
        if not quiet and sys.stderr.isatty():
            done = float(message.get("progress", 0.0))
            sys.stderr.write(f"\r{done:4.0%} measured" + ("\r\033[K" if done >= 1.0 else ""))

    return tell
