"""`stemd status --watch`: a live picture of what `stemd status --json` prints. Looks only."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from stemd.commands.common import clock, held_up, span
from stemd.files.names import readable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_GIB: Final = 1 << 30
_PAUSE: Final = 1.0  # seconds between two pictures
_BAR: Final = 20  # columns
_QUEUE: Final = 12
_WIDEST: Final = 24  # characters of a folder
_TIGHT, _LOW = 0.9, 0.75
_COLOURS: Final = {"done": "green", "failed": "red", "held": "yellow", "cancelled": "dim"}


def watch(describe: Callable[[], dict[str, Any]], console: Console | None = None) -> None:
    """Show the picture anew each second until Ctrl-C. Where nobody can see it move (no terminal), show it once.

    describe: gives the facts of `stemd status --json`.
    """
    console = console or Console()
    if not console.is_terminal:
        console.print(picture(describe()))
        return
    try:
        with Live(picture(describe()), console=console, screen=True, auto_refresh=False) as live:
            while True:
                time.sleep(_PAUSE)
                live.update(picture(describe()), refresh=True)
    except KeyboardInterrupt:
        return


def picture(facts: dict[str, Any]) -> RenderableType:
    """Draw the facts."""
    return Group(
        Panel(Group(*_head(facts)), title="stemd", title_align="left", border_style=_mood(facts)),
        _panel("room", _room(facts["headroom"])),
        *([_panel("albums", _albums(facts["albums"]))] if facts["albums"] else []),
        _panel("running", _running(facts["running"])),
        *([_panel("commands after delivery", _hooks(facts["hooks"]))] if facts["hooks"] else []),
        _panel(_many("waiting", facts["counts"]["waiting"]), _queue(facts["waiting"])),
        *_held(facts),
        _panel("last finished", _list(facts["ended"])),
    )


def _held(facts: dict[str, Any]) -> Iterator[Panel]:
    """What waits for a listener, then what waits for more memory."""
    lacking = facts["counts"]["held"] - facts["to_review"]
    for for_review, title, count in (
        (True, "to review", facts["to_review"]),
        (False, "held for want of memory", lacking),
    ):
        if count:
            yield _panel(_many(title, count), _list(job for job in facts["held"] if job["for_review"] is for_review))


def _panel(title: str, content: RenderableType) -> Panel:
    return Panel(content, title=title, title_align="left", border_style="dim")


def _mood(facts: dict[str, Any]) -> str:
    if not facts["daemon"]["running"]:
        return "red"
    return "yellow" if facts["paused"] or facts["closed"] else "green"


def _head(facts: dict[str, Any]) -> Iterator[Text]:
    """The daemon, what keeps it from working, and its inboxes."""
    daemon = facts["daemon"]
    if not daemon["running"]:
        yield Text("not running; start it with: stemd run", "bold red")
    elif facts["paused"]:
        yield Text(f"paused by {facts['paused']}; go on with: stemd resume", "yellow")
    elif facts["closed"]:
        yield Text(facts["closed"], "yellow")  # "outside hours, next 22:00"
    else:
        yield Text(f"at work (version {daemon['version']}, pid {daemon['pid']})", "green")
    if facts["cpu_only"]:
        yield Text("no GPU: separations run on the CPU", "yellow")
    yield Text(", ".join(f"{count} {name}" for name, count in facts["counts"].items()))
    for inbox in facts["inboxes"]:
        reason = f" ({inbox['reason']})" if inbox.get("reason") else ""
        style = "" if inbox["state"] == "online" else "yellow"
        yield Text(f"inbox {inbox['rule']}: {inbox['state']}{reason}{held_up(inbox)}", style)


def _room(headroom: dict[str, Any] | None) -> RenderableType:
    """A bar for each memory and each disk: full means that nothing is left."""
    if headroom is None:
        return Text("not measured yet", "dim")
    table = _table(2)
    if headroom["ram"] is None:
        table.add_row("RAM", "", Text("unknown", "yellow"))
    else:
        table.add_row("RAM", *_gauge(headroom["ram"], headroom["ram_total"]))
    for gpu in headroom["gpus"]:
        load = f", others use {gpu['busy_percent']:.0f} %" if gpu["busy_percent"] else ""
        table.add_row(Text(f"{gpu['name']} (cuda:{gpu['index']})"), *_gauge(gpu["free"], gpu["total"], load))
    for disk in headroom["disks"]:
        table.add_row(Text(f"disk {_tail(readable(disk['folder']))}"), *_gauge(disk["free"], disk["total"]))
    load = headroom["cpu_percent"]
    table.add_row("CPU", _bar(load / 100), Text(f"others use {load:.0f} %"))
    return Group(table, *(Text(problem, "yellow") for problem in headroom["problems"]))


def _albums(albums: list[dict[str, Any]]) -> RenderableType:
    table = _table(0)
    for album in albums[:_QUEUE]:
        share = album["done"] / album["total"] if album["total"] else 0.0
        table.add_row(_name(album), Text(album["rule"], "dim"), _bar(share, "cyan"), Text(album["told"]))
    return table


def _running(stages: list[dict[str, Any]]) -> RenderableType:
    if not stages:
        return Text("nothing", "dim")
    table = _table(1)
    for stage in stages:
        share = stage["progress"]
        table.add_row(stage["stage"], _name(stage), _bar(share, "cyan"), f"{share:4.0%}")
        table.add_row("", Text(", ".join(_pace(stage)), "dim"))
    return table


def _hooks(hooks: Iterable[dict[str, Any]]) -> RenderableType:
    table = _table(1)
    for hook in hooks:
        table.add_row(Text(readable(hook["command"])), _name(hook), Text(f"for {span(hook['seconds'])}", "dim"))
    return table


def _pace(stage: dict[str, Any]) -> Iterator[str]:
    yield f"for {span(stage['seconds'])}"
    if stage.get("still"):
        yield f"stands still for {span(stage['still'])}: does its share hang?"
    if stage["eta"]:
        yield f"{span(stage['eta'])} left"
    if stage["x_realtime"]:
        yield f"{stage['x_realtime']:.1f} x realtime"
    if stage["rung"]:
        yield str(stage["rung"])


def _queue(waiting: list[dict[str, Any]]) -> RenderableType:
    """Who waits, and why."""
    if not waiting:
        return Text("nobody", "dim")
    table = _table(1)
    for job in waiting[:_QUEUE]:
        table.add_row(job["stage"], _name(job), Text(job["rule"], "dim"), Text(job["reason"] or "", "cyan"))
    return table


def _list(jobs: Iterable[dict[str, Any]]) -> RenderableType:
    table = _table(2)
    for job in jobs:
        status = Text(job["status"], _COLOURS.get(job["status"], ""))
        table.add_row(
            clock(job["changed"])[-8:], status, _name(job), Text(job["rule"], "dim"), Text(job["reason"] or "")
        )
    return table if table.row_count else Text("nothing yet", "dim")


def _table(stretched: int) -> Table:
    """A table without lines, in which one column takes what room there is."""
    table = Table.grid(padding=(0, 2), expand=True)
    for column in range(5):
        table.add_column(ratio=1 if column == stretched else None, no_wrap=column != stretched)
    return table


def _gauge(free: int, total: int | None, more: str = "") -> tuple[RenderableType, Text]:
    """free, total: bytes."""
    used = 1 - free / total if total else 0.0
    return _bar(used), Text(f"{free / _GIB:.1f} GiB free of {(total or 0) / _GIB:.1f}{more}")


def _bar(share: float, colour: str = "") -> Text:
    """Draw a share of 0 to 1; red when nearly all is used."""
    share = min(1.0, max(0.0, share))
    colour = colour or ("red" if share > _TIGHT else "yellow" if share > _LOW else "green")
    full = round(share * _BAR)
    return Text("█" * full, colour) + Text("░" * (_BAR - full), "bright_black")


def _tail(text: str) -> str:
    """Shorten a path to its end, which tells more than its beginning."""
    return text if len(text) <= _WIDEST else "…" + text[1 - _WIDEST :]


def _name(job: dict[str, Any]) -> Text:
    return Text(readable(job["name"]), overflow="ellipsis", no_wrap=True)


def _many(title: str, count: int) -> str:
    return f"{title} ({count})" if count else title
