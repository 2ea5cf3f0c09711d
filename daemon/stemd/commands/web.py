"""`stemd web`: the review pages."""

from __future__ import annotations

from typing import Annotated

import typer

from stemd import log
from stemd.commands.common import ConfigPath, settings_of


def web(
    config: ConfigPath = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on; any but this machine's needs a token.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option("--port", "-p", help="0: any that is free.", min=0, max=65535)] = 8340,
    token: Annotated[
        str, typer.Option("--token", envvar="STEMD_WEB_TOKEN", help="Asked for before anything is shown.")
    ] = "",
) -> None:
    """Serve the queue, each job's story and the review pages, until Ctrl-C."""
    from stemd.web import Rules, Studio, serve  # noqa: PLC0415 - only this command needs a web server

    log.set_up()
    settings = settings_of(config)
    serve(Studio(settings.daemon.state_dir, Rules(settings), token), host, port)
