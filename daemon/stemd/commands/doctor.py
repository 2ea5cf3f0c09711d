"""`stemd doctor`: whether this machine is fit for stemd."""

from __future__ import annotations

import json
from dataclasses import asdict

import typer

from stemd.commands.common import AsJson, ConfigPath
from stemd.config import find
from stemd.doctor import Finding, Level, examine, verdict

_SIGNS = {Level.OK: "ok     ", Level.WARNING: "warning", Level.PROBLEM: "problem"}
_COLOURS = {Level.OK: "green", Level.WARNING: "yellow", Level.PROBLEM: "red"}


def doctor(config: ConfigPath = None, as_json: AsJson = False) -> None:
    """Examine programs, GPU, memory, folders, models and the service; say what to do about each problem.

    Exits with 1 when there is a problem; warnings do not count.
    """
    findings: list[Finding] = []
    for finding in examine(lambda: find(config)):
        findings.append(finding)
        if not as_json:
            _print(finding)
    worst = verdict(findings)
    if as_json:
        typer.echo(json.dumps({"verdict": worst, "findings": [asdict(finding) for finding in findings]}, indent=1))
    else:
        counts = {level: sum(finding.level is level for finding in findings) for level in Level}
        typer.echo(f"{counts[Level.PROBLEM]} problems, {counts[Level.WARNING]} warnings")
    if worst is Level.PROBLEM:
        raise typer.Exit(1)


def _print(finding: Finding) -> None:
    sign = typer.style(_SIGNS[finding.level], fg=_COLOURS[finding.level])
    typer.echo(f"{sign}  {finding.area}: {finding.text}")
    if finding.advice:
        typer.echo(f"         -> {finding.advice}")
