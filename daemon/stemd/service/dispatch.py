"""Turns waiting jobs into the planner's candidates: what each would still need, and on which rungs it may run."""

from __future__ import annotations

import math
import os
import time
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from stemd import ladder, lanes
from stemd.errors import EnvironmentFault, StemdError
from stemd.files import read_fact
from stemd.model import Job, Mix, Need, Stage, effective
from stemd.planner import Candidate
from stemd.results import beside, free, missing, nominal_segment, report, separation_key
from stemd.service.falls import Falls
from stemd.stages.separate import resolve
from stemd.stages.work import folder_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from stemd.config import Settings
    from stemd.model import Fall, Headroom, Measurement, ModelCard, Option, Rule, Rung

_NEWCOMERS: Final = 2000  # of all rules together
_FEWEST: Final = 5  # of each
_MOST: Final = 200
_LOSSLESS: Final = frozenset({".wav", ".wave", ".rf64", ".w64", ".aif", ".aiff", ".caf", ".flac", ".alac", ".ape"})
_GROWTH_LOSSLESS: Final = 4.0
"""float32 at 44.1 kHz has so many times the bytes of a 16-bit file that FLAC has halved."""
_GROWTH_LOSSY: Final = 20.0
"""... and so many times those of a file of 140 kbit/s."""
_FOUR_STEMS: Final = 4
_MEMORY: Final = {
    Stage.NORMALISE: 128 << 20,
    Stage.CHECK: 256 << 20,
    Stage.RECHECK: 256 << 20,
    Stage.DELIVER: 128 << 20,
}
"""Bytes of RAM that stages take beside an engine's, whatever the length.

Measured as peaks over five minutes of stereo at 48 kHz, shared libraries left out: 32 MiB for ffmpeg and the process
that decodes, 163 MiB for the quality check with its picture. Encoding takes what decoding does; the rest is margin.
"""
_FORMING: Final = 128 << 20
"""Bytes of RAM for stems that are formed of kept ones, by the process that decodes."""
_UNUSABLE_FOR: Final = 600.0  # seconds; a driver is repaired, or torch exchanged, and the card serves again
_UNKNOWN_SEGMENT: Final = 7.8
_WAV_BYTES: Final = 4
_BEFORE_MIX: Final = frozenset({Stage.TAKE, Stage.NORMALISE})
_BEFORE_STEMS: Final = frozenset({Stage.TAKE, Stage.NORMALISE, Stage.SEPARATE})
_BEFORE_DELIVERY: Final = frozenset({*_BEFORE_STEMS, Stage.CHECK, Stage.RECHECK, Stage.DELIVER})
_ON_ENGINE: Final = frozenset({Stage.SEPARATE, Stage.RECHECK})


def newcomers(rules: int) -> int:
    """Tell how many of each rule's jobs that are not begun the planner is shown; it looks at them each second."""
    return min(_MOST, max(_FEWEST, _NEWCOMERS // max(rules, 1)))


class Dispatch:
    """What is remembered between plans: where memory ran out, and what separations have cost.

    wanted: the separation keys of the jobs that waited for theirs when last asked for candidates.
    """

    def __init__(self, settings: Settings, card: Callable[[str], ModelCard | None]) -> None:
        """card: gives what is known of a model, without asking the engine; None before it was ever asked."""
        self.settings = settings
        self._card = card
        self._falls = Falls(settings.daemon.state_dir / "falls.json")
        self._costs: dict[str, dict[tuple[str, str, int, float], Measurement]] = defaultdict(dict)
        self._unusable: dict[str, float] = {}
        self.wanted: frozenset[str] = frozenset()

    def learn(self, measurements: Iterable[Measurement]) -> None:
        """Take in what separations have cost, newest first or one by one."""
        for measured in (measurement.of_one_pass() for measurement in measurements):
            place = (measured.device, measured.precision, measured.batch, round(measured.segment, 2))
            known = self._costs[measured.model].get(place, measured)
            self._costs[measured.model][place] = replace(
                measured,
                peak_ram=max(measured.peak_ram, known.peak_ram), peak_vram=max(measured.peak_vram, known.peak_vram),
                seconds_per_audio_second=max(measured.seconds_per_audio_second, known.seconds_per_audio_second),
            )  # fmt: skip

    def fell(self, job: int, fall: Fall) -> None:
        """Memory ran out."""
        self._falls.add(job, fall)

    def cannot_use(self, device: str, now: float) -> None:
        """The engine cannot compute on a card that the driver lists: leave it out for a while. now: Unix time."""
        self._unusable[device] = now + _UNUSABLE_FOR

    def forget(self, job: int) -> None:
        """The job has ended well or for good."""
        self._falls.forget(job, time.time())

    def lacking(self, job: int) -> str:
        """Say what a job lacked when it fell off the last rung; "" if memory never ran out."""
        falls = self._falls.of(job)
        return ladder.missing(falls) if falls else ""

    def model_of(self, job: Job) -> str:
        """Tell which model separates a job; "" when its rule is gone."""
        rule = self.settings.rule(job.rule)
        return effective(rule, job.preset, job.model).model if rule else ""

    def folders(self) -> tuple[Path, ...]:
        """Where disk is needed."""
        return (self.settings.daemon.state_dir, *(rule.outbox for rule in self.settings.rules))

    def candidates(
        self, waiting: Sequence[Job], rules: Mapping[str, Rule], headroom: Headroom, now: float, work: Path
    ) -> list[Candidate]:
        """Describe every waiting job to the planner. work: the folder of the jobs' folders."""
        found = [
            self._candidate(job, effective(rules[job.rule], job.preset, job.model), headroom, now, work)
            for job in waiting
            if job.rule in rules
        ]
        self.wanted = frozenset(candidate.key for candidate in found if candidate.key)
        return found

    def key_at(self, job: Job, rung: Rung | None, work: Path) -> str:
        """Give the separation key of a job that is being separated on a rung; "" for any other. work: as above."""
        rule, mix = self.settings.rule(job.rule), _mix(folder_of(work, job)) if rung else None
        card = self._card(self.model_of(job)) if mix else None
        if rule is None or rung is None or mix is None or card is None:
            return ""
        return separation_key(job, mix, effective(rule, job.preset, job.model), card, rung.segment)

    def limit(self, job: Job, rule: Rule, rung: Rung | None) -> float:
        """Give the seconds after which a separation on this rung is given up: by its measured speed, else a guess."""
        if rung is None:
            return math.inf
        mix = _mix(folder_of(self.settings.daemon.state_dir / "work", job))
        audio = mix.seconds if mix else 0.0
        network = self._network(rule)
        return max(
            ladder.time_limit(option, network, audio)
            for option in ladder.options([rung], network, [*self._costs[rule.model].values()], audio=audio)
        )

    def _candidate(self, job: Job, rule: Rule, headroom: Headroom, now: float, work: Path) -> Candidate:
        mix = None if job.stage in _BEFORE_MIX else _mix(folder_of(work, job))
        options: tuple[Option, ...] = ()
        if job.stage in _ON_ENGINE:
            options = self._options(job, rule, headroom, now, mix.seconds if mix else 0.0)
        key = self._key(job, rule, mix)
        kept = bool(key) and self._is_kept(rule, key)
        return Candidate(
            job=job.id, rule=job.rule, stage=job.stage, created=job.created, name=job.name, priority=rule.priority,
            due=job.due if job.changed <= now else 0.0, reason=job.reason, options=options,
            need=Need(_FORMING if kept else _MEMORY.get(job.stage, 0), disk=self._disk(job, rule, mix)), key=key,
            kept=kept,
        )  # fmt: skip

    def _key(self, job: Job, rule: Rule, mix: Mix | None) -> str:
        """Which separation a job asks for, if memory allows it; "" while that is not known."""
        card = self._card(rule.model)
        if mix is None or card is None or job.stage is not Stage.SEPARATE:
            return ""
        return separation_key(job, mix, rule, card, nominal_segment(rule, card))

    def _is_kept(self, rule: Rule, key: str) -> bool:
        """Whether a job's stems are there, or can be formed of those that are."""
        card, folder = self._card(rule.model), self.settings.daemon.state_dir / "results" / key
        if card is None or not folder.exists():
            return False
        try:
            wanted, _ = missing(resolve(rule, card), report(folder).get("files", {}), rule, card)
        except EnvironmentFault:  # it asks for stems that there are not; the stage says so
            return False
        return not wanted

    def _options(self, job: Job, rule: Rule, headroom: Headroom, now: float, audio: float) -> tuple[Option, ...]:
        card = self._card(rule.model)
        training = card.segment if card else _UNKNOWN_SEGMENT
        unusable = {device for device, until in self._unusable.items() if now < until}
        devices = ladder.devices(self.settings.resources.device, headroom, unusable)
        rungs = ladder.rungs(devices, rule.precision, min(rule.segment or training, training), training)
        measured, own = [*self._costs[rule.model].values()], self._falls.of(job.id)
        others = self._falls.others(job.id, rule.model)
        return ladder.options(rungs, self._network(rule), measured, own, others, now=now, audio=audio)

    def _network(self, rule: Rule) -> ladder.Network:
        """Describe what a rule's separation runs, as if none of its stems were kept."""
        card = self._card(rule.model)
        if card is None:
            return ladder.Network()
        made = self._made(rule, card)
        passes, held = lanes.passes(made, rule, card), lanes.held(made, rule, card)
        return ladder.Network(card.family, card.parameters, card.members, passes, held)

    def _disk(self, job: Job, rule: Rule, mix: Mix | None) -> dict[Path, int]:
        """Bytes that the rest of the walk will write below the state folder and the outbox."""
        sound = mix.frames * mix.channels * _WAV_BYTES if mix else _guess(job)
        stems = sound * self._stems(rule)
        state = stems + sound * self._free(rule) if job.stage in _BEFORE_STEMS else 0
        state += sound if job.stage in _BEFORE_MIX else 0
        state += job.stat.size if job.stage is Stage.TAKE else 0
        film = job.stat.size if rule.remux else 0
        delivered = stems + film if job.stage in _BEFORE_DELIVERY else 0
        return {self.settings.daemon.state_dir: state, rule.outbox: delivered}

    def _free(self, rule: Rule) -> int:
        """How many stems more than its own a rule's separation keeps, for other rules."""
        card = self._card(rule.model)
        return len(self._made(rule, card)) - self._stems(rule) if card else 0

    def _made(self, rule: Rule, card: ModelCard) -> tuple[str, ...]:
        """Name the stems that a rule's separation makes, with those that it keeps for other rules."""
        stems = card.sources if rule.stems == ("all",) else rule.stems
        return (*stems, *free(stems, rule, beside(rule, self.settings.rules), card))

    def _stems(self, rule: Rule) -> int:
        if rule.stems != ("all",):
            return len(rule.stems)
        card = self._card(rule.model)
        return len(card.sources) if card else _FOUR_STEMS


def _guess(job: Job) -> int:
    """Bytes of the mix, before anybody has looked into the file."""
    extension = os.path.splitext(os.fsdecode(job.name))[1].lower()  # noqa: PTH122 - names are bytes
    return round(job.stat.size * (_GROWTH_LOSSLESS if extension in _LOSSLESS else _GROWTH_LOSSY))


def _mix(folder: Path) -> Mix | None:
    try:
        return read_fact(folder / "mix.json", Mix)
    except (StemdError, OSError):
        return None
