"""Watchdog events wake the daemon's look at an inbox. Events are lost in bursts and after remounts: never the truth."""

from __future__ import annotations

import errno
import time
from typing import TYPE_CHECKING, Final

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from watchdog.observers.api import BaseObserver, ObservedWatch

    from stemd.mounts import FileSystem

RETRY: Final = 600.0
"""Seconds for which nothing new is watched after the machine has refused to."""

_LIMITS: Final = frozenset({errno.ENOSPC, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""What the machine refuses to all: fs.inotify.max_user_watches, max_user_instances and their like."""

_TELLING = frozenset({"created", "moved", "modified", "closed"})


class Watch:
    """Watches inboxes and calls `wake(rule)` when something changed there; calls may come from any thread.

    One inotify instance serves all of them: a user has 128 for all programs together.
    """

    def __init__(self, wake: Callable[[str], None]) -> None:
        self._wake = wake
        self._observer: BaseObserver | None = None
        self._watched: dict[str, tuple[tuple[int, int], ObservedWatch]] = {}
        self._refusal = ""
        self._refused_until = 0.0

    def follow(self, rule: str, inbox: Path, identity: tuple[int, int], disk: FileSystem) -> str:
        """Watch an inbox that is online, anew if it is another folder than before (unmounted and mounted again).

        identity: (device, inode). disk: what it lies on.
        Returns why it cannot be watched, "" if it can: looks alone do as well, only later.
        """
        before = self._watched.get(rule)
        if before is not None and before[0] == identity and self._alive(before[1]):
            return ""
        self.leave(rule)
        if disk.network:
            return "a network share tells of no changes made elsewhere"
        if time.monotonic() < self._refused_until:
            return self._refusal
        try:
            watch = self._running().schedule(_Waker(rule, self._wake), str(inbox), recursive=True)
        except OSError as fault:
            told = f"no events ({fault.strerror or fault})"
            return self._refuse(f"{told}; see /proc/sys/fs/inotify") if fault.errno in _LIMITS else told
        except RuntimeError as fault:  # no thread left: what was begun ends only together with its observer
            self.close()
            return self._refuse(f"no events ({fault}); raise TasksMax= of the service")
        self._watched[rule] = (identity, watch)
        return ""

    def leave(self, rule: str) -> None:
        """Watch an inbox no longer."""
        before = self._watched.pop(rule, None)
        if before is not None and self._observer is not None:
            self._observer.unschedule(before[1])

    def close(self) -> None:
        """Watch nothing any more."""
        self._watched.clear()
        if self._observer is not None:
            self._observer.stop()
            self._observer = None

    def _running(self) -> BaseObserver:
        if self._observer is None:
            self._observer = Observer()
            self._observer.start()
        return self._observer

    def _alive(self, watch: ObservedWatch) -> bool:
        """Whether it still tells: it ends with the folder, whose number a new one may have."""
        emitters = self._observer.emitters if self._observer is not None else ()
        return any(emitter.watch == watch and emitter.is_alive() for emitter in emitters)

    def _refuse(self, why: str) -> str:
        self._refusal, self._refused_until = why, time.monotonic() + RETRY
        return why


class _Waker(FileSystemEventHandler):
    def __init__(self, rule: str, wake: Callable[[str], None]) -> None:
        self._rule = rule
        self._wake = wake

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type in _TELLING:
            self._wake(self._rule)
