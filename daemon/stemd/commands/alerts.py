"""`stemd alerts`: tells people what happens, as [notify] says."""

from __future__ import annotations

import contextlib
import signal
import time
from typing import TYPE_CHECKING, Annotated, Never

import typer

from stemd import log
from stemd.commands.common import ConfigPath, settings_of
from stemd.errors import Stopping

if TYPE_CHECKING:
    from types import FrameType


def alerts(
    config: ConfigPath = None,
    test: Annotated[bool, typer.Option("--test", help="Send one message to everybody now, and end.")] = False,
) -> None:
    """Tell of failures, of what is stuck, of what waits for a listener and that all is done, until Ctrl-C.

    Whom and of what stands in config.toml under [notify]; where that names nobody it ends at once.
    """
    from stemd.alerts import Alerts, try_out  # noqa: PLC0415 - only this command tells

    settings = settings_of(config)
    if not settings.notify.anybody:
        typer.echo(f"nobody is to be told: [notify] in {settings.path} names neither command nor webhook")
        return
    if test:
        told = try_out(settings.notify, time.time())
        for channel, fault in told:
            typer.echo(f"{channel}: {fault.message if fault else 'told'}", err=bool(fault))
        raise typer.Exit(int(any(fault for _, fault in told)))
    log.set_up()
    signal.signal(signal.SIGTERM, _end)
    with contextlib.suppress(Stopping):
        Alerts(settings).run()


def _end(_number: int, _frame: FrameType | None) -> Never:
    raise Stopping
