"""What CHECK and RECHECK share: the question to the quality child, and what a report means for the job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stemd.files import read_json
from stemd.model import Finished, Hearing, Held

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from stemd.model import Outcome, Rule
    from stemd.stages.work import Work

REPORT = "quality.json"
"""What was measured, in the job's folder."""

_AGAIN = "again"


def question(work: Work) -> dict[str, Any]:
    """Ask for every stem to be measured against the mix by the rule's thresholds."""
    separation = read_json(work.folder / "separation.json")
    kept = work.results / work.job.key
    files: dict[str, str] = separation["files"]
    limits = work.rule.quality
    return {
        "mix": str(work.folder / "mix.wav"), "stems": {stem: str(kept / name) for stem, name in files.items()},
        "vocals": "vocals" if "vocals" in files else None,
        "accompaniment": _accompaniment(files, separation.get("sources", ())),
        "thresholds": {
            "bleed_db": limits.bleed_db, "reverse_db": limits.reverse_db, "null_db": limits.null_db,
            "seam_db": limits.seam_db, "dc": limits.dc,
        },
        "ignore": list(limits.ignore), "segment": separation["segment"], "overlap": work.rule.overlap,
        "report": str(_made(work.folder / "report")), "title": work.job.name.decode("utf-8", "replace"),
    }  # fmt: skip


def again(folder: Path) -> Path:
    """Where the second look's sounds lie. folder: of the job's result."""
    return _made(folder / _AGAIN)


def decided(rule: Rule, report: dict[str, Any]) -> Outcome:
    """Held with one sentence a flag, if the rule wants its flags reviewed."""
    texts = flagged(report)
    heard = Hearing(report.get("score"), report.get("bleed_db"), len(texts))
    if texts and rule.quality.on_flag == "review":
        return Held(texts, hearing=heard)
    return Finished(note=_note(report, texts), hearing=heard)


def flagged(report: dict[str, Any]) -> tuple[str, ...]:
    """Give the sentences of what was flagged."""
    return tuple(str(flag["text"]) for flag in report["flags"])


def _accompaniment(files: Collection[str], sources: Collection[str]) -> str | None:
    """Name the stem that is sung to: no_vocals, or the only other one of a model that makes vocals and one more."""
    others = [source for source in sources if source != "vocals"]
    second = others if "vocals" in sources and len(others) == 1 else []
    return next((stem for stem in ("no_vocals", *second) if stem in files), None)


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def _note(report: dict[str, Any], texts: tuple[str, ...]) -> str:
    if texts:
        return f"delivered all the same: {'; '.join(texts)}"
    bleed = report.get("bleed_db")
    return "no vocals to bleed" if bleed is None else f"passed, bleed {bleed:.1f} dB"
