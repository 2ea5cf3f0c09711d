"""Looks at every rule's inbox in its turn, without ever waiting for one; says what has settled and what is offline."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from loguru import logger

from stemd import patience
from stemd.inbox import Look, Sighting, look, next_look, settle
from stemd.mounts import UNKNOWN
from stemd.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from stemd.model import Arrival, Rule, Stat
    from stemd.mounts import FileSystem

RESCAN_NETWORK: Final = 10.0
_CALM: Final = 0.3  # seconds from an event to the look that it wakes: events come in bursts


@dataclass(slots=True)
class Inbox:
    """What is known of one rule's inbox. Times are monotonic seconds.

    looking: when the present look last came a step forward; None if nobody looks.
    disk: what the inbox lay on when it was last listed. unwatched: why nothing but looks tells of changes.
    """

    rule: Rule
    known: dict[bytes, Stat]
    disk: FileSystem = UNKNOWN
    sightings: dict[bytes, Sighting] = field(default_factory=dict)
    links: frozenset[bytes] = frozenset()
    alone: frozenset[bytes] = frozenset()
    unreadable: frozenset[bytes] = frozenset()
    unready: int = 0
    offline: str = ""
    unwatched: str = ""
    identity: tuple[int, int] = (0, 0)
    due: float = 0.0
    looking: float | None = None
    looks: int = 0

    def settle_seconds(self) -> float:
        """How long a file has to stay the same; not at all where its sender tells that it is complete."""
        if self.rule.ready == "marker":
            return 0.0
        return self.rule.settle or self.disk.settle


class Inboxes:
    """All inboxes. Its methods are called by the daemon's thread; only `wake` may come from another.

    rescan: seconds between looks at a local inbox. once_own: as `look` has it.
    """

    def __init__(self, rescan: float, post: Callable[[Look | str], None]) -> None:
        """rescan: as above. post: told a finished look or a woken rule."""
        self.rescan = rescan
        self.once_own: frozenset[Path] = frozenset()
        self._post = post
        self._watch = Watch(post)
        self.all: dict[str, Inbox] = {}

    def follow(self, rules: Iterable[Rule], known: Callable[[str], Iterable[tuple[bytes, Stat]]]) -> None:
        """Follow these rules' inboxes from now on, and no others. known: what the ledger knows of a rule's files."""
        wanted = {rule.name: rule for rule in rules}
        for name in set(self.all) - set(wanted):
            self._watch.leave(name)
            del self.all[name]
        for name, rule in wanted.items():
            before = self.all.get(name)
            if before is not None and before.rule.inbox == rule.inbox:
                before.rule = rule
                before.due = 0.0
            else:
                self._watch.leave(name)
                self.all[name] = Inbox(rule, dict(known(name)))
            self._tell_left_alone(rule)

    def _tell_left_alone(self, rule: Rule) -> None:
        for folder in sorted(self.once_own.difference(rule.own_folders)):
            if rule.inbox in folder.parents:
                logger.bind(rule=rule.name).info(
                    "{} was once for review, failed or archive and is left alone; new recordings go to other folders",
                    folder,
                )

    def wake(self, rule: str, now: float) -> None:
        """Look at a rule's inbox soon."""
        inbox = self.all.get(rule)
        if inbox is not None:
            inbox.due = min(inbox.due, now + _CALM)

    def start_due(self, now: float) -> None:
        """Start the looks that are due, each in a thread of its own: a share that hangs holds up nobody."""
        for inbox in self.all.values():
            if inbox.looking is None and inbox.due <= now:
                inbox.looking = now
                threading.Thread(target=self._look, args=(inbox,), name=f"look-{inbox.rule.name}", daemon=True).start()
            elif inbox.looking is not None and now - inbox.looking > patience.STILL and not inbox.offline:
                self._set_offline(inbox, f"does not answer for {patience.STILL:.0f} s")

    def _look(self, inbox: Inbox) -> None:
        def moved() -> None:
            inbox.looking = time.monotonic()

        self._post(look(inbox.rule, time.monotonic(), moved, self.once_own))

    def receive(self, seen: Look, now: float) -> list[Arrival]:
        """Take in a finished look; returns the arrivals that are settled."""
        inbox = self.all.get(seen.rule)
        if inbox is None or seen.inbox != os.fsencode(inbox.rule.inbox):  # by a configuration that is no longer used
            return []
        inbox.looking = None
        often = min(self.rescan, RESCAN_NETWORK)
        if gone := seen.offline or _unmounted(inbox, seen):
            self._set_offline(inbox, gone)
            inbox.due = now + often
            return []
        rescan = often if seen.disk.network else self.rescan
        self._set_online(inbox, seen, rescan)
        inbox.sightings, settled = settle(inbox.sightings, seen, inbox.known, inbox.settle_seconds())
        inbox.due = next_look(inbox.sightings, now, inbox.settle_seconds(), rescan)
        inbox.looks += 1
        return settled

    def taken_in(self, arrivals: Iterable[Arrival]) -> None:
        """These have become jobs."""
        for arrival in arrivals:
            inbox = self.all.get(arrival.rule)
            if inbox is not None:
                inbox.known[arrival.path] = arrival.stat

    def forget(self, rule: str, path: bytes) -> None:
        """The file was withdrawn: if it is seen again, in whatever version, it is new."""
        inbox = self.all.get(rule)
        if inbox is not None:
            inbox.known.pop(path, None)

    def next_due(self) -> float:
        """When the next look is due (monotonic seconds)."""
        return min((inbox.due for inbox in self.all.values() if inbox.looking is None), default=float("inf"))

    def quiet(self) -> bool:
        """Whether every inbox that is online was looked at, nothing in it waits to settle, and nobody looks."""
        return all(
            inbox.offline or (inbox.looking is None and not inbox.sightings and inbox.looks > 0)
            for inbox in self.all.values()
        )

    def offline(self) -> int:
        """How many inboxes cannot be looked at."""
        return sum(bool(inbox.offline) for inbox in self.all.values())

    def unreadable(self) -> int:
        """How many folders in the inboxes cannot be looked into."""
        return sum(len(inbox.unreadable) for inbox in self.all.values())

    def close(self) -> None:
        """Watch nothing any more."""
        self._watch.close()

    def _set_offline(self, inbox: Inbox, why: str) -> None:
        if inbox.offline != why:
            logger.bind(rule=inbox.rule.name).warning("inbox offline: {}; it is picked up again when it is back", why)
        inbox.offline, inbox.unreadable = why, frozenset()
        inbox.sightings = {}
        self._watch.leave(inbox.rule.name)

    def _set_online(self, inbox: Inbox, seen: Look, rescan: float) -> None:
        entry = logger.bind(rule=inbox.rule.name)
        if inbox.offline:
            entry.info("inbox is back")
        inbox.offline, inbox.identity, inbox.disk = "", seen.identity, seen.disk
        unwatched = self._watch.follow(inbox.rule.name, inbox.rule.inbox, seen.identity, seen.disk)
        if unwatched and unwatched != inbox.unwatched:
            entry.info("looks every {:g} s only: {}", rescan, unwatched)
        inbox.unwatched = unwatched
        for link in set(seen.links) - inbox.links:
            entry.warning("symbolic link, not followed: {}", link.decode("utf-8", "replace"))
        inbox.links = frozenset(seen.links)
        for path in set(seen.alone) - inbox.alone:
            name = path.decode("utf-8", "replace")
            entry.info("{} belongs to a recording that is not here; if that is delivered: stemd redeliver", name)
        inbox.alone = frozenset(seen.alone)
        for folder in set(seen.unreadable) - inbox.unreadable:
            name = folder.decode("utf-8", "replace")
            what_to_do = "give stemd's user the right to read and enter it, and shorten paths of over 4,095 bytes in it"
            entry.warning("{} cannot be looked into; {}", name, what_to_do)
        inbox.unreadable = frozenset(seen.unreadable)
        inbox.unready = sum(inbox.known.get(path) != stat for path, stat in seen.unready.items())
        inbox.known = {path: stat for path, stat in inbox.known.items() if path in seen.files or path in seen.unready}


def _unmounted(inbox: Inbox, seen: Look) -> str:
    """Tell an empty mount point from an emptied inbox: it lies on another device now, with nothing in it."""
    changed = inbox.identity != (0, 0) and inbox.identity[0] != seen.identity[0]
    return "its share is not mounted" if changed and not seen.files and not seen.unready else ""


def summary(inboxes: Mapping[str, Inbox]) -> list[dict[str, object]]:
    """Describe the inboxes for `stemd status`."""
    return [
        {
            "rule": name, "inbox": str(inbox.rule.inbox), "state": "offline" if inbox.offline else "online",
            "reason": inbox.offline, "settling": len(inbox.sightings), "links": len(inbox.links),
            "alone": len(inbox.alone), "unreadable": len(inbox.unreadable), "unready": inbox.unready,
        }
        for name, inbox in inboxes.items()
    ]  # fmt: skip
