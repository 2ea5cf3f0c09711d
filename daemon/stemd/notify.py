"""Tells systemd how the daemon stands (sd_notify(3)). Never fails and never blocks: without systemd nothing is sent."""

from __future__ import annotations

import os
import socket
import time


def ready(status: str = "") -> bool:
    """Start-up, or a reload, is complete; with `status`, both are told in one message."""
    return _send("READY=1", *_status(status))


def reloading() -> bool:
    """A new configuration is being read; `ready` ends it."""
    # The time lets systemd 253 and newer tell this reload from an earlier one (Type=notify-reload).
    return _send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


def stopping(status: str = "") -> bool:
    """The daemon has begun to stop."""
    return _send("STOPPING=1", *_status(status))


def status(text: str) -> bool:
    """One line for `systemctl status`."""
    return _send(*_status(text))


def watchdog() -> bool:
    """A sign of progress: send it only while every part of the daemon moves."""
    return _send("WATCHDOG=1")


def watchdog_seconds() -> float | None:
    """How often at least systemd wants a sign of progress; None where it wants none from this process."""
    limit = os.environ.get("WATCHDOG_USEC", "")
    owner = os.environ.get("WATCHDOG_PID", "")
    if not limit.isdecimal() or int(limit) == 0 or (owner and owner != str(os.getpid())):
        return None
    return int(limit) / 1_000_000


def _status(text: str) -> tuple[str, ...]:
    """Fit a text on the one line that the protocol has for it."""
    return (f"STATUS={' '.join(text.split())}",) if text else ()


def _send(*assignments: str) -> bool:
    """Send one datagram; whether there was someone to take it."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not assignments or not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):  # an abstract address, whose first byte is 0
        address = "\0" + address[1:]
    message = "\n".join(assignments).encode(errors="surrogateescape")
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.settimeout(0)
            return out.sendto(message, address) == len(message)
    except OSError:  # systemd is gone or its queue is full: the work goes on without it
        return False
