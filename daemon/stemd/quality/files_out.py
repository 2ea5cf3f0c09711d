"""The report's files: quality.json and pictures, each written beside its place and renamed into it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stemd.errors import StemdError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from stemd.quality.report import Report, Request

JSON_NAME: Final = "quality.json"
PICTURE_NAME: Final = "quality.png"


def write(report: Report, request: Request, outlines: Mapping[str, NDArray[np.float32]]) -> None:
    """Write what the request asks for. Raises StemdError "report-unwritable"."""
    try:
        if request.report is not None:
            folder = Path(request.report)
            folder.mkdir(parents=True, exist_ok=True)
            _placed(folder / JSON_NAME, lambda path: path.write_text(as_text(report), encoding="utf-8"))
            _picture(folder / PICTURE_NAME, report, request, outlines)
        if request.picture is not None:
            _picture(Path(request.picture), report, request, outlines)
    except OSError as error:
        where = os.fsencode(error.filename or request.report or request.picture or "").decode("utf-8", "replace")
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise StemdError(
            "report-unwritable", f"{where}: {reason}", "Check the folder's space and permissions."
        ) from error


def as_text(report: Report) -> str:
    """Return the report as strictly valid JSON."""
    return json.dumps(report.as_json(), allow_nan=False, indent=1) + "\n"


def _picture(path: Path, report: Report, request: Request, outlines: Mapping[str, NDArray[np.float32]]) -> None:
    from stemd.quality import picture  # noqa: PLC0415 - matplotlib costs 60 MB, which few measurements need

    _placed(path, lambda place: picture.draw(place, report, request, outlines))


def _placed(path: Path, fill: Callable[[Path], object]) -> None:
    """Let `fill` write a neighbour of `path`, then rename it."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        fill(beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
