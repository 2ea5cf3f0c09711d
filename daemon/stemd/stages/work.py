"""What every stage is given."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from threading import Event

    from stemd.model import Job, ModelCard, Rule, Rung


class Children(Protocol):
    """The processes that do the heavy work, as the stages see them. Errors are `StemdError`s."""

    def describe(self, model: str) -> ModelCard:
        """Tell what the model needs and gives."""

    def separate(self, request: Mapping[str, Any], work: Work) -> dict[str, Any]:
        """Have the engine separate; returns its `done`. Progress goes to `work.progress`."""

    def measure(self, request: Mapping[str, Any], work: Work) -> dict[str, Any]:
        """Have the quality child measure; returns its `done`."""


@dataclass(frozen=True, slots=True)
class Work:
    """A job, its rule, its folders, and the means to act.

    folder: work/<job>, the job's own: `source`, `mix.wav`, `mix.json`, `separation.json`, `quality.json`;
    for a further result, work/<job>/result-<number> with all of these but `source`.
    results: the shared results/<separation key>/ live here.
    stop: set when the stage should end soon; it then raises `Stopping` and is run again later.
    progress: told the stage's fraction done, 0 to 1, and what else is known of it ("eta", seconds).
    rung: how SEPARATE is to run the network; None for the other stages. limit: seconds after which it is given up.
    beside: other rules that have recordings separated in the same way.
    """

    job: Job
    rule: Rule
    folder: Path
    results: Path
    children: Children
    stop: Event
    progress: Callable[[float, Mapping[str, Any]], None]
    rung: Rung | None = None
    limit: float = math.inf
    beside: tuple[Rule, ...] = ()

    @property
    def root(self) -> Path:
        """The job's own folder, whichever result is worked on."""
        return self.folder.parent if self.job.result > 1 else self.folder

    @property
    def origin(self) -> Path:
        """Where the recording was saved in the inbox."""
        return self.rule.inbox / os.fsdecode(self.job.name)

    @property
    def source(self) -> Path:
        """The copy of the recording."""
        return self.root / "source"


def folder_of(work: Path, job: Job) -> Path:
    """Where the files of the job's present result are. work: the folder of all jobs' folders."""
    own = work / str(job.id)
    return own / f"result-{job.result}" if job.result > 1 else own
