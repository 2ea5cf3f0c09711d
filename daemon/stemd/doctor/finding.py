"""One line of the doctor's report."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Level(StrEnum):
    """How bad it is: a problem keeps some work from being done, a warning makes it later, slower or less safe."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, how it stands, and what to do; advice is empty where all is well."""

    area: str
    level: Level
    text: str
    advice: str = ""


def ok(area: str, text: str) -> Finding:
    """All is well."""
    return Finding(area, Level.OK, text)


def warning(area: str, text: str, advice: str) -> Finding:
    """It works, but not as well as it could."""
    return Finding(area, Level.WARNING, text, advice)


def problem(area: str, text: str, advice: str) -> Finding:
    """Something will not work."""
    return Finding(area, Level.PROBLEM, text, advice)


def verdict(findings: Iterable[Finding]) -> Level:
    """The worst level among them."""
    order = list(Level)
    return max((finding.level for finding in findings), key=order.index, default=Level.OK)
