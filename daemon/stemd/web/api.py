"""The JSON API: what the pages are made of, for programs."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from stemd.files.names import readable
from stemd.ledger import facts, jobs, requests
from stemd.model import Job, Status
from stemd.status import brief, full, reason, status
from stemd.web.files import mix_of
from stemd.web.results import results
from stemd.web.schema import Answer, Asked, Brief, Decision, JobNumber, Problem, Review, Session, Verb, Whole
from stemd.web.wired import Wired

_PROBLEMS: dict[int | str, dict[str, Any]] = {code: {"model": Problem} for code in (400, 401, 403, 404, 409, 421, 503)}

router = APIRouter(prefix="/api", tags=["api"], responses=_PROBLEMS)


@router.get("/status")
def get_status(studio: Wired) -> dict[str, Any]:
    """Tell how things stand: counts, running, waiting with reasons, held, last ended, headroom."""
    with studio.ledger() as ledger:
        told: dict[str, Any] = shown(status(studio.state, ledger))
        return told


@router.get("/jobs", response_model=list[Brief])
def get_jobs(
    studio: Wired,
    status: Annotated[Status | None, Query(description="Only jobs in this status.")] = None,
    rule: Annotated[str, Query(max_length=200, description="Only jobs of this rule.")] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Any:
    """List jobs, newest first."""
    statuses = (status,) if status else ()
    with studio.ledger() as ledger:
        found = jobs.select(ledger, statuses=statuses, rule=rule, limit=limit, newest_first=True)
    return [shown(brief(job)) for job in found]


@router.get("/jobs/{job}", response_model=Whole)
def get_job(studio: Wired, job: JobNumber) -> Any:
    """Tell everything about one job."""
    with studio.ledger() as ledger:
        found = jobs.get(ledger, job)
        return shown(full(ledger, found) | {"reason": reason(studio.state, found)})


@router.get("/review", response_model=list[Brief])
def get_reviews(studio: Wired) -> Any:
    """List what waits for a listener, oldest first."""
    with studio.ledger() as ledger:
        held = jobs.held(ledger, for_review=True)
    return [shown(brief(job)) for job in held]


@router.get("/review/{job}", response_model=Review)
def get_review(studio: Wired, job: JobNumber) -> Any:
    """Give the results of a job with their stems and what was measured."""
    with studio.ledger() as ledger:
        found = jobs.get(ledger, job)
        files = facts.artifacts(ledger, job)
        held = jobs.held(ledger, for_review=True)
    mix = mix_of(studio, job)
    return {
        "job": shown(brief(found)), "open": any(each.id == job for each in held),
        "results": results(studio, found, files), "next": following(held, found),
        "mix": mix and {"name": "mix", "format": "wav", "bytes": mix.stat().st_size, "url": f"/files/{job}/mix"},
    }  # fmt: skip


@router.post("/jobs/{job}/{verb}", response_model=Asked, status_code=202)
def decide(studio: Wired, job: JobNumber, verb: Verb, decision: Decision) -> Any:
    """Ask the daemon to approve, reject, rerun, retry, redeliver or cancel; 409 for what does not apply (any more)."""
    details: dict[str, Any] = {}
    match verb:
        case "approve" if decision.result:
            details = {"result": decision.result}
        case "reject":
            details = {"reason": decision.reason}
        case "rerun":
            details = {"preset": decision.preset, "model": decision.model}
    return {"request": studio.ask(verb, _who(decision), job, details)}


@router.post("/pause", response_model=Asked, status_code=202)
def pause(studio: Wired, decision: Decision) -> Any:
    """Ask the daemon to start nothing new."""
    return {"request": studio.ask("pause", _who(decision), None, {})}


@router.post("/resume", response_model=Asked, status_code=202)
def resume(studio: Wired, decision: Decision) -> Any:
    """Ask the daemon to go on."""
    return {"request": studio.ask("resume", _who(decision), None, {})}


@router.get("/requests/{request}", response_model=Answer)
def get_request(studio: Wired, request: JobNumber) -> Any:
    """Read the daemon's answer to a request."""
    with studio.ledger() as ledger:
        found = requests.find(ledger, request)
    told = {name: getattr(found, name) for name in ("verb", "who", "job", "ok", "answer")}
    return {"request": found.id, **told}


@router.get("/session")
def get_session(studio: Wired) -> Session:
    """Give what has to be sent with a request that changes something."""
    return Session(csrf=studio.csrf)


def following(held: list[Job], job: Job) -> int | None:
    """Choose the job to review after this one: the next in line, else the first."""
    others = [each.id for each in held if each.id != job.id]
    return next((number for number in others if number > job.id), next(iter(others), None))


def shown(facts: Any) -> Any:
    """Make every text valid Unicode: names need not be."""
    if isinstance(facts, dict):
        return {key: shown(value) for key, value in facts.items()}
    if isinstance(facts, list | tuple):
        return [shown(value) for value in facts]
    return readable(facts) if isinstance(facts, str) else facts


def _who(decision: Decision) -> str:
    return f"{decision.who.strip() or 'somebody'} (web)"
