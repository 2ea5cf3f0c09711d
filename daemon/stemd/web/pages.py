"""The pages for people. What moves is a fragment that the page fetches anew; so each thing is drawn in one place."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.templating import Jinja2Templates
from starlette.responses import HTMLResponse, RedirectResponse, Response

from stemd.files.names import readable
from stemd.ledger import facts, jobs
from stemd.model import Status
from stemd.model.presets import PRESETS, PURPOSES
from stemd.status import full, reason, status
from stemd.web.api import shown
from stemd.web.guard import COOKIE, same
from stemd.web.results import results
from stemd.web.schema import JobNumber
from stemd.web.wired import Wired

if TYPE_CHECKING:
    from stemd.web.studio import Studio

_GIB: Final = 1 << 30
_MINUTE: Final = 60
_FORM: Final = 4096  # bytes of a login
_YEAR: Final = 365 * 24 * 3600

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
templates = Jinja2Templates(Path(__file__).with_name("templates"))


def clock(at: float) -> str:
    """Show a moment in the studio's time zone; the day only where it is not today."""
    today = time.strftime("%Y%m%d", time.localtime(at)) == time.strftime("%Y%m%d")
    return time.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M", time.localtime(at))


def span(seconds: float) -> str:
    """Show a duration: 42 s, 3:07, 1:02:09."""
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    minutes, rest = divmod(whole, _MINUTE)
    hours, minutes = divmod(minutes, _MINUTE)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def gib(size: float | None) -> str:
    """Show a size in GiB."""
    return "unknown" if size is None else f"{size / _GIB:.1f} GiB"


templates.env.filters |= {"clock": clock, "span": span, "gib": gib}
templates.env.trim_blocks = templates.env.lstrip_blocks = True


@router.get("/")
def queue(request: Request, studio: Wired) -> Response:
    """Show the queue."""
    return _page(request, studio, "queue.html", _queue(studio))


@router.get("/fragments/queue")
def queue_fragment(request: Request, studio: Wired) -> Response:
    """Draw what moves of the queue."""
    return _page(request, studio, "_queue.html", _queue(studio))


@router.get("/jobs/{job}")
def story(request: Request, studio: Wired, job: JobNumber) -> Response:
    """Show one job with its whole story."""
    return _page(request, studio, "job.html", _story(studio, job))


@router.get("/fragments/jobs/{job}")
def story_fragment(request: Request, studio: Wired, job: JobNumber) -> Response:
    """Draw what moves of a job."""
    return _page(request, studio, "_job.html", _story(studio, job))


@router.get("/review")
def first_review(request: Request, studio: Wired) -> Response:
    """Go to the first job that waits for a listener."""
    with studio.ledger() as ledger:
        held = jobs.held(ledger, for_review=True, limit=1)
    if held:
        return RedirectResponse(f"/review/{held[0].id}", 303)
    return _page(request, studio, "nothing.html", {})


@router.get("/review/{job}")
def review(request: Request, studio: Wired, job: JobNumber) -> Response:
    """Show a job's stems, to hear them and to decide."""
    with studio.ledger() as ledger:
        found = jobs.get(ledger, job)
    presets = [(name, PURPOSES[name]) for name in PRESETS]
    name = readable(found.name)
    return _page(request, studio, "review.html", {"job": found, "name": name, "presets": presets})


@router.get("/api")
def api(request: Request, studio: Wired) -> Response:
    """Describe the API."""
    return _page(request, studio, "api.html", {"spec": request.app.openapi()})


@router.get("/login")
def login(request: Request, studio: Wired) -> Response:
    """Ask for the token."""
    return _page(request, studio, "login.html", {"wrong": False})


@router.post("/login")
async def logged_in(request: Request, studio: Wired) -> Response:
    """Take the token and remember it in this browser."""
    form = parse_qs((await request.body())[:_FORM].decode("utf-8", "replace"))
    if not same(form.get("token", [""])[0].strip(), studio.token):
        return _page(request, studio, "login.html", {"wrong": True}, code=401)
    answer = RedirectResponse("/", 303)
    secure = request.url.scheme == "https"
    answer.set_cookie(COOKIE, studio.token, max_age=_YEAR, httponly=True, samesite="strict", secure=secure)
    return answer


def _page(request: Request, studio: Studio, name: str, told: dict[str, Any], code: int = 200) -> Response:
    context = {"csrf": studio.csrf if name != "login.html" else "", **told}
    return templates.TemplateResponse(request, name, context, status_code=code)


def _queue(studio: Studio) -> dict[str, Any]:
    with studio.ledger() as ledger:
        return {"now": shown(status(studio.state, ledger))}


def _story(studio: Studio, number: int) -> dict[str, Any]:
    with studio.ledger() as ledger:
        job = jobs.get(ledger, number)
        told = shown(full(ledger, job) | {"reason": reason(studio.state, job)})
        files = facts.artifacts(ledger, number)
        now = shown(status(studio.state, ledger))
    return {
        "job": told, "for_review": job.status is Status.HELD and job.for_review,
        "results": results(studio, job, files),
        "running": next((each for each in now["running"] if each["job"] == number), None),
    }  # fmt: skip
