"""A message to one receiver, and its words. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from stemd.alerts.look import Line  # noqa: TC001 - read_fact forms the fields by their types
from stemd.report.words import many

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAMED: Final = 5
"""So many recordings are named in a message."""
_LINES: Final = 40
"""So many recordings and lines of text a message carries; the older ones go."""


@dataclass(frozen=True, slots=True)
class Letter:
    """What one receiver is to be told. channel: which. attempts: how often it could not be sent. due: not before."""

    channel: str
    event: str
    text: str
    at: float
    lines: tuple[Line, ...] = ()
    attempts: int = 0
    due: float = 0.0

    def and_then(self, later: Letter) -> Letter:
        """One letter of two about the same event, of which the first could not be sent yet."""
        text = "\n".join(f"{self.text}\n{later.text}".splitlines()[-_LINES:])
        return replace(self, text=text, at=later.at, lines=(*self.lines, *later.lines)[-_LINES:])

    def facts(self, host: str) -> dict[str, Any]:
        """Give it for programs, JSON-ready."""
        jobs = [asdict(line) for line in self.lines]
        return {"event": self.event, "text": self.text, "host": host, "at": self.at, "jobs": jobs}


def failed(lines: Sequence[Line]) -> str:
    """Say which recordings failed."""
    if len(lines) == 1:
        hint = f" -> {lines[0].hint}" if lines[0].hint else ""
        return f"{lines[0].name} failed: {lines[0].why}{hint}"
    return f"{many(len(lines), 'recording')} failed: {_names(lines)}"


def hooks(lines: Sequence[Line]) -> str:
    """Say after which recordings the rule's command failed; they are delivered all the same."""
    if len(lines) == 1:
        return f"{lines[0].name} is delivered, but {lines[0].why} -> {lines[0].hint}"
    return f"{many(len(lines), 'recording')} delivered whose command failed: {_names(lines)}"


def review(lines: Sequence[Line]) -> str:
    """Say what waits for a listener."""
    if len(lines) == 1:
        return f"{lines[0].name} waits for a listener: {lines[0].why}"
    return f"{many(len(lines), 'recording')} wait for a listener: {_names(lines)}"


def stuck(faults: Sequence[str], lines: Sequence[Line]) -> str:
    """Say what keeps work from going on. faults: sentences. lines: recordings that need more memory than there is."""
    said = list(faults)
    if lines:
        said.append(f"{_names(lines)} held: {lines[0].why} -> {lines[0].hint}")
    return "\n".join(said)


def done(count: int, to_review: int, lost: int) -> str:
    """Say that nothing is left, and how it went."""
    parts = [f"{many(count, 'recording')} done"]
    parts += [f"{to_review} to review"] if to_review else []
    parts += [f"{lost} failed"] if lost else []
    return f"nothing is left to do: {', '.join(parts)}"


def _names(lines: Sequence[Line]) -> str:
    names = [line.name for line in lines[:_NAMED]]
    more = len(lines) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")
