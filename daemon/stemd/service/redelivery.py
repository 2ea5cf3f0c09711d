"""Whether a delivered recording can be delivered once more without any computing, and what it needs for that."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from stemd.errors import StemdError
from stemd.files import faults_in, read_json
from stemd.files.presence import gone
from stemd.model import effective
from stemd.results import REPORT, bring_back, touch
from stemd.stages import deliver
from stemd.stages.work import folder_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from stemd.model import Artifact, Job, Rule


def make_ready(state: Path, job: Job, rule: Rule, made: Sequence[Artifact]) -> None:
    """Bring the folder of a job that is done back to where its stages work, without its delivery. May be repeated.

    state: the state folder. rule: the job's, as it is now. made: what was delivered.
    Raises StemdError "result-gone" where the stems are not kept any more, "other-recipe" where the rule now asks for
    others, EnvironmentFault.
    """
    kept, work = state / "results" / job.key, state / "work"
    put_by = [folder_of(where, job) / REPORT for where in (kept, work)]  # in work: it was brought back before
    remembered = next((report for report in put_by if job.key and report.exists()), None)
    told = read_json(remembered) if remembered else None
    if told is None or not all((kept / file).exists() for file in told["files"].values()):
        raise _gone(job, rule, made)
    if told["recipe"] != effective(rule, job.preset, job.model).recipe.digest_with(told["digest"]):
        raise StemdError(
            "other-recipe", f'rule "{rule.name}" asks for another separation now than the one that job {job.id} has',
            f"put the recording into {rule.inbox} again: it is separated as far as that is not done yet",
        )  # fmt: skip
    bring_back(kept, work / str(job.id))
    with faults_in("state", work):
        deliver.strip(work / str(job.id))  # one that could not be put away still holds the last delivery
    touch(kept)


def _gone(job: Job, rule: Rule, made: Sequence[Artifact]) -> StemdError:
    """Say how a recording is delivered whose stems are gone."""
    delivered = {file.path for file in made}
    away = gone({job.path, *delivered})
    recording = "the recording" if job.path in away else os.fsdecode(job.path)
    first = "take its files out of the outbox, then " if delivered - away else ""
    return StemdError(
        "result-gone", f"the stems of job {job.id} are not kept any more",
        f"{first}put {recording} into {rule.inbox} again: it is separated anew",
    )  # fmt: skip
