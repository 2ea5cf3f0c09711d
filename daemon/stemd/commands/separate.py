"""`stemd separate`: one recording, once, without the daemon. The engine child works; this asks, shows, cleans up."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from stemd.children import WorkerPool
from stemd.commands.common import ConfigPath, settings_of, span
from stemd.errors import StemdError
from stemd.model import Job, Rule, Stat
from stemd.stages import normalise
from stemd.stages.work import Work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping


def separate(  # noqa: PLR0917 - Typer passes options by name
    file: Annotated[Path, typer.Argument(help="The recording: any format, any length.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder for the stems; made if missing.")],
    model: Annotated[str, typer.Option("--model", "-m", help="See: stemd models list.")] = "htdemucs",
    models: Annotated[str, typer.Option("--models", help="A folder of local models, looked at first.")] = "",
    stems: Annotated[str, typer.Option("--stems", help="Names with commas, such as vocals,no_vocals.")] = "all",
    shifts: Annotated[int, typer.Option("--shifts", min=0, help="Average so many shifted runs; 0: none.")] = 1,
    overlap: Annotated[float, typer.Option("--overlap", min=0.0, max=0.99, help="Of neighbouring segments.")] = 0.25,
    segment: Annotated[float | None, typer.Option("--segment", help="Seconds; shorter takes less memory.")] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    precision: Annotated[str, typer.Option("--precision", help="auto or float32.")] = "auto",
    seed: Annotated[int, typer.Option("--seed", help="Draws the shifts.")] = 0,
    residual: Annotated[str, typer.Option("--residual", help="no_...: minus or add.")] = "minus",
    batch: Annotated[int, typer.Option("--batch", min=1, help="Segments at a time, on a GPU.")] = 1,
    config: ConfigPath = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
) -> None:
    """Separate one recording into DIR/<stem>.wav, float32, as long as the recording."""
    wanted = [name.strip() for name in stems.split(",") if name.strip()]
    options = {
        "model": model, "stems": wanted, "shifts": shifts,
        "overlap": overlap, "segment": segment, "device": device, "precision": precision, "seed": seed,
        "residual": residual, "batch": batch,
    }  # fmt: skip
    check(file, out, precision, residual)
    check_apart(file, out, (f"{name}.wav" for name in wanted))
    with interruptible() as stop, bars() as show:
        done = run(file, out, options, models or configured_models(config), stop, show)
    done["files"] = {stem: str(out / name) for stem, name in done["files"].items()}
    typer.echo(json.dumps(done, indent=1) if as_json else shown(done))


def check(file: Path, out: Path, precision: str, residual: str) -> None:
    """Refuse what cannot work before anything is started. Raises StemdError "no-file", "no-folder", "usage"."""
    if not file.is_file():
        raise StemdError("no-file", f"{file} is not there, or no file", "check the path")
    if out.exists() and not out.is_dir():
        raise StemdError("no-folder", f"{out} is a file", "name a folder with -o")
    if precision not in ("auto", "float32"):
        raise StemdError("usage", f"--precision {precision}: there is no such precision", "use auto or float32")
    if residual not in ("minus", "add"):
        raise StemdError("usage", f"--residual {residual}: there is no such method", "use minus or add")


def check_apart(file: Path, out: Path, names: Iterable[str]) -> None:
    """Refuse to put a stem in the place of the recording. Raises StemdError "usage"."""
    for target in (out / name for name in names):
        if target.exists() and file.exists() and target.samefile(file):
            raise StemdError("usage", f"{target} is the recording itself", "name another folder with -o")


def run(
    file: Path,
    out: Path,
    options: Mapping[str, Any],
    models: str,
    stop: threading.Event,
    show: Callable[[str, float], None],
) -> dict[str, Any]:
    """Decode and separate in a folder of its own inside out; the stems move to out when they are all complete."""
    out = out.absolute()  # to ffmpeg, what stands before the colon of a relative path is a protocol
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".stemd-", dir=out) as own:
        folder = Path(own)
        children = WorkerPool(folder, models)
        (folder / "source").symlink_to(file.absolute())
        step = work_on(file, folder, str(options["model"]), children, stop, show)
        request = {**options, "mix": str(folder / normalise.MIX), "out": str(folder / "stems")}
        try:
            normalise.run(step("decoding"))
            done = children.separate(request, step("separating"))
        finally:
            children.close()
        check_apart(file, out, done["files"].values())
        for name in done["files"].values():
            (folder / "stems" / name).replace(out / name)
    return done


def work_on(
    file: Path,
    folder: Path,
    model: str,
    children: WorkerPool,
    stop: threading.Event,
    show: Callable[[str, float], None],
) -> Callable[[str], Work]:
    """Give a function that makes the Work of one step, named for people: of a job and a rule for this one file."""
    stat = file.stat()
    seen = Stat(size=stat.st_size, mtime_ns=stat.st_mtime_ns, ctime_ns=stat.st_ctime_ns)
    name = os.fsencode(file.name)
    job = Job(id=1, rule="separate", path=os.fsencode(file.absolute()), name=name, stat=seen)
    rule = Rule(name="separate", inbox=folder, outbox=folder, review=folder, failed=folder, archive=folder, model=model)

    def step(called: str) -> Work:
        return Work(job, rule, folder, folder, children, stop, lambda fraction, _facts: show(called, fraction))

    return step


def configured_models(config: Path | None = None) -> str:
    """Return the folder of local models that config.toml names; "" where there is no configuration."""
    try:
        return str(settings_of(config).daemon.models or "")
    except StemdError as error:
        if error.code == "no-config":
            return ""
        raise


@contextlib.contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Give an event that the first Ctrl-C sets, so that everything ends in order; the second one ends at once."""
    stop = threading.Event()

    def interrupt(_signal: int, _frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def bars() -> Iterator[Callable[[str, float], None]]:
    """Give a function that shows a step's fraction done: a bar each on a terminal, nothing in a pipe."""
    columns = (TextColumn("{task.description:<11}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        tasks: dict[str, Any] = {}

        def show(step: str, fraction: float) -> None:
            if step not in tasks:
                tasks[step] = progress.add_task(step, total=1.0)
            progress.update(tasks[step], completed=fraction)

        yield show


def shown(done: Mapping[str, Any]) -> str:
    """Say for a person what was made, and how fast."""
    lines = list(done["files"].values())
    lines.append(
        f"{span(done['frames'] / done['sample_rate'])} in {done['seconds']:.1f} s on {done['device']}, "
        f"{done['precision']}: {done['x_realtime']:.1f} x realtime"
    )
    return "\n".join(lines)
