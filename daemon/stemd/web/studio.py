"""What the pages know of the studio: its rules, and the ledger opened anew for each question."""

from __future__ import annotations

import contextlib
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stemd import flow
from stemd.errors import StemdError
from stemd.ledger import jobs, open_for_asking, requests
from stemd.web.shares import Answer, Shares

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from stemd.ledger import Ledger
    from stemd.model import Job, Rule
    from stemd.web.rules import Rules

_DECISIONS = frozenset({"approve", "reject", "rerun"})


@dataclass(frozen=True, slots=True)
class Studio:
    """One state folder, the rules of its daemon, and how the pages may be used.

    token: asked for with every request; "" for none, on loopback. csrf: known to our own pages only, new each start.
    shares: which of the rules' folders owe an answer.
    """

    state: Path
    rules: Rules
    token: str = ""
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    shares: Shares = field(default_factory=Shares)

    @contextlib.contextmanager
    def ledger(self) -> Iterator[Ledger]:
        """Open the ledger for one question: a connection belongs to one thread."""
        ledger = open_for_asking(self.state)
        try:
            yield ledger
        finally:
            ledger.close()

    def folders(self, rule: Rule) -> tuple[Path, Path]:
        """Where files may be served from."""
        return rule.review, rule.outbox

    def look(self, rule: str, file: Path, question: Callable[[], Answer]) -> Answer:
        """Ask something of a file that a job of this rule has left. Raises StemdError "share-hangs", and as it does."""
        found = self.rules.find(rule)
        folders = self.folders(found) if found else ()
        return self.shares.ask(next((each for each in folders if file.is_relative_to(each)), file.parent), question)

    def ask(self, verb: str, who: str, job: int | None, details: Mapping[str, Any]) -> int:
        """Leave a request for the daemon; returns its number. Raises StemdError for what does not apply (any more)."""
        with self.ledger() as ledger:
            if job is not None:
                found = jobs.get(ledger, job)
                if verb == "cancel":
                    flow.cancellable(found)
                elif verb in _DECISIONS:
                    flow.reviewable(found)
                    _check_nobody_was_faster(ledger, found)
            return requests.ask(ledger, verb, who=who, now=time.time(), job=job, details=dict(details))


def _check_nobody_was_faster(ledger: Ledger, job: Job) -> None:
    asked = requests.unanswered_for(ledger, job.id)
    if asked is not None:
        raise StemdError(
            "not-now", f"{asked.who} has asked to {asked.verb} job {job.id} already",
            "the daemon answers as soon as it runs",
        )  # fmt: skip
