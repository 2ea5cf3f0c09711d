"""Serves stems and pictures by range requests: only files that the ledger names, in a review folder or an outbox.

And the mix that they were made from, which is the daemon's own file, while the job is not decided about.
"""

from __future__ import annotations

import os
import stat
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

from fastapi import APIRouter
from fastapi import Path as InPath
from starlette.responses import FileResponse

from stemd.errors import StemdError
from stemd.ledger import facts, jobs
from stemd.web.schema import JobNumber
from stemd.web.wired import Wired

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stemd.model import Artifact, Rule
    from stemd.web.studio import Studio

TYPES: Final = {
    "wav": "audio/wav", "flac": "audio/flac", "mp3": "audio/mpeg", "m4a": "audio/mp4", "opus": "audio/ogg",
    "png": "image/png",
}  # fmt: skip

Seen: TypeAlias = tuple[Path, os.stat_result] | tuple[None, None]
"""A file that may be sent and what the share tells of it, or that there is none."""

router = APIRouter(tags=["files"])

Sha256 = Annotated[str, InPath(pattern="^[0-9a-f]{64}$", description="Of the file's content, as the ledger knows it.")]


@router.get("/files/{job}/{result}/{sha256}", response_class=FileResponse, responses={206: {}, 404: {}, 416: {}})
def file(studio: Wired, job: JobNumber, result: JobNumber, sha256: Sha256) -> FileResponse:
    """Send a stem or a picture of one result, or a range of it."""
    with studio.ledger() as ledger:
        found = jobs.get(ledger, job)
        known = facts.artifacts(ledger, job)
    artifact = next((each for each in known if (each.result, each.sha256) == (result, sha256)), None)
    rule = studio.rules.find(found.rule)
    path, info = _seen(studio, rule, artifact) if artifact and rule else (None, None)
    kind = TYPES.get(path.suffix[1:].lower()) if path else None
    if path is None or kind is None:
        raise StemdError("no-such-file", f"job {job} has no such file to hear", f"see: stemd why {job}")
    headers = {"Cache-Control": "private, max-age=3600, immutable", "Content-Disposition": "inline"}
    return FileResponse(path, media_type=kind, headers=headers, stat_result=info)


@router.get("/files/{job}/mix", response_class=FileResponse, responses={206: {}, 404: {}, 416: {}})
def mix(studio: Wired, job: JobNumber) -> FileResponse:
    """Send the mix as the network heard it, or a range of it; only while the job waits for a decision."""
    path = mix_of(studio, job)
    if path is None:
        raise StemdError("no-such-file", f"the mix of job {job} is not kept (any more)", f"see: stemd why {job}")
    return FileResponse(path, media_type=TYPES["wav"], stat_result=path.stat())


def mix_of(studio: Studio, job: int) -> Path | None:
    """Where the daemon keeps the mix of a job that is not decided about."""
    path = studio.state / "work" / str(job) / "mix.wav"
    return path if path.is_file() else None


def _seen(studio: Studio, rule: Rule, artifact: Artifact) -> Seen:
    """Look at a file. Raises StemdError "share-hangs"."""
    path = Path(os.fsdecode(artifact.path))
    folders = sorted(studio.folders(rule), key=lambda folder: not path.is_relative_to(folder))  # the other may hang
    return studio.look(rule.name, path, partial(_checked, path, artifact.size, folders))


def _checked(path: Path, size: int, folders: Iterable[Path]) -> Seen:
    """The file, if it still is an ordinary file of its size below a folder that may be served."""
    try:
        info, real = path.lstat(), path.resolve(strict=True)
        within = any(real.is_relative_to(folder.resolve()) for folder in folders)
    except OSError:
        return None, None
    return (real, info) if within and stat.S_ISREG(info.st_mode) and info.st_size == size else (None, None)
