"""A job's results as a listener needs them: which stems they have, what was measured, and under which address."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stemd.errors import StemdError
from stemd.files.names import readable
from stemd.flow import made_with, why_held
from stemd.web.files import whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from stemd.model import Artifact, Job, Result
    from stemd.web.studio import Studio

_LARGEST: Final = 64 * 1024**2  # bytes of a manifest: the curves of a day of sound
SUMMED_DB: Final = -30.0
"""Below this null test the stems together are the mix, as far as anyone hears."""


def results(studio: Studio, job: Job, artifacts: Sequence[Artifact]) -> list[dict[str, Any]]:
    """Describe every result of a job that has files, in the order in which they were asked for."""
    known = {result.number: result for result in job.results}
    numbers = sorted({artifact.result for artifact in artifacts})
    return [
        _result(studio, job, known.get(number, job.present), [each for each in artifacts if each.result == number])
        for number in numbers
    ]


def _result(studio: Studio, job: Job, result: Result, files: list[Artifact]) -> dict[str, Any]:
    manifest, trouble = _manifest(studio, job, files)
    quality = manifest.get("quality") or {}
    null = quality.get("null_db")
    picture = next((file for file in files if file.path.endswith(b".png")), None)
    return {
        "number": result.number, "made_with": made_with(result), "why": why_held(result) if job.for_review else "",
        "model": manifest.get("model", {}).get("name", ""), "recipe": manifest.get("recipe", {}),
        "seconds": manifest.get("source", {}).get("seconds", 0.0), "stems": list(_stems(job, manifest, files)),
        "quality": quality, "sum_is_mix": null is not None and null < SUMMED_DB,
        "picture": address(job, picture) if picture else None,
        "folder": readable(str(Path(os.fsdecode(files[0].path)).parent)), "trouble": trouble,
    }  # fmt: skip


def _stems(job: Job, manifest: dict[str, Any], files: Iterable[Artifact]) -> Iterable[dict[str, Any]]:
    """Match the manifest's stems with the ledger's files by their content."""
    by_content = {file.sha256: file for file in files}
    for told in manifest.get("files", []):
        file = by_content.get(told.get("sha256", ""))
        if file is not None and "stem" in told:
            kind = os.fsdecode(file.path).rpartition(".")[2].lower()
            yield {
                "name": told["stem"], "format": kind, "bytes": file.size, "url": address(job, file),
                "gain_db": told.get("gain_db", 0.0),
            }  # fmt: skip


def address(job: Job, file: Artifact) -> str:
    """Where a file of a job is served: named by what the ledger knows, never by a path."""
    return f"/files/{job.id}/{file.result}/{file.sha256}"


def _manifest(studio: Studio, job: Job, files: Iterable[Artifact]) -> tuple[dict[str, Any], str]:
    """Read the manifest among a result's files; {} where none is there (any more), and why it cannot be used."""
    trouble = ""
    for file in files:
        if file.path.endswith(b".json") and file.size <= _LARGEST:
            try:
                found = json.loads(studio.look(job.rule, Path(os.fsdecode(file.path)), partial(whole, job, file)))
            except (OSError, ValueError):
                continue
            except StemdError as fault:
                trouble = f"{fault.message}; {fault.hint}"
                continue
            if isinstance(found, dict) and "files" in found and "stemd" in found:
                return found, ""
    return {}, trouble
