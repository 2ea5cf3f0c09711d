"""Puts the application together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.staticfiles import StaticFiles

from stemd import __version__
from stemd.errors import EnvironmentFault, StemdError
from stemd.metrics import Studio as Figures
from stemd.web import api, files, metrics, pages
from stemd.web.guard import Guard
from stemd.web.studio import Studio

if TYPE_CHECKING:
    from collections.abc import Mapping

_NOT_FOUND: Final = 404
_STATUS: Final[Mapping[str, int]] = {
    "no-such-job": 404, "no-such-file": 404, "no-such-page": 404, "no-such-request": 404,
    "changed": 404,
    "share-hangs": 503, "no-ledger": 503, "ledger-older": 503, "ledger-newer": 503,
}  # fmt: skip


def make_app(studio: Studio) -> FastAPI:
    """Make the application for one studio."""
    app = FastAPI(
        title="stemd", version=__version__, docs_url=None, redoc_url=None, openapi_url="/api/openapi.json",
        description="The queue, each job's story, and what waits for a listener. Requests are answered by the daemon.",
    )  # fmt: skip
    app.state.studio = studio
    app.state.metrics = Figures(studio.state)
    for router in (api.router, files.router, metrics.router, pages.router):
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=Path(__file__).with_name("static")))
    app.add_exception_handler(StemdError, _refused)
    app.add_exception_handler(RequestValidationError, _misunderstood)
    app.add_exception_handler(HTTPException, _unknown)
    app.add_middleware(Guard, studio=studio)
    return app


async def _refused(request: Request, fault: Exception) -> Response:
    if not isinstance(fault, StemdError):
        raise fault
    code = _STATUS.get(fault.code, 503 if isinstance(fault, EnvironmentFault) else 409)
    return _told(request, code, fault.code, fault.message, fault.hint)


async def _misunderstood(request: Request, fault: Exception) -> Response:
    if not isinstance(fault, RequestValidationError):
        raise fault
    wrong = "; ".join(f"{'.'.join(str(part) for part in each['loc'])}: {each['msg']}" for each in fault.errors())
    return _told(request, 422, "bad-request", wrong, "see /api")


async def _unknown(request: Request, fault: Exception) -> Response:
    if not isinstance(fault, HTTPException):
        raise fault
    code = "no-such-page" if fault.status_code == _NOT_FOUND else "bad-request"
    answer = _told(request, fault.status_code, code, str(fault.detail), "see / and /api")
    answer.headers.update(fault.headers or {})
    return answer


def _told(request: Request, status: int, code: str, message: str, hint: str) -> Response:
    """Answer a person with a page and a program with JSON."""
    told = {"code": code, "message": message, "hint": hint}
    told = {name: text.encode("utf-8", "backslashreplace").decode() for name, text in told.items()}
    if "text/html" in request.headers.get("accept", ""):
        return pages.templates.TemplateResponse(request, "fault.html", told, status_code=status)
    return JSONResponse(told, status)
