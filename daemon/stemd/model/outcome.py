"""What a stage can say when it ends, and what the ledger does about it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from stemd.model.job import Stage, Stat, Status
from stemd.model.result import Result

MEMORY_CODES: Final = frozenset({"out-of-memory", "killed"})
"""Codes of a stage for which memory ran out."""
HOOK_CODES: Final = frozenset({"hook-failed", "hook-timeout", "hook-interrupted"})
"""A rule's command after a delivery did not end well."""
MODEL_CODES: Final = frozenset({
    "model-missing", "model-damaged", "model-refused", "model-duplicate", "unknown-model", "unknown-stem",
    "segment-too-long", "no-models-folder", "no-network", "diffq-missing",
})  # fmt: skip
"""Codes of a stage whose model is not there, or is not what the rule asks for: a person has to see to it."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that stemd made and left for the user. path: bytes, absolute. result: the number of the job's result."""

    path: bytes
    sha256: str
    size: int
    result: int = 1


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one separation cost, by what decides about cost. Memory in bytes.

    passes: how often the networks computed each second; the time grows with it.
    lanes: what the buffers of the lanes held of the device's peak.
    """

    model: str
    device: str
    precision: str
    batch: int
    segment: float
    peak_ram: int
    peak_vram: int
    seconds_per_audio_second: float
    passes: float = 1.0
    lanes: int = 0

    def of_one_pass(self) -> Measurement:
        """Give the cost of one pass, without what the lanes held: what other shifts, overlaps and stems share."""
        on_cpu = self.device == "cpu"
        return replace(
            self, passes=1.0, lanes=0, seconds_per_audio_second=self.seconds_per_audio_second / self.passes,
            peak_ram=self.peak_ram - (self.lanes if on_cpu else 0),
            peak_vram=self.peak_vram - (0 if on_cpu else self.lanes),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Hearing:
    """What the quality check found in one result. score, bleed_db: as in its report, dB; None without vocals.

    flags: how many.
    """

    score: float | None
    bleed_db: float | None
    flags: int


@dataclass(frozen=True, slots=True)
class Finished:
    """The stage did its work.

    note: one clause for the story ("4 stems in 12 s, 3.1 x realtime").
    sha256, recipe, key: set by the stage that learned them. path, stat: where RETIRE left the source.
    artifacts: all files that the job now has with the user; None leaves them as they are.
    seconds: length of the recording, once it is known.
    hook: the path of the manifest that the rule's command is to be told of; empty where there is no command.
    """

    note: str = ""
    sha256: str = ""
    recipe: str = ""
    key: str = ""
    path: bytes = b""
    stat: Stat | None = None
    artifacts: tuple[Artifact, ...] | None = None
    measurement: Measurement | None = None
    seconds: float = 0.0
    hearing: Hearing | None = None
    hook: bytes = b""


@dataclass(frozen=True, slots=True)
class Held:
    """A person decides. reasons: sentences that a musician understands; at least one."""

    reasons: tuple[str, ...]
    code: str = ""
    hearing: Hearing | None = None


@dataclass(frozen=True, slots=True)
class Doubted:
    """Vocal bleed was found, and a second look is to tell whether it is there.

    note: what was found. reasons: why a person should hear it, if the second look cannot be made; none: no need to.
    """

    note: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Retry:
    """Once more, `after` seconds from now. counts: whether it costs one of the job's attempts."""

    after: float
    reason: str
    counts: bool
    code: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """No use in trying again with this file."""

    code: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The user took the source away or changed it before it was taken: there is nothing to work on."""

    code: str
    reason: str


Outcome: TypeAlias = Finished | Held | Doubted | Retry | Failed | Withdrawn


@dataclass(frozen=True, slots=True)
class Change:
    """The new place of a job, as `flow` decides it and the ledger writes it.

    text: the line of the story. delay: seconds until the job may start again.
    reasons, approved, twin, again, failing: None leaves them as they are; twin 0: none any more.
    present, others: the result that the job is at from now on, and the others; None leaves both as they are.
    facts: what the stage learned, to be kept.
    """

    stage: Stage
    status: Status
    text: str
    attempts: int = 0
    interruptions: int = 0
    delay: float = 0.0
    code: str = ""
    reason: str = ""
    hint: str = ""
    reasons: tuple[str, ...] | None = None
    approved: bool | None = None
    twin: int | None = None
    again: bool | None = None
    failing: bool | None = None
    present: Result | None = None
    others: tuple[Result, ...] = ()
    facts: Finished = field(default_factory=Finished)
