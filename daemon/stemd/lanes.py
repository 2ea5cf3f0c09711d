"""Lanes: a member of the bag goes over the recording once for each shift. Which a separation takes, by rule. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from stemd.results import parts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stemd.model import ModelCard, Rule

_BYTES: Final = 4 * 1.3
"""A float32, and what the allocator and the lane that is added up take on top: measured 7 to 30 %."""


def passes(stems: Iterable[str], rule: Rule, card: ModelCard) -> float:
    """Give how often networks compute each second to make stems: shifts x members, more where segments overlap."""
    return max(1, rule.shifts) * max(1, len(_members(stems, rule, card))) / (1 - rule.overlap)


def held(stems: Iterable[str], rule: Rule, card: ModelCard) -> float:
    """Give the bytes that all lanes hold for each second of a segment: sums of stems, the weight and its sum."""
    signals = sum(count * card.channels + 2 for count in _members(stems, rule, card).values())
    return max(1, rule.shifts) * signals * card.sample_rate * _BYTES


def _members(stems: Iterable[str], rule: Rule, card: ModelCard) -> Counter[int]:
    """Count the sources that each member must produce."""
    sources = {source for stem in stems for source in parts(stem, rule, card)}
    return Counter(member for source in sources for member in card.needs.get(source, ()))
