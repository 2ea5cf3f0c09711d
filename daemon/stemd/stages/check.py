"""CHECK: has the stems measured; the rule's thresholds decide whether a person should hear them first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stemd.files import read_json, write_json
from stemd.model import Finished, Hearing, Held

if TYPE_CHECKING:
    from pathlib import Path

    from stemd.model import Outcome
    from stemd.stages.work import Work

REPORT = "quality.json"
"""What was measured, in the job's folder."""


def run(work: Work) -> Outcome:
    """Measure every stem against the mix. Held with one sentence a flag, if the rule wants its flags reviewed."""
    report = work.children.measure(_request(work), work)
    write_json(work.folder / REPORT, report)
    texts = tuple(str(flag["text"]) for flag in report["flags"])
    hearing = Hearing(report.get("score"), report.get("bleed_db"), len(texts))
    if texts and work.rule.quality.on_flag == "review":
        return Held(texts, hearing=hearing)
    return Finished(note=_note(report, texts), hearing=hearing)


def _request(work: Work) -> dict[str, Any]:
    separation = read_json(work.folder / "separation.json")
    kept = work.results / work.job.key
    files: dict[str, str] = separation["files"]
    thresholds = {"bleed_db": work.rule.quality.bleed_db}
    return {
        "mix": str(work.folder / "mix.wav"), "stems": {stem: str(kept / name) for stem, name in files.items()},
        "vocals": "vocals" if "vocals" in files else None,
        "accompaniment": "no_vocals" if "no_vocals" in files else None,
        "thresholds": thresholds, "segment": separation["segment"], "overlap": work.rule.overlap,
        "report": str(_report_folder(work.folder)), "title": work.job.name.decode("utf-8", "replace"),
    }  # fmt: skip


def _report_folder(folder: Path) -> Path:
    report = folder / "report"
    report.mkdir(exist_ok=True)
    return report


def _note(report: dict[str, Any], texts: tuple[str, ...]) -> str:
    if texts:
        return f"delivered all the same: {'; '.join(texts)}"
    bleed = report.get("bleed_db")
    return "no vocals to bleed" if bleed is None else f"passed, bleed {bleed:.1f} dB"
