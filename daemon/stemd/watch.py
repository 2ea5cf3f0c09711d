"""Watchdog events wake the daemon's look at an inbox. Events are lost in bursts and after remounts: never the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from watchdog.observers.api import BaseObserver

    from stemd.mounts import FileSystem

_TELLING = frozenset({"created", "moved", "modified", "closed"})


class Watch:
    """Watches inboxes and calls `wake(rule)` when something changed there; calls may come from any thread."""

    def __init__(self, wake: Callable[[str], None]) -> None:
        self._wake = wake
        self._watched: dict[str, tuple[tuple[int, int], BaseObserver]] = {}

    def follow(self, rule: str, inbox: Path, identity: tuple[int, int], disk: FileSystem) -> str:
        """Watch an inbox that is online, anew if it is another folder than before (unmounted and mounted again).

        identity: (device, inode). disk: what it lies on.
        Returns why it cannot be watched, "" if it can: looks alone do as well, only later.
        """
        before = self._watched.get(rule)
        if before is not None and before[0] == identity and before[1].is_alive():
            return ""
        self.leave(rule)
        if disk.network:
            return "a network share tells of no changes made elsewhere"
        observer = Observer()
        try:
            observer.schedule(_Waker(rule, self._wake), str(inbox), recursive=True)
            observer.start()
        except OSError as fault:  # ENOSPC: fs.inotify.max_user_watches; EMFILE: max_user_instances
            return f"no events ({fault.strerror or fault}); see /proc/sys/fs/inotify"
        self._watched[rule] = (identity, observer)
        return ""

    def leave(self, rule: str) -> None:
        """Watch an inbox no longer."""
        before = self._watched.pop(rule, None)
        if before is not None:
            before[1].stop()

    def close(self) -> None:
        """Watch nothing any more."""
        for rule in tuple(self._watched):
            self.leave(rule)


class _Waker(FileSystemEventHandler):
    def __init__(self, rule: str, wake: Callable[[str], None]) -> None:
        self._rule = rule
        self._wake = wake

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type in _TELLING:
            self._wake(self._rule)
