"""The one kind of error that stemd expects: what happened, and what to do next."""

from __future__ import annotations


class StemdError(Exception):
    """Something that a user can act on.

    code: short kebab-case word, stable, for programs ("no-audio", "outbox-full").
    message: one line, what happened and to which file.
    hint: one line, what to do next.
    """

    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.code})"


class EnvironmentFault(StemdError):  # noqa: N818 - DESIGN.md's word
    """A fault of the surroundings, not of the file: disk full, share gone, program missing.

    A job that meets one waits and resumes unaided; no attempt is counted.
    """


class WorkerFault(StemdError):  # noqa: N818 - as EnvironmentFault
    """A child died, hung or was killed: it costs one attempt of one job, and the next may succeed."""


class OutOfMemory(WorkerFault):
    """Memory ran out. An ordinary event: the job goes on with less."""


class Stopping(Exception):  # noqa: N818 - not an error: work was interrupted because the daemon stops
    """Raised inside a stage when the daemon wants to stop or the job was cancelled."""
