"""The settings, complete: what config.toml says and, where it says nothing, the defaults. The keys are the file's."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, TypeAlias, get_args

from annotated_types import Ge, Gt, Le

from stemd.model import Rule


def default_state() -> Path:
    """Where the ledger lives unless the file says otherwise: the user's own state folder."""
    return Path("~/.local/state/stemd").expanduser()


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """[daemon].

    state_dir: ledger, work and results; absolute, a local disk. models: folder of local models, looked at first.
    rescan: seconds between two looks at an inbox (network mounts: at most 10). idle_unload: seconds until an idle
    engine gives its model up.
    """

    state_dir: Path = field(default_factory=default_state)
    results_gb: Annotated[float, Ge(0)] = 50.0
    models: Path | None = None
    rescan: Annotated[float, Gt(0), Le(3600)] = 30.0
    idle_unload: Annotated[float, Ge(0)] = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """[schedule]: when work may start.

    active: hours and days as `hours.parse` reads them; empty means always. at_end: whether a running separation is
    finished when the hours end, or stopped and begun again in the next. yield_*: percent of use by others above
    which nothing new starts; 0 means never yield.
    """

    active: tuple[str, ...] = ()
    at_end: Literal["finish", "pause"] = "finish"
    yield_cpu_percent: Annotated[float, Ge(0), Le(100)] = 0.0
    yield_gpu_percent: Annotated[float, Ge(0), Le(100)] = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """[resources]: device auto, cpu, cuda or cuda:N; reserves in GiB that stay free for others."""

    device: str = "auto"
    ram_reserve_gb: Annotated[float, Ge(0)] = 2.0
    vram_reserve_gb: Annotated[float, Ge(0)] = 0.5
    cpu_jobs: Annotated[int, Ge(1), Le(64)] = 1


Event: TypeAlias = Literal["failed", "stuck", "review", "done"]
"""What [notify] may tell of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notify:
    """[notify]: who is told of what, by `stemd alerts`.

    command: argv, run for each message. webhook: http(s) address that gets it as JSON; "" for none.
    every: seconds at least between two messages of one kind. lasting: seconds after which a fault of the
    surroundings is worth a message.
    """

    command: tuple[str, ...] = ()
    webhook: str = ""
    events: tuple[Event, ...] = get_args(Event)
    every: Annotated[float, Ge(1), Le(86_400)] = 300.0
    lasting: Annotated[float, Ge(0), Le(86_400)] = 300.0

    @property
    def anybody(self) -> bool:
        """Whether there is anybody to tell."""
        return bool(self.command or self.webhook)


@dataclass(frozen=True, slots=True)
class Settings:
    """One configuration, checked; never changed, only replaced. path: the file that it was read from."""

    path: Path
    daemon: Daemon
    schedule: Schedule
    resources: Resources
    rules: tuple[Rule, ...]
    notify: Notify = field(default_factory=Notify)

    def rule(self, name: str) -> Rule | None:
        """Find a rule by its name."""
        return next((rule for rule in self.rules if rule.name == name), None)
