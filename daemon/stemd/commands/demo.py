"""`stemd demo`: the whole way on the built-in song, with a daemon of its own in a temporary folder."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from stemd import live
from stemd.commands.common import ConfigPath
from stemd.commands.submit import place
from stemd.config import load
from stemd.demo import MODEL, SONG
from stemd.errors import StemdError
from stemd.ledger import jobs, open_for_asking
from stemd.model import Stage, Status
from stemd.tools import start

if TYPE_CHECKING:
    from stemd.ledger import Ledger
    from stemd.model import Job
    from stemd.tools import Child

_CONFIG: Final = f"""\
[daemon]
state_dir = "state"

[resources]
device = "auto"
ram_reserve_gb = 0.5

[[rule]]
name = "demo"
inbox = "inbox"
outbox = "outbox"
model = "{MODEL}"
stems = ["vocals", "no_vocals", "drums", "bass", "other"]
format = "wav"
settle = 1

[rule.quality]
on_flag = "deliver"
"""
_START: Final = 30.0
_LONGEST: Final = 1800.0
_LOOK: Final = 0.2


def demo(
    folder: Annotated[
        Path | None, typer.Option("--folder", help="A new folder to work in; default: a temporary one.")
    ] = None,
    _config: ConfigPath = None,
) -> None:
    """Separate the built-in song, from inbox to outbox, and show what came of it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the daemon goes with us, however we are ended
    home = _home(folder)
    config = home / "config.toml"
    config.write_text(_CONFIG, encoding="utf-8")
    state = load(config).daemon.state_dir
    console = Console()
    console.print(f"starting a daemon in {home}")
    daemon = start([sys.executable, "-m", "stemd", "run", "-c", str(config)])
    try:
        ledger = _ready(daemon, state)
        began = time.monotonic()
        song = place(SONG, home / "inbox")
        console.print(f"saved {song.name} into {song.parent}")
        job = _follow(console, daemon, state, ledger)
        took = time.monotonic() - began
        ledger.close()
    finally:
        daemon.terminate(0.0)
    _tell(console, job, home / "outbox", took)


def _home(folder: Path | None) -> Path:
    """Make the folder to work in. Raises StemdError "usage" for one in which something lies already."""
    if folder is None:
        return Path(tempfile.mkdtemp(prefix="stemd-demo-"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        used = any(folder.iterdir())
    except OSError as fault:
        raise StemdError("usage", f"{folder} cannot be used: {fault.strerror}", "name a new folder") from fault
    if used:
        raise StemdError("usage", f"{folder} is not empty", "name a new folder")
    return folder


def _ready(daemon: Child, state: Path) -> Ledger:
    """Wait until the daemon has made its ledger and looks at its inbox."""
    deadline = time.monotonic() + _START
    while time.monotonic() < deadline and daemon.alive:
        if live.read(state):
            return open_for_asking(state)
        time.sleep(_LOOK)
    raise StemdError("demo", "the daemon did not start", daemon.stderr_tail.strip() or "try: stemd run")


def _follow(console: Console, daemon: Child, state: Path, ledger: Ledger) -> Job:
    """Show the job's way until it has ended."""
    columns = (TextColumn("{task.description:<32}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    deadline = time.monotonic() + _LONGEST
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        bar = progress.add_task("waiting until the file has settled", total=len(Stage))
        while time.monotonic() < deadline and daemon.alive:
            for job in jobs.select(ledger):
                if job.status.ended:
                    progress.update(bar, completed=len(Stage), description=str(job.status))
                    return job
                now: list[dict[str, Any]] = live.read(state).get("running", [])
                part = next((stage["progress"] for stage in now if stage["stage"] == job.stage), 0.0)
                progress.update(bar, completed=list(Stage).index(job.stage) + part, description=str(job.stage))
            time.sleep(_LOOK)
    raise StemdError("demo", "the song did not come back", daemon.stderr_tail.strip() or f"look into {state}")


def _tell(console: Console, job: Job, outbox: Path, took: float) -> None:
    if job.status is not Status.DONE:
        raise StemdError(job.code or "demo", job.reason or f"the song is {job.status}", job.hint or "see the log")
    manifest = next(outbox.rglob("manifest.json"))
    figures = json.loads(manifest.read_text(encoding="utf-8"))["quality"]
    console.print(f"\nthe stems of {os.fsdecode(job.name)} after {took:.1f} s:", highlight=False)
    for name, stem in figures["stems"].items():
        console.print(f"  {name:<10} {stem['rms_db']:7.1f} dBFS RMS, peak {stem['peak_db']:6.1f} dBFS", highlight=False)
    bleed = "none found" if figures["bleed_db"] is None else f"{figures['bleed_db']:.1f} dB relative to the vocal"
    console.print(f"  vocals in the accompaniment: {bleed} ({figures['verdict']})", highlight=False)
    console.print(f"\n{manifest.parent}", highlight=False, soft_wrap=True)
