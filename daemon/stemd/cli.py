"""The command `stemd`. The only place where exit codes are decided.

0 done, 1 failed, 2 usage or configuration, 3 jobs failed or held (`run --once`), 75 another daemon runs, 130 Ctrl-C.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Final

import typer

from stemd import __version__
from stemd.commands import (
    alerts,
    ask,
    config,
    demo,
    doctor,
    measure,
    models,
    report,
    review,
    run,
    separate,
    show,
    submit,
    web,
)
from stemd.commands.common import ConfigPath
from stemd.errors import StemdError, Stopping

if TYPE_CHECKING:
    from collections.abc import Mapping

_USAGE: Final = (
    "config", "no-config", "usage", "unknown-model", "unknown-stem", "unknown-residual", "segment-too-long",
    "unknown-device", "unknown-preset", "out-of-range", "no-models-folder", "no-such-rule", "no-folder",
)  # fmt: skip
EXIT_CODES: Final[Mapping[str, int]] = {**dict.fromkeys(_USAGE, 2), "another-daemon": 75}
_INTERRUPTED: Final = 130

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
    help="Save a recording in a folder; find its stems in another in the morning.",
)  # fmt: skip
app.command()(run.run)
app.command()(show.status)
app.command()(show.why)
app.command()(show.jobs)
app.command()(submit.submit)
app.command()(ask.retry)
app.command()(ask.redeliver)
app.command()(ask.cancel)
app.command()(ask.pause)
app.command()(ask.resume)
app.add_typer(review.app, name="review")
app.command()(report.report)
app.command()(alerts.alerts)
app.add_typer(config.app, name="config")
app.add_typer(models.app, name="models")
app.command()(doctor.doctor)
app.command()(separate.separate)
app.command()(measure.measure)
app.command()(web.web)
app.command()(demo.demo)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"stemd {__version__}")
        raise typer.Exit


@app.callback()
def _everywhere(
    _config: ConfigPath = None,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options before the command."""


def main() -> None:
    """Run the command line; errors are one line of what happened and one of what to do."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        app(prog_name="stemd")
    except StemdError as error:
        typer.echo(f"stemd: {error.message}", err=True)
        typer.echo(f"  {error.hint}", err=True)
        sys.exit(EXIT_CODES.get(error.code, 1))
    except (KeyboardInterrupt, Stopping):
        sys.exit(_INTERRUPTED)
