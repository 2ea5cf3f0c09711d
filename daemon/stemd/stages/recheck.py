"""RECHECK: has the engine look for vocals in the accompaniment where CHECK flagged some, then measures once more.

Whatever goes wrong here costs the second look only: what CHECK found stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stemd.errors import OutOfMemory, StemdError, WorkerFault
from stemd.files import read_json, write_json
from stemd.flow import MAX_ATTEMPTS
from stemd.model import Rung
from stemd.stages import hearing

if TYPE_CHECKING:
    from pathlib import Path

    from stemd.model import Outcome
    from stemd.stages.work import Work

_SUSPECTS = "suspects.wav"
"""The accompaniment's flagged seconds, as the quality child has cut them out."""


def run(work: Work) -> Outcome:
    """Separate the suspect seconds with the rule's model, and decide by both looks.

    Raises OutOfMemory, for the next rung; WorkerFault, Stopping: it is repeated.
    """
    folder = hearing.again(work.folder)
    try:
        work.children.separate(_request(work, folder), work)
        report = work.children.measure(hearing.question(work) | {"second_look": str(folder)}, work)
    except OutOfMemory:
        raise
    except StemdError as fault:
        if isinstance(fault, WorkerFault) and work.job.attempts - work.job.interruptions < MAX_ATTEMPTS:
            raise
        report = _not_looked(work, fault)
    write_json(work.folder / hearing.REPORT, report)
    return hearing.decided(work.rule, report)


def _request(work: Work, folder: Path) -> dict[str, Any]:
    """Ask for the vocals in what should hold none, by the same network and in the same manner as the song."""
    rule, card = work.rule, work.children.describe(work.rule.model)
    separation = read_json(work.folder / "separation.json")
    rung = work.rung or Rung("cpu", rule.precision, 1, rule.segment or card.segment)
    return {
        "model": card.name, "digest": separation.get("digest", card.digest),
        "mix": str(folder / _SUSPECTS), "out": str(folder), "stems": ["vocals"],
        "shifts": rule.shifts, "overlap": rule.overlap,
        "segment": None if rung.segment == card.segment else rung.segment,
        "batch": rung.batch, "device": rung.device, "precision": rung.precision, "seed": rule.seed,
    }  # fmt: skip


def _not_looked(work: Work, fault: StemdError) -> dict[str, Any]:
    """The first look's report, with the reason why there is no second."""
    report: dict[str, Any] = read_json(work.folder / hearing.REPORT)
    said = {"text": f"the second look could not be taken: {fault.message}", "failed": fault.code, "ranges": []}
    return report | {"second_look": said}
