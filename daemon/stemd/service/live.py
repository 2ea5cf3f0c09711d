"""Describes what is at work and what the machine has, for `stemd.live`. JSON-ready."""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from stemd.ledger import jobs, reviews
from stemd.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stemd.ledger import Ledger
    from stemd.model import Headroom
    from stemd.service.runner import Running


def running(stages: Iterable[Running]) -> list[dict[str, Any]]:
    """Describe the stages at work. progress: 0 to 1; seconds, eta and still (0 while it moves) in seconds."""
    now = time.monotonic()
    return [
        {
            "job": stage.job.id, "rule": stage.job.rule, "name": os.fsdecode(stage.job.name),
            "stage": stage.job.stage, "progress": round(stage.fraction, 4), "seconds": round(now - stage.since, 1),
            "eta": stage.details.get("eta"), "x_realtime": _pace(stage), "still": round(stage.still(now), 1),
            "device": stage.start.rung.device if stage.start.rung else None,
            "rung": str(stage.start.rung) if stage.start.rung else None,
        }
        for stage in stages
    ]  # fmt: skip


def _pace(stage: Running) -> float | None:
    """Seconds of audio done in each second; None before the first progress and for stages without an engine."""
    audio, seconds = stage.details.get("audio_seconds"), stage.details.get("seconds")
    return round(audio / seconds, 2) if audio and seconds else None


def counts(ledger: Ledger) -> str:
    """Count in a line, for systemd: `3 running, 41 waiting, 2 to review`."""
    found, to_review = jobs.counts(ledger), reviews.count(ledger)
    line = f"{found[Status.RUNNING]} running, {found[Status.WAITING]} waiting, {to_review} to review"
    lacking = found[Status.HELD] - to_review
    return f"{line}, {lacking} held for want of memory" if lacking else line


def headroom(measured: Headroom | None) -> dict[str, Any] | None:
    """Describe a measurement, in bytes."""
    if measured is None:
        return None
    return {
        "at": measured.at, "ram": measured.ram, "ram_total": measured.ram_total, "cpu_percent": measured.cpu_percent,
        "gpus": [asdict(gpu) for gpu in measured.gpus],
        "disks": [{"folder": str(disk.folder), "total": disk.total, "free": disk.free} for disk in measured.disks],
        "problems": list(measured.problems),
    }  # fmt: skip
