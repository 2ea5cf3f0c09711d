"""The log: one line an event, for a person at a terminal, for the journal, or as JSON for programs."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from loguru import logger

if TYPE_CHECKING:
    from loguru import Message, Record

Form: TypeAlias = Literal["auto", "human", "journal", "json"]

_PRIORITIES: Final = {"CRITICAL": 2, "ERROR": 3, "WARNING": 4, "SUCCESS": 5, "INFO": 6, "DEBUG": 7, "TRACE": 7}
"""Levels of syslog(3), which the journal reads from `<N>` before a line (sd-daemon(3))."""


def set_up(form: Form = "auto", level: str = "INFO") -> None:
    """Send the log to standard error. auto: `journal` under systemd, `human` otherwise."""
    if form == "auto":
        form = "journal" if "JOURNAL_STREAM" in os.environ and not sys.stderr.isatty() else "human"
    logger.remove()
    if form == "human":
        logger.add(sys.stderr, level=level, format=_human, backtrace=False, diagnose=False)
    else:
        logger.add(_journal if form == "journal" else _json, level=level, format="{message}", backtrace=False,
                   diagnose=False)  # fmt: skip


def _human(record: Record) -> str:
    """A line for a terminal; loguru fills the braces in, so that no text of ours is taken for markup."""
    record["extra"]["_where"] = _where(record["extra"])
    record["extra"]["_cost"] = _cost(record["extra"])
    head = "<dim>{time:HH:mm:ss}</dim> <level>{level: <7}</level> "
    return head + "{extra[_where]}{message}<dim>{extra[_cost]}</dim>\n{exception}"


def _journal(message: Message) -> None:
    record = message.record
    text = f"{_where(record['extra'])}{str(message).rstrip()}{_cost(record['extra'])}"
    priority = _PRIORITIES.get(record["level"].name, 6)
    _write("".join(f"<{priority}>{line}\n" for line in text.splitlines()))


def _json(message: Message) -> None:
    record = message.record
    line: dict[str, Any] = {
        "time": record["time"].isoformat(timespec="milliseconds"), "level": record["level"].name.lower(),
        "message": record["message"],
    }  # fmt: skip
    line |= {name: value for name, value in record["extra"].items() if not name.startswith("_")}
    if record["exception"] is not None:
        line["exception"] = str(message).rstrip()
    _write(json.dumps(line, default=str) + "\n")


def _where(extra: dict[str, Any]) -> str:
    parts = [f"job {extra['job']}"] if "job" in extra else []
    parts += [str(extra[name]) for name in ("rule", "stage") if name in extra]
    return f"[{' '.join(parts)}] " if parts else ""


def _cost(extra: dict[str, Any]) -> str:
    parts = [f"{extra['seconds']} s"] if "seconds" in extra else []
    parts += [str(extra["device"])] if "device" in extra else []
    return f" ({', '.join(parts)})" if parts else ""


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
