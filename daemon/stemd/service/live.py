"""What only the running daemon knows, left in the state folder for `stemd status` and the web page."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from stemd.model import Headroom
    from stemd.service.runner import Running

FILE = "live.json"


def write(state: Path, facts: dict[str, Any]) -> None:
    """Leave the facts, whole or not at all; never made durable, since they are of this moment."""
    unfinished = state / f".{FILE}"
    unfinished.write_text(json.dumps(facts, default=str))
    unfinished.replace(state / FILE)


def read(state: Path) -> dict[str, Any]:
    """Read what the daemon left; {} if it left nothing."""
    try:
        facts = json.loads((state / FILE).read_text())
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def running(stages: Iterable[Running]) -> list[dict[str, Any]]:
    """Describe the stages at work. progress: 0 to 1; seconds and eta in seconds."""
    now = time.monotonic()
    return [
        {
            "job": stage.job.id, "rule": stage.job.rule, "name": os.fsdecode(stage.job.name),
            "stage": stage.job.stage, "progress": round(stage.fraction, 4), "seconds": round(now - stage.since, 1),
            "eta": stage.details.get("eta"), "x_realtime": stage.details.get("x_realtime"),
            "device": stage.start.rung.device if stage.start.rung else None,
            "rung": str(stage.start.rung) if stage.start.rung else None,
        }
        for stage in stages
    ]  # fmt: skip


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
