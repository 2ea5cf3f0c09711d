"""What is remembered between two looks: what is yet to be told, and what was told. Decides; sends nothing.

Each thing is told once: a failure, a command that failed, a fault that lasts, a result that begins to wait, the end of
all work. What comes within `every` seconds of a message of its kind is gathered for the next.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from stemd.alerts import letter
from stemd.alerts.letter import Letter
from stemd.alerts.look import Line  # noqa: TC001 - read_fact forms the fields by their types

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from stemd.alerts.look import Seen
    from stemd.config import Notify

CALM: Final = 60.0
"""Seconds without work after which all is done: between two files of one copy there may be none."""
OVER: Final = 150.0
"""Seconds without a fault after which it is over: a job that tries again looks well for a moment."""


@dataclass(slots=True)
class Fault:
    """Something that keeps work from going on. first, last: when it was seen, Unix time."""

    text: str
    first: float
    last: float
    told: bool = False


@dataclass(slots=True)
class Memory:
    """step: the last event looked at; None before the first look. at: when it was written. waiting: jobs that are held.

    failed, hooks, review, held: gathered for the next message. busy: whether there was work since the last end of it;
    idle: since when there is none, 0 while there is. done, to_review, lost: what came of it; to_review: the jobs that
    still wait. sent: when each event was told last. letters: not sent yet.
    """

    step: int | None = None
    at: float = 0.0
    waiting: tuple[int, ...] = ()
    failed: tuple[Line, ...] = ()
    hooks: tuple[Line, ...] = ()
    review: tuple[Line, ...] = ()
    held: tuple[Line, ...] = ()
    faults: dict[str, Fault] = field(default_factory=dict)
    busy: bool = False
    idle: float = 0.0
    done: int = 0
    to_review: tuple[int, ...] = ()
    lost: int = 0
    sent: dict[str, float] = field(default_factory=dict)
    letters: tuple[Letter, ...] = ()

    def take_in(self, seen: Seen, now: float) -> None:
        """Gather what a look has shown. now: Unix time."""
        self._set_clock(now)
        first = self.step is None
        self.step, self.at = seen.step, seen.at
        if seen.other:  # the numbers of its jobs mean other recordings
            self.waiting, self.review, self.held, self.to_review = (), (), (), ()
        fresh = () if first else tuple(line for line in seen.review if line.job not in self.waiting)
        lacking = () if first else tuple(line for line in seen.held if line.job not in self.waiting)
        still = {line.job for line in (*seen.review, *seen.held)}
        self.waiting = tuple(sorted(still))
        self.failed += seen.failed
        self.hooks += seen.hooks
        self.review = (*(line for line in self.review if line.job in still), *fresh)
        self.held = (*(line for line in self.held if line.job in still), *lacking)
        self._take_in_faults(seen.faults, now)
        self._take_in_work(seen, fresh, now)

    def write(self, notify: Notify, now: float) -> None:
        """Write the letters that are due: one for each event and receiver."""
        for event, text, lines in self._due(notify, now):
            if event in notify.events:
                self.sent[event] = now
                for channel in channels(notify):
                    self._post(Letter(channel, event, text, now, tuple(lines)))
        self.letters = tuple(each for each in self.letters if each.channel in channels(notify))

    def _due(self, notify: Notify, now: float) -> Iterator[tuple[str, str, Sequence[Line]]]:
        if (self.failed or self.hooks) and self._quiet("failed", notify, now):
            if self.failed:
                yield "failed", letter.failed(self.failed), self.failed
            if self.hooks:
                yield "failed", letter.hooks(self.hooks), self.hooks
            self.failed = self.hooks = ()
        faults = [fault for fault in self.faults.values() if not fault.told and now - fault.first >= notify.lasting]
        if (faults or self.held) and self._quiet("stuck", notify, now):
            yield "stuck", letter.stuck([fault.text for fault in faults], self.held), self.held
            self.held = ()
            for fault in faults:
                fault.told = True
        if self.review and self._quiet("review", notify, now):
            yield "review", letter.review(self.review), self.review
            self.review = ()
        if self.busy and self.idle and now - self.idle >= CALM and self._quiet("done", notify, now):
            if self.done or self.to_review or self.lost:
                yield "done", letter.done(self.done, len(self.to_review), self.lost), ()
            self.busy, self.done, self.to_review, self.lost = False, 0, (), 0

    def _quiet(self, event: str, notify: Notify, now: float) -> bool:
        return now - self.sent.get(event, 0.0) >= notify.every

    def _set_clock(self, now: float) -> None:
        """After the clock was set back, waiting begins now: what was remembered must not lie ahead."""
        self.sent = {event: min(at, now) for event, at in self.sent.items()}
        self.idle = min(self.idle, now)
        for fault in self.faults.values():
            fault.first, fault.last = min(fault.first, now), min(fault.last, now)

    def _take_in_faults(self, faults: Iterable[tuple[str, str]], now: float) -> None:
        for name, text in faults:
            known = self.faults.setdefault(name, Fault(text, now, now))
            known.text, known.last = text, now
        self.faults = {name: fault for name, fault in self.faults.items() if now - fault.last < OVER}

    def _take_in_work(self, seen: Seen, fresh: Iterable[Line], now: float) -> None:
        self.done += seen.done
        known = {*self.to_review, *(line.job for line in fresh)}
        self.to_review = tuple(line.job for line in seen.review if line.job in known)
        self.lost += len(seen.failed)
        if seen.open:
            self.busy, self.idle = True, 0.0
        elif self.done or self.lost or self.to_review or self.busy:  # it may have come and gone between two looks
            self.busy, self.idle = True, self.idle or now

    def _post(self, fresh: Letter) -> None:
        """Put a letter to those that are not sent yet; two about the same become one, so that they cannot pile up."""
        place = (fresh.channel, fresh.event)
        before = next((each for each in self.letters if (each.channel, each.event) == place), None)
        if before is None:
            self.letters += (fresh,)
        else:
            self.letters = tuple(each.and_then(fresh) if each is before else each for each in self.letters)


def channels(notify: Notify) -> tuple[str, ...]:
    """Name the receivers: command, webhook, or both."""
    return tuple(name for name in ("command", "webhook") if getattr(notify, name))
