"""Sets the log up: its form, and from which level on."""

from __future__ import annotations

import json
import os
import sys
import warnings
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from loguru import logger

from stemd.log import journal
from stemd.log.words import around

if TYPE_CHECKING:
    from loguru import Message, Record

Form: TypeAlias = Literal["auto", "human", "journal", "json"]


def set_up(form: Form = "auto", level: str = "INFO") -> None:
    """Send the log to the journal or to standard error. auto: `journal` under systemd, `human` otherwise."""
    if form == "auto":
        form = "journal" if "JOURNAL_STREAM" in os.environ and not sys.stderr.isatty() else "human"
    logger.remove()
    warnings.showwarning = _library_warns  # type: ignore[assignment]  # takes all that may come
    if form == "human":
        logger.add(sys.stderr, level=level, format=_human, backtrace=False, diagnose=False)
        return
    lines = _json if form == "json" else journal.lines
    sink = journal.Journal() if form == "journal" and journal.listens() else lines
    logger.add(sink, level=level, format="{message}", backtrace=False, diagnose=False)


def _library_warns(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object) -> None:
    """Python's warnings are for developers: watchdog's, for example, when a folder is made and renamed as it looks."""
    logger.debug("{} in {}, line {}: {}", category.__name__, filename, lineno, message)


def _human(record: Record) -> str:
    """A line for a terminal; loguru fills the braces in, so that no text of ours is taken for markup."""
    record["extra"]["_where"], record["extra"]["_cost"] = around(record["extra"])
    head = "<dim>{time:HH:mm:ss}</dim> <level>{level: <7}</level> "
    return head + "{extra[_where]}{message}<dim>{extra[_cost]}</dim>\n{exception}"


def _json(message: Message) -> None:
    record = message.record
    line: dict[str, Any] = {
        "time": record["time"].isoformat(timespec="milliseconds"), "level": record["level"].name.lower(),
        "message": record["message"],
    }  # fmt: skip
    line |= {name: value for name, value in record["extra"].items() if not name.startswith("_")}
    if record["exception"] is not None:
        line["exception"] = str(message).rstrip()
    sys.stderr.write(json.dumps(line, default=str) + "\n")
    sys.stderr.flush()
