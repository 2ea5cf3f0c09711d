"""Totals over the whole ledger.

The first reading takes seconds for a hundred thousand jobs; later ones read only what is new.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

from stemd.ledger import figures
from stemd.metrics.buckets import Buckets
from stemd.model import MEMORY_CODES, Stage, Status

if TYPE_CHECKING:
    from stemd.ledger import Ledger
    from stemd.ledger.figures import Cost, Step

_SECONDS: Final = (0.1, 0.5, 1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14_400)
_RATIOS: Final = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
_DECIBELS: Final = (-60, -50, -40, -35, -30, -25, -20, -15, -10, -5, 0)
_AFTER_WORK: Final = frozenset({Status.DONE, Status.FAILED, Status.HELD})

Run = tuple[str, str]
"""Model and device."""
Rung = tuple[str, str, str, str, str]
"""Model, device, precision, batch and segment."""


class History:
    """What has happened so far.

    stages: durations of finished stages, seconds. ended: jobs by how they ended; HELD counts those that came to a stop
    for a person. lacks: stages for which memory ran out, by code. rungs: separations by what they ran on.
    audio, work: seconds of sound separated and seconds that it took. speeds: of single separations, x realtime.
    bleed: scores of the checks, dB. flagged: results with flags; checked: all.
    """

    def __init__(self) -> None:
        self.stages: dict[Stage, Buckets] = {stage: Buckets(_SECONDS) for stage in Stage}
        self.ended: Counter[Status] = Counter()
        self.lacks: Counter[str] = Counter()
        self.rungs: Counter[Rung] = Counter()
        self.audio: defaultdict[Run, float] = defaultdict(float)
        self.work: defaultdict[Run, float] = defaultdict(float)
        self.speeds: defaultdict[Run, Buckets] = defaultdict(lambda: Buckets(_RATIOS))
        self.bleed = Buckets(_DECIBELS)
        self.checked = self.flagged = 0
        self._step = self._cost = self._heard = 0
        self._at = 0.0  # when that step was written
        self._begun: dict[int, tuple[Stage, float]] = {}

    def is_of(self, ledger: Ledger) -> bool:
        """Whether this was read from that ledger, not from another one in whose place it is."""
        return figures.holds(ledger, self._step, self._at)

    def read(self, ledger: Ledger) -> None:
        """Take in what the ledger holds beyond the last reading."""
        for step in figures.steps(ledger, after=self._step):
            self._step, self._at = step.id, step.at
            self._follow(step)
        for cost in figures.costs(ledger, after=self._cost):
            self._cost = cost.id
            self._spend(cost)
        for heard in figures.hearings(ledger, after=self._heard):
            self._heard = heard.id
            self.checked += 1
            self.flagged += heard.flags > 0
            if heard.score is not None:
                self.bleed.add(heard.score)

    def _follow(self, step: Step) -> None:
        """Measure a stage from its start to what came of it; a stage that is to be repeated is not finished."""
        if step.status is Status.RUNNING:
            self._begun.setdefault(step.job, (step.stage, step.at))
            return
        stage, began = self._begun.pop(step.job, (None, 0.0))
        held_waiting = step.status is Status.HELD and step.code != ""
        if step.status is Status.CANCELLED or held_waiting or (stage and step.status in _AFTER_WORK):
            undone = step.status is Status.DONE and step.code != ""  # a redelivery that failed
            self.ended[Status.FAILED if undone else step.status] += 1
        if stage and step.code in MEMORY_CODES:
            self.lacks[step.code] += 1
        if stage and (step.status in _AFTER_WORK or step.stage is not stage):
            self.stages[stage].add(max(0.0, step.at - began))

    def _spend(self, cost: Cost) -> None:
        run = (cost.model, cost.device)
        self.rungs[cost.model, cost.device, cost.precision, str(cost.batch), f"{cost.segment:g}"] += 1
        self.audio[run] += cost.audio
        self.work[run] += cost.audio * cost.seconds_per_audio_second
        self.speeds[run].add(1 / max(cost.seconds_per_audio_second, 1e-9))
