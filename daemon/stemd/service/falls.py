"""Where memory ran out: kept in the state folder, so that a restart does not climb the ladder from the top again."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from stemd import ladder
from stemd.errors import StemdError
from stemd.files import read_json, write_json
from stemd.model import Fall, Rung

if TYPE_CHECKING:
    from pathlib import Path

_EARLIER: Final = 0
"""Stands for all jobs that have ended."""


class Falls:
    """The falls of each job under way, and those of earlier jobs for as long as they count."""

    def __init__(self, file: Path) -> None:
        """file: JSON; one that is missing or damaged means that nothing is remembered."""
        self._file = file
        self._falls: dict[int, list[Fall]] = {}
        with contextlib.suppress(StemdError, OSError, TypeError, KeyError, ValueError, AttributeError):
            for entry in read_json(file):
                self._falls.setdefault(int(entry.pop("job")), []).append(
                    Fall(**entry | {"rung": Rung(**entry["rung"])})
                )

    def add(self, job: int, fall: Fall) -> None:
        """Memory ran out under a job."""
        self._falls.setdefault(job, []).append(fall)
        self._keep(fall.at)

    def of(self, job: int) -> tuple[Fall, ...]:
        """Give a job's own falls, the first one first."""
        return tuple(self._falls.get(job, ()))

    def others(self, job: int, model: str) -> list[Fall]:
        """Give the falls of other jobs with the same model."""
        return [fall for number, falls in self._falls.items() if number != job for fall in falls if fall.model == model]

    def forget(self, job: int, now: float) -> None:
        """The job has ended, or starts from the beginning: its falls are those of an earlier job. now: Unix time."""
        falls = self._falls.pop(job, None)
        if falls:
            self._falls.setdefault(_EARLIER, []).extend(falls)
            self._keep(now)

    def _keep(self, now: float) -> None:
        earlier = self._falls.pop(_EARLIER, [])
        if fresh := [fall for fall in earlier if now - fall.at < ladder.REMEMBERED]:
            self._falls[_EARLIER] = fresh
        entries = [{"job": job, **asdict(fall)} for job, falls in self._falls.items() for fall in falls]
        with contextlib.suppress(StemdError):  # a full disk: remembered until the next restart
            write_json(self._file, entries)
