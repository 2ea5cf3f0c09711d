"""Counts the jobs that are ahead of the engines, so that no more is copied and normalised than they will soon need."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Intake:
    """Jobs that a stage before the engines is working on or has finished, and that wait for the next stage.

    most: how many there may be of a rule, and of a priority with all above it: whoever is urgent finds places free.
    """

    most: int
    _rules: Counter[str] = field(default_factory=Counter)
    _going: Counter[int] = field(default_factory=Counter)

    def add(self, rule: str, priority: int, *, stuck: bool = False) -> None:
        """Count a job. One that is stuck counts for its own rule only: it must not keep other rules' files out."""
        self._rules[rule] += 1
        self._going[priority] += not stuck

    def full(self, priority: int) -> bool:
        """Whether no rule's job of this priority may be added, for now; then none of a lower one may."""
        return at_least(self._going, priority) >= self.most

    def open_to(self, rule: str, priority: int) -> bool:
        """Whether a job may be added."""
        return self._rules[rule] < self.most and not self.full(priority)


def at_least(counts: Counter[int], priority: int) -> int:
    """Sum what is counted for a priority and for all above it."""
    return sum(count for other, count in counts.items() if other >= priority)
