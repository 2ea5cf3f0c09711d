"""The vocabulary: facts as frozen dataclasses, without behaviour of their own and without effects."""

from stemd.model.job import ARROWS, Arrival, Event, Job, Stage, Stat, Status
from stemd.model.outcome import Artifact, Change, Failed, Finished, Held, Measurement, Outcome, Retry
from stemd.model.rule import Hook, Recipe, Rule, Thresholds
from stemd.model.sound import Mix, ModelCard, Source

__all__ = [
    "ARROWS",
    "Arrival",
    "Artifact",
    "Change",
    "Event",
    "Failed",
    "Finished",
    "Held",
    "Hook",
    "Job",
    "Measurement",
    "Mix",
    "ModelCard",
    "Outcome",
    "Recipe",
    "Retry",
    "Rule",
    "Source",
    "Stage",
    "Stat",
    "Status",
    "Thresholds",
]
