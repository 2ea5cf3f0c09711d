"""Results of one job: the separation that its rule asked for, and those that a listener had made again to compare."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from stemd.model.presets import PRESETS

if TYPE_CHECKING:
    from stemd.model.rule import Preset, Rule


@dataclass(frozen=True, slots=True)
class Result:
    """One separation of a job that was held.

    number: from 1, which is the rule's own. preset, model: what it was made with instead of the rule's; "" for the
    rule's own, and model "" for the preset's. key: its separation key. reasons: its flags, as sentences.
    """

    number: int = 1
    preset: str = ""
    model: str = ""
    key: str = ""
    reasons: tuple[str, ...] = ()


def effective(rule: Rule, preset: str, model: str = "") -> Rule:
    """Give the rule by which a result is made: the preset decides about the sound, the rule about stems and files.

    model: instead of the preset's. A segment is only the preset's own: the rule's was meant for another network.
    """
    if preset not in PRESETS:
        return rule
    chosen: Preset = preset  # type: ignore[assignment] # a key of PRESETS
    keys = PRESETS[chosen]
    return replace(
        rule, preset=chosen, model=model or keys["model"], shifts=keys["shifts"], overlap=keys["overlap"],
        segment=keys.get("segment") if not model else None,
    )  # fmt: skip
