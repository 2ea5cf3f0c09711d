"""The JSON of the API, as its OpenAPI page describes it. Sizes in bytes, times in Unix seconds, levels in dB."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field

from stemd.model import Status

JobNumber = Annotated[int, Path(ge=1, le=2**53, description="A number, from 1.")]
Verb = Literal["approve", "reject", "rerun", "retry", "redeliver", "cancel"]


class Problem(BaseModel):
    """What is wrong, and what to do."""

    code: str
    message: str
    hint: str


class Brief(BaseModel):
    """A job in a line.

    for_review: whether it waits for a listener. redelivery_failed: whether files asked for once more were not made.
    """

    model_config = ConfigDict(extra="allow")

    job: int
    rule: str
    name: str
    stage: str
    status: Status
    reason: str
    code: str
    changed: float
    for_review: bool
    redelivery_failed: bool


class Event(BaseModel):
    """One line of a job's story."""

    at: float
    stage: str
    status: Status
    text: str
    code: str


class File(BaseModel):
    """A file that the job has left for the user."""

    path: str
    sha256: str
    size: int
    result: int


class Whole(Brief):
    """A job with everything the ledger keeps of it."""

    events: list[Event]
    artifacts: list[File]


class Stem(BaseModel):
    """A stem to hear. url: answers range requests. gain_db: by which all stems were turned down, so as not to clip."""

    name: str
    format: str
    bytes: int
    url: str
    gain_db: float = 0.0


class ResultFacts(BaseModel):
    """One separation of a job.

    sum_is_mix: whether all stems together are the mix, by the null test. trouble: why its manifest cannot be read at
    the moment, or is not believed.
    """

    number: int
    made_with: str
    why: str
    model: str
    recipe: dict[str, Any]
    seconds: float
    stems: list[Stem]
    quality: dict[str, Any]
    sum_is_mix: bool
    picture: str | None
    folder: str
    trouble: str = ""


class Review(BaseModel):
    """A job with its results.

    open: whether it waits for a decision. mix: what the results were made from, while it does. next: the job to review
    after it.
    """

    job: Brief
    open: bool
    results: list[ResultFacts]
    mix: Stem | None
    next: int | None


class Decision(BaseModel):
    """What a person asks for. who: their name, for the story.

    reason: of a rejection. result: which to approve, the newest unless told. preset, model: of a rerun.
    """

    model_config = ConfigDict(extra="forbid")

    who: Annotated[str, Field(max_length=80, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""
    reason: Annotated[str, Field(max_length=2000, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]*$")] = ""
    result: Annotated[int, Field(ge=1, le=10_000)] | None = None
    preset: Literal["draft", "standard", "best", "low-memory", "asr", "karaoke"] = "best"
    model: Annotated[str, Field(max_length=200, pattern=r"^[\w.:/-]*$")] = ""


class Asked(BaseModel):
    """A request that was left for the daemon."""

    request: int


class Answer(BaseModel):
    """The daemon's answer; ok is null until it has come."""

    request: int
    verb: str
    who: str
    job: int | None
    ok: bool | None
    answer: str


class Session(BaseModel):
    """What a page needs to ask for something: sent back as the header X-Stemd-Csrf."""

    csrf: str
