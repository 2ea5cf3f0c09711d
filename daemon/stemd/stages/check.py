"""CHECK: has the stems measured; the rule's thresholds decide whether a person should hear them first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stemd.files import write_json
from stemd.model import Doubted
from stemd.stages import hearing

if TYPE_CHECKING:
    from stemd.model import Outcome
    from stemd.stages.work import Work

_NOT_YET: Final = {"text": "no second look was taken", "failed": "not-taken", "ranges": []}
"""Stands in the report until there was one."""


def run(work: Work) -> Outcome:
    """Measure every stem against the mix. Doubted where the rule wants a second look at the bleed that was found."""
    wanted = {"suspects": str(hearing.again(work.folder))} if work.rule.quality.second_look else {}
    report = work.children.measure(hearing.question(work) | wanted, work)
    doubted = bool(report.pop("suspects", 0))
    if doubted:
        report["second_look"] = _NOT_YET
    write_json(work.folder / hearing.REPORT, report)
    if doubted:
        texts = hearing.flagged(report)
        reviewed = work.rule.quality.on_flag == "review"
        return Doubted(f"a second look is taken: {'; '.join(texts)}", texts if reviewed else ())
    return hearing.decided(work.rule, report)
