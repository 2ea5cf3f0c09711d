"""Commands that only look: status, jobs, why."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stemd.commands.common import AsJson, ConfigPath, clock, held_up, ledger_of, span
from stemd.commands.lookup import find_job
from stemd.files.names import readable
from stemd.ledger import albums
from stemd.ledger import jobs as job_rows
from stemd.model import Status
from stemd.status import brief, full, reason
from stemd.status import status as describe

if TYPE_CHECKING:
    from collections.abc import Iterator

_GIB = 1 << 30
_LISTED = 10


def status(
    config: ConfigPath = None,
    as_json: AsJson = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Keep showing, until Ctrl-C.")] = False,
) -> None:
    """Show how things stand: what runs, what waits and why, and how much room the machine has."""
    if watch:
        from stemd.commands.watch import watch as show_live  # noqa: PLC0415 - only this needs rich

        with ledger_of(config) as (settings, ledger):
            show_live(lambda: describe(settings.daemon.state_dir, ledger))
        return
    with ledger_of(config) as (settings, ledger):
        facts = describe(settings.daemon.state_dir, ledger)
    typer.echo(json.dumps(facts, indent=1) if as_json else readable("\n".join(_status_lines(facts))))


def _status_lines(facts: dict[str, Any]) -> Iterator[str]:
    daemon, counts = facts["daemon"], facts["counts"]
    yield (
        f"stemd is running (pid {daemon['pid']})" if daemon["running"] else "stemd is not running; start it: stemd run"
    )
    if facts["paused"]:
        yield f"paused by {facts['paused']}; go on with: stemd resume"
    if facts["cpu_only"]:
        yield "no GPU: separations run on the CPU"
    yield ", ".join(f"{count} {name}" for name, count in counts.items())
    for inbox in facts["inboxes"]:
        more = f" ({inbox['reason']})" if inbox["reason"] else ""
        yield f"  inbox {inbox['rule']}: {inbox['state']}{more}{held_up(inbox)}"
    for album in facts["albums"][:_LISTED]:
        yield f"  album {album['name']} (rule {album['rule']}): {album['told']}"
    for stage in facts["running"]:
        eta = f", {span(stage['eta'])} left" if stage["eta"] else ""
        where = f" on {stage['rung']}" if stage["rung"] else ""
        still = f", stands still for {span(stage['still'])}: does its share hang?" if stage.get("still") else ""
        told = f"{stage['progress']:.0%}{eta}{where} (job {stage['job']}){still}"
        yield f"  {stage['stage']} {stage['name']}: {told}"
    for hook in facts["hooks"]:
        yield f"  hook {hook['command']} for {hook['name']}: {span(hook['seconds'])} (job {hook['job']})"
    for job in facts["waiting"][:_LISTED]:
        yield f"  waiting at {job['stage']}: {job['name']} (job {job['job']}) {job['reason']}".rstrip()
    yield from _more(counts["waiting"], "that wait", "jobs --status waiting")
    yield from _held_lines(facts)
    if facts["headroom"]:
        yield from _headroom_lines(facts["headroom"])


def _held_lines(facts: dict[str, Any]) -> Iterator[str]:
    """What waits for a listener, then what waits for more memory."""
    lacking = facts["counts"]["held"] - facts["to_review"]
    for for_review, word, count, command in (
        (True, "to review", facts["to_review"], "review list"),
        (False, "held for want of memory", lacking, "jobs --status held"),
    ):
        for job in [job for job in facts["held"] if job["for_review"] is for_review][:_LISTED]:
            yield f"  {word}: {job['name']} (job {job['job']}): {job['reason']}"
        yield from _more(count, word, command)


def _more(count: int, what: str, command: str) -> Iterator[str]:
    """Say how many are not listed, and what lists them."""
    if count > _LISTED:
        yield f"  and {count - _LISTED} more {what}; see: stemd {command}"


def _headroom_lines(headroom: dict[str, Any]) -> Iterator[str]:
    ram = "unknown" if headroom["ram"] is None else f"{headroom['ram'] / _GIB:.1f} GiB"
    cards = "".join(f", {gpu['name']} {gpu['free'] / _GIB:.1f} GiB" for gpu in headroom["gpus"])
    yield f"room: RAM {ram}{cards}; others use {headroom['cpu_percent']:.0f} % of the CPU"
    for problem in headroom["problems"]:
        yield f"  {problem}"


def jobs(
    config: ConfigPath = None,
    as_json: AsJson = False,
    status: Annotated[str | None, typer.Option("--status", "-s", help="Only jobs in this status.")] = None,
    rule: Annotated[str, typer.Option("--rule", "-r", help="Only jobs of this rule.")] = "",
) -> None:
    """List jobs, oldest first, and how far the albums are that are not finished."""
    statuses = (_status(status),) if status else ()
    with ledger_of(config) as (_, ledger):
        found = job_rows.select(ledger, statuses=statuses, rule=rule)
        if as_json:
            typer.echo(json.dumps([full(ledger, job) for job in found], indent=1))
            return
        unfinished = [] if statuses else [album for album in albums.unfinished(ledger) if rule in {"", album.rule}]
    for job in found:
        line = brief(job)
        typer.echo(
            f"{job.id:>5}  {line['status']:<9}  {line['stage']:<9}  {job.rule}: {readable(job.name)}"
            + (f"  ({readable(job.reason)})" if job.reason else "")
        )
    for album in unfinished:
        typer.echo(f"album {readable(os.fsdecode(album.folder))} (rule {album.rule}): {album.told}")


def _status(given: str) -> Status:
    try:
        return Status(given.lower())
    except ValueError:
        raise typer.BadParameter(f"give one of {', '.join(Status)}", param_hint="--status") from None


def why(
    given: Annotated[str, typer.Argument(metavar="PATH|JOB", help="A file, or the number of a job.")],
    config: ConfigPath = None,
    as_json: AsJson = False,
) -> None:
    """Tell the whole story of one file."""
    with ledger_of(config) as (settings, ledger):
        job = find_job(settings, ledger, given)
        found = full(ledger, job) | {"reason": reason(settings.daemon.state_dir, job)}
    typer.echo(json.dumps(found, indent=1) if as_json else readable("\n".join(_story(found))))


def _story(job: dict[str, Any]) -> Iterator[str]:
    yield f"{job['name']} (rule {job['rule']}, job {job['job']}): {job['status']} at {job['stage']}"
    if job["reason"] and (job["status"] != Status.DONE or job["redelivery_failed"]):
        yield f"  why: {job['reason']}" + (f" [{job['code']}]" if job["code"] else "")
    if job["hint"]:
        yield f"  what to do: {job['hint']}"
    yield f"  source: {job['path']}"
    for file in job["artifacts"]:
        yield f"  made: {file['path']} ({file['size']:,} bytes)"
    for event in job["events"]:
        code = f" [{event['code']}]" if event["code"] else ""
        first, *more = event["text"].split("\n")
        yield f"  {clock(event['at'])}  {event['stage']:<9}  {first}{code}"
        yield from (f"      {line}" for line in more)
