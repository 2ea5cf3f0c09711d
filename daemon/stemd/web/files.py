"""Serves stems and pictures by range requests: only files that the ledger names, in a review folder or an outbox.

And the mix that they were made from, which is the daemon's own file, while the job is not decided about.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

from fastapi import APIRouter
from fastapi import Path as InPath
from starlette.responses import FileResponse, Response

from stemd.errors import StemdError
from stemd.files.names import readable
from stemd.ledger import facts, jobs
from stemd.web.schema import JobNumber
from stemd.web.wired import Wired

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stemd.model import Artifact, Job, Rule
    from stemd.web.studio import Studio

TYPES: Final = {
    "wav": "audio/wav", "flac": "audio/flac", "mp3": "audio/mpeg", "m4a": "audio/mp4", "opus": "audio/ogg",
    "png": "image/png",
}  # fmt: skip
_OTHER_KINDS: Final = frozenset({errno.ELOOP, errno.EISDIR, errno.ENXIO})  # of a link, a folder, a socket when opened

Seen: TypeAlias = tuple[Path, os.stat_result] | tuple[None, None]
"""A file that may be sent and what the share tells of it, or that there is none."""

router = APIRouter(tags=["files"])

Sha256 = Annotated[str, InPath(pattern="^[0-9a-f]{64}$", description="Of the file's content, as the ledger knows it.")]


@router.get("/files/{job}/{result}/{sha256}", response_class=FileResponse, responses={206: {}, 404: {}, 416: {}})
def file(studio: Wired, job: JobNumber, result: JobNumber, sha256: Sha256) -> Response:
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
    if artifact and kind == TYPES["png"]:
        return Response(
            studio.look(found.rule, path, partial(whole, found, artifact)), headers=headers, media_type=kind
        )
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


def whole(job: Job, file: Artifact) -> bytes:
    """Read a manifest or a picture. Raises OSError, and StemdError "changed" where it is not what stemd left there."""
    try:
        with open(file.path, "rb", opener=_unfollowed) as opened:
            info = os.fstat(opened.fileno())
            content = opened.read(file.size) if stat.S_ISREG(info.st_mode) and info.st_size == file.size else b""
    except OSError as error:
        if error.errno not in _OTHER_KINDS:
            raise
        content = b""
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise StemdError(
            "changed", f"{readable(file.path)} is not what stemd left there and is not believed",
            f"what was measured, and where to listen: stemd review show {job.id}",
        )  # fmt: skip
    return content


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


def _unfollowed(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
