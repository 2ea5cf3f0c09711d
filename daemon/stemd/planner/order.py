"""Who comes first: later stages, then priority, then the rules in turn, then age, then the tracks' order."""

from __future__ import annotations

from itertools import groupby, zip_longest
from operator import attrgetter
from typing import TYPE_CHECKING

from stemd.model import Stage
from stemd.model.album import TrackOrder, track_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stemd.planner.facts import Candidate

_URGENCY = attrgetter("priority")


def _age(candidate: Candidate) -> tuple[float, TrackOrder, int]:
    return candidate.created, track_order(candidate.name), candidate.job


def by_stage(waiting: Iterable[Candidate]) -> dict[Stage, list[Candidate]]:
    """Sort candidates into their stages, last stage first: what is begun is finished."""
    stages: dict[Stage, list[Candidate]] = {stage: [] for stage in reversed(Stage)}
    for candidate in waiting:
        stages[candidate.stage].append(candidate)
    return stages


def in_turn(candidates: list[Candidate], served: Mapping[tuple[Stage, str], int]) -> list[Candidate]:
    """Order the candidates of one stage: by priority, then one of each rule in turn, the oldest of each first.

    The rule that was served longest ago begins (`served`: a larger number is later), so one rule's thousand
    files hold another rule's single file up by one place, however old they are.
    """
    ordered: list[Candidate] = []
    urgent_first = sorted(sorted(candidates, key=_age), key=_URGENCY, reverse=True)
    for _, equals in groupby(urgent_first, key=_URGENCY):
        rules: dict[str, list[Candidate]] = {}
        for candidate in equals:
            rules.setdefault(candidate.rule, []).append(candidate)
        # Python's sort is stable: rules never served stay in the order of their oldest job.
        turns = sorted(rules.values(), key=lambda jobs: served.get((jobs[0].stage, jobs[0].rule), -1))
        ordered += [job for one_of_each in zip_longest(*turns) for job in one_of_each if job is not None]
    return ordered
