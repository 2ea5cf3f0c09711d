"""The vocabulary: facts as frozen dataclasses, without behaviour of their own and without effects."""

from stemd.model.job import ARROWS, Arrival, Event, Job, Stage, Stat, Status
from stemd.model.machine import Disk, Fall, Gpu, Headroom, Lack, MemoryKind, Need, Option, Rung, Use
from stemd.model.outcome import (
    MEMORY_CODES,
    MODEL_CODES,
    Artifact,
    Change,
    Doubted,
    Failed,
    Finished,
    Hearing,
    Held,
    Measurement,
    Outcome,
    Retry,
    Withdrawn,
)
from stemd.model.result import Result, effective
from stemd.model.rule import Hook, Recipe, Rule, Thresholds
from stemd.model.sound import Mix, ModelCard, Source

__all__ = [
    "ARROWS",
    "MEMORY_CODES",
    "MODEL_CODES",
    "Arrival",
    "Artifact",
    "Change",
    "Disk",
    "Doubted",
    "Event",
    "Failed",
    "Fall",
    "Finished",
    "Gpu",
    "Headroom",
    "Hearing",
    "Held",
    "Hook",
    "Job",
    "Lack",
    "Measurement",
    "MemoryKind",
    "Mix",
    "ModelCard",
    "Need",
    "Option",
    "Outcome",
    "Recipe",
    "Result",
    "Retry",
    "Rule",
    "Rung",
    "Source",
    "Stage",
    "Stat",
    "Status",
    "Thresholds",
    "Use",
    "Withdrawn",
    "effective",
]
