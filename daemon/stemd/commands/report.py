"""`stemd report`: what became of the work since some moment."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from stemd.commands.common import AsJson, ConfigPath, ledger_of
from stemd.errors import StemdError

Since = Annotated[
    str,
    typer.Option("--since", "-s", help='"yesterday" (its midnight), "today", 12h, 7d, or a time: 2026-11-21T22:00.'),
]
Html = Annotated[
    Path | None, typer.Option("--html", help="Write a page to this file too.", metavar="FILE", show_default=False)
]


def report(config: ConfigPath = None, since: Since = "yesterday", as_json: AsJson = False, html: Html = None) -> None:
    """Tell what was done, what failed and why, what waits for a listener, how fast it went, and what the disks hold."""
    from stemd.report import beginning, gather, page, text  # noqa: PLC0415 - only this command draws pages

    now = time.time()
    begin = beginning(since, now)
    with ledger_of(config) as (settings, ledger):
        found = gather(settings, ledger, begin, now)
    if html is not None:
        _write(html, page(found))
    typer.echo(json.dumps(asdict(found), indent=1) if as_json else text(found))


def _write(path: Path, content: str) -> None:
    """Write a file, whole or not at all. Raises StemdError "cannot-write"."""
    if path.is_dir():
        raise StemdError("cannot-write", f"{path} is a folder", "name a file in it, such as report.html")
    fresh = path.with_name(f".{path.name}.part")
    try:
        fresh.write_text(content, encoding="utf-8")
        fresh.replace(path)
    except OSError as fault:
        raise StemdError(
            "cannot-write", f"{path} cannot be written: {fault.strerror}", "name a file in a folder of yours"
        ) from fault
