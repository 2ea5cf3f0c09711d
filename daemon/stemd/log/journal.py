"""Writes events for systemd's journal: natively, each with its fields, or as lines that carry their priority.

The native protocol: https://systemd.io/JOURNAL_NATIVE_PROTOCOL. Ask for what belongs to a job or a rule with
`journalctl STEMD_JOB=12` and `journalctl STEMD_RULE=karaoke`.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stemd.log.words import around

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from loguru import Message, Record

ADDRESS: Final = Path("/run/systemd/journal/socket")
PRIORITIES: Final = {"CRITICAL": 2, "ERROR": 3, "WARNING": 4, "SUCCESS": 5, "INFO": 6, "DEBUG": 7, "TRACE": 7}
"""Levels of syslog(3) for those of loguru; SUCCESS is the journal's notice."""
_FIELDS: Final = ("job", "rule", "stage", "seconds", "device", "code")
"""What events are bound to, each the field STEMD_..."""
_PATIENCE: Final = 1.0  # seconds until a journal that takes nothing counts as gone


class Journal:
    """Where the journal takes events. What it does not take is written to standard error as lines instead."""

    def __init__(self, address: Path = ADDRESS) -> None:
        self._address = str(address)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(_PATIENCE)

    def write(self, message: Message) -> None:
        """Send one event, in one datagram."""
        try:
            self._socket.sendto(datagram(fields(message)), self._address)
        except OSError:  # journald is being restarted, or a traceback is too long for one datagram
            lines(message)

    def stop(self) -> None:
        """Send no more."""
        self._socket.close()


def listens() -> bool:
    """Whether standard error is the journal's own, so that it may be spoken to natively (systemd.exec(5))."""
    try:
        told = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{told.st_dev}:{told.st_ino}" and ADDRESS.exists()


def lines(message: Message) -> None:
    """Write one event as one line, its priority before it as `<N>` (sd-daemon(3))."""
    head, *traceback = _text(message).splitlines() or [""]
    frames = " | ".join(line.strip() for line in traceback if line.strip())
    sys.stderr.write(f"<{_priority(message.record)}>{head}{' | ' if frames else ''}{frames}\n")
    sys.stderr.flush()


def fields(message: Message) -> dict[str, str]:
    """Give an event's fields as the journal knows them (systemd.journal-fields(7))."""
    record = message.record
    told = {
        "MESSAGE": _text(message), "PRIORITY": str(_priority(record)), "SYSLOG_IDENTIFIER": "stemd",
        "CODE_FILE": record["file"].path, "CODE_LINE": str(record["line"]), "CODE_FUNC": record["function"],
    }  # fmt: skip
    told |= {f"STEMD_{name.upper()}": str(value) for name, value in _bound(record["extra"])}
    return told


def datagram(told: Mapping[str, str]) -> bytes:
    """Write fields as the native protocol has them: NAME=value, or with the length before a value of several lines."""
    parts = []
    for name, value in told.items():
        raw = value.encode("utf-8", "surrogateescape")
        if b"\n" in raw:
            parts.append(name.encode() + b"\n" + len(raw).to_bytes(8, "little") + raw + b"\n")
        else:
            parts.append(name.encode() + b"=" + raw + b"\n")
    return b"".join(parts)


def _bound(extra: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    return ((name, extra[name]) for name in _FIELDS if extra.get(name) not in {None, ""})


def _text(message: Message) -> str:
    where, cost = around(message.record["extra"])
    text, *traceback = str(message).rstrip().split("\n")
    return "\n".join([f"{where}{text}{cost}", *traceback])


def _priority(record: Record) -> int:
    return PRIORITIES.get(record["level"].name, 6)
