"""The families of figures, and their text for Prometheus.

Names as its practice has them (https://prometheus.io/docs/practices/naming): base units, `_total` for what only grows.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from stemd import __version__, live
from stemd.files.names import readable
from stemd.ledger import figures, locked, open_for_asking
from stemd.metrics.history import History

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from prometheus_client import Metric

    from stemd.ledger import Ledger

_RUN: Final = ("model", "device")
_RUNG: Final = ("model", "device", "precision", "batch", "segment_seconds")


class Studio(Collector):
    """The figures of one state folder. One question at a time; the history of a ledger is read once and kept."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._history = History()
        self._turn = threading.Lock()

    def collect(self) -> Iterable[Metric]:
        """Give all families as they are now. Raises StemdError when there is no ledger to read."""
        with self._turn:
            ledger = open_for_asking(self._state)
            try:
                if not self._history.is_of(ledger):
                    self._history = History()
                self._history.read(ledger)
                return [*_jobs(ledger), *_past(self._history), *_daemon(self._state)]
            finally:
                ledger.close()


def exposition(studio: Studio, accepted: str) -> tuple[bytes, str]:
    """Write all figures as text, and its media type. accepted: the Accept header; OpenMetrics where it is asked for."""
    registry = CollectorRegistry(auto_describe=False)
    families = studio.collect()
    registry.register(_Given(families))
    encode, kind = choose_encoder(accepted)
    return encode(registry), kind


class _Given(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _jobs(ledger: Ledger) -> Iterator[Metric]:
    jobs = GaugeMetricFamily("stemd_jobs", "Jobs in the ledger.", labels=("status", "stage"))
    for status, stage, count in figures.places(ledger):
        jobs.add_metric((status, stage), count)
    yield jobs
    stuck = GaugeMetricFamily("stemd_jobs_stuck", "Jobs that wait for their surroundings.", labels=("code",))
    for code, count in figures.faults(ledger):
        stuck.add_metric((code,), count)
    yield stuck


def _past(history: History) -> Iterator[Metric]:
    ended = CounterMetricFamily("stemd_jobs_ended", "Jobs that came to an end or to a person.", labels=("status",))
    for status, count in history.ended.items():
        ended.add_metric((status.value,), count)
    yield ended
    stages = HistogramMetricFamily("stemd_stage_duration_seconds", "Time that stages took.", labels=("stage",))
    for stage, taken in history.stages.items():
        stages.add_metric((stage.value,), taken.cumulative(), taken.total)
    yield stages
    yield from _separations(history)
    checked = CounterMetricFamily("stemd_results_checked", "Results whose quality was checked.")
    checked.add_metric((), history.checked)
    flagged = CounterMetricFamily("stemd_results_flagged", "Results in which the check heard something.")
    flagged.add_metric((), history.flagged)
    yield from (checked, flagged)
    bleed = HistogramMetricFamily("stemd_bleed_decibels", "Vocals in the accompaniment; higher is worse.")
    bleed.add_metric((), history.bleed.cumulative(), history.bleed.total)
    yield bleed


def _separations(history: History) -> Iterator[Metric]:
    rungs = CounterMetricFamily("stemd_separations", "Separations by what they ran on.", labels=_RUNG)
    for rung, count in history.rungs.items():
        rungs.add_metric(rung, count)
    lacks = CounterMetricFamily("stemd_out_of_memory", "Stages for which memory ran out.", labels=("code",))
    for code, count in history.lacks.items():
        lacks.add_metric((code,), count)
    audio = CounterMetricFamily("stemd_audio_seconds", "Sound that was separated.", labels=_RUN)
    work = CounterMetricFamily("stemd_separation_seconds", "Time that separations took.", labels=_RUN)
    for run, seconds in history.audio.items():
        audio.add_metric(run, seconds)
        work.add_metric(run, history.work[run])
    speeds = HistogramMetricFamily("stemd_separation_realtime_ratio", "Seconds of sound a second.", labels=_RUN)
    for run, found in history.speeds.items():
        speeds.add_metric(run, found.cumulative(), found.total)
    yield from (rungs, lacks, audio, work, speeds)


def _daemon(state: Path) -> Iterator[Metric]:
    """Tell what the running daemon knows; only that it does not run where it does not."""
    running = locked(state)
    told = live.read(state) if running else {}
    yield _one("stemd_up", "Whether the daemon runs.", running)
    info = InfoMetricFamily("stemd", "Versions of these figures' program and of the daemon.")
    info.add_metric((), {"version": __version__, "daemon": str(told.get("version") or "")})
    yield info
    if told:
        yield _one("stemd_paused", "Whether somebody has paused the daemon.", bool(told.get("paused")))
        yield _one("stemd_closed", "Whether hours or others' use keep work from starting.", bool(told.get("closed")))
        yield from _running(told.get("running", []))
        yield from _inboxes(told.get("inboxes", []))
        yield from _room(told.get("headroom") or {})


def _running(stages: Iterable[dict[str, Any]]) -> Iterator[Metric]:
    speed = GaugeMetricFamily("stemd_running_realtime_ratio", "Speed of running separations.", labels=("device",))
    for stage in stages:
        if stage["x_realtime"] is not None:
            speed.add_metric((str(stage["device"]),), stage["x_realtime"])
    yield speed


def _inboxes(inboxes: Iterable[dict[str, Any]]) -> Iterator[Metric]:
    online = GaugeMetricFamily("stemd_inbox_online", "Whether an inbox can be looked at.", labels=("rule",))
    settling = GaugeMetricFamily("stemd_inbox_settling", "Files that may still be growing.", labels=("rule",))
    for inbox in inboxes:
        online.add_metric((inbox["rule"],), inbox["state"] == "online")
        settling.add_metric((inbox["rule"],), inbox["settling"])
    yield from (online, settling)


def _room(headroom: dict[str, Any]) -> Iterator[Metric]:
    """Describe the machine as measured last; reserves are taken off what is free."""
    for name, key, words in (
        ("stemd_memory_free_bytes", "ram", "Memory that work may use."),
        ("stemd_memory_size_bytes", "ram_total", "Memory that there is."),
    ):
        if headroom.get(key) is not None:
            yield _one(name, words, headroom[key])
    if "cpu_percent" in headroom:
        yield _one("stemd_cpu_others_ratio", "Processors' use by other programs.", headroom["cpu_percent"] / 100)
    labels = ("device", "name")
    free = GaugeMetricFamily("stemd_gpu_memory_free_bytes", "Graphics memory that work may use.", labels=labels)
    size = GaugeMetricFamily("stemd_gpu_memory_size_bytes", "Graphics memory that there is.", labels=labels)
    others = GaugeMetricFamily("stemd_gpu_others_ratio", "Graphics card's use by other programs.", labels=labels)
    for gpu in headroom.get("gpus", []):
        which = (f"cuda:{gpu['index']}", gpu["name"])
        free.add_metric(which, gpu["free"])
        size.add_metric(which, gpu["total"])
        others.add_metric(which, gpu["busy_percent"] / 100)
    room = GaugeMetricFamily("stemd_disk_free_bytes", "Room below a folder.", labels=("folder",))
    whole = GaugeMetricFamily("stemd_disk_size_bytes", "Size of a folder's disk.", labels=("folder",))
    for disk in headroom.get("disks", []):
        room.add_metric((readable(disk["folder"]),), disk["free"])
        whole.add_metric((readable(disk["folder"]),), disk["total"])
    yield from (free, size, others, room, whole)


def _one(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(name, words, value=value)
