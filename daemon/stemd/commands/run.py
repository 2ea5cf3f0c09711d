"""`stemd run`: the daemon."""

from __future__ import annotations

from typing import Annotated

import typer

from stemd import log
from stemd.commands.common import ConfigPath, settings_of

LogFormat = Annotated[str, typer.Option("--log-format", help="auto, human, journal or json.", metavar="FORMAT")]


def run(
    config: ConfigPath = None,
    once: Annotated[bool, typer.Option("--once", help="Work until nothing is left, then end.")] = False,
    log_format: LogFormat = "auto",
    log_level: Annotated[str, typer.Option("--log-level", help="debug, info, warning or error.")] = "info",
) -> None:
    """Watch the inboxes and bring every recording back as stems.

    With --once exits with 0 when all went well, with 3 when a job failed, is held or cannot go on.
    """
    if log_format not in {"auto", "human", "journal", "json"}:
        raise typer.BadParameter("give auto, human, journal or json", param_hint="--log-format")
    if log_level not in {"debug", "info", "warning", "error"}:
        raise typer.BadParameter("give debug, info, warning or error", param_hint="--log-level")
    from stemd.service.daemon import Service  # noqa: PLC0415 - the other commands start without it

    log.set_up(log_format, log_level.upper())  # type: ignore[arg-type]  # checked above
    service = Service(settings_of(config), once=once)
    service.listen_to_signals(lambda: settings_of(config))
    raise typer.Exit(service.run())
