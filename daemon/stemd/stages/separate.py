"""SEPARATE: has the engine make the stems, and keeps them under their separation key for whoever needs them."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

from stemd.errors import EnvironmentFault
from stemd.files import drop_tree, faults_in, read_json, sync_folder, write_json
from stemd.formats import stem_file
from stemd.model import Finished, Measurement, Rung

if TYPE_CHECKING:
    from pathlib import Path

    from stemd.model import Job, ModelCard, Outcome, Rule
    from stemd.stages.work import Work

REPORT = "separation.json"
"""What the engine said of a separation; lies beside its stems and, copied, in the job's folder."""


def run(work: Work) -> Outcome:
    """Separate mix.wav, or find the stems that the same separation key has left.

    Raises EnvironmentFault "unknown-stem" when the rule asks for stems that its model does not have.
    """
    card = work.children.describe(work.rule.model)
    rung = work.rung or Rung("cpu", work.rule.precision, 1, work.rule.segment or card.segment)
    stems = resolve(work.rule, card)
    key = separation_key(work.job, work.rule, card, stems, rung.segment)
    kept = work.results / key
    if (kept / REPORT).exists():
        kept.touch()
        _report(kept, work.folder)
        return Finished(note=f"the stems were there already{_caution(stems)}", key=key)
    done = work.children.separate(_request(work, card, stems, rung, kept), work)
    _keep(kept, work.job, done | {"model": card.name, "digest": card.digest, "stems": list(stems)})
    _report(kept, work.folder)
    return Finished(note=_note(stems, done), key=key, measurement=_measurement(card, rung, done))


def resolve(rule: Rule, card: ModelCard) -> tuple[str, ...]:
    """Say which stems a rule means with its model: "all", names, and complements as no_<name>."""
    if rule.format == stem_file.FORMAT and set(card.sources) != set(stem_file.STEMS):
        raise EnvironmentFault(
            "unknown-stem", f'rule "{rule.name}" asks for a stem.m4a, which holds just {", ".join(stem_file.STEMS)}; '
            f"{card.name} makes {', '.join(card.sources)}",
            "choose another model or format in config.toml, then: systemctl reload",
        )  # fmt: skip
    if rule.stems == ("all",):
        return card.sources
    unknown = [stem for stem in rule.stems if stem.removeprefix("no_") not in card.sources]
    if unknown:
        raise EnvironmentFault(
            "unknown-stem", f'rule "{rule.name}" asks for {", ".join(unknown)}, which {card.name} does not make',
            f"it makes {', '.join(card.sources)} and their no_...; mend `stems` in config.toml, then: systemctl reload",
        )  # fmt: skip
    return rule.stems


def separation_key(job: Job, rule: Rule, card: ModelCard, stems: tuple[str, ...], segment: float) -> str:
    """Give sha256, hex, over everything that the stems' samples depend on. segment: seconds, as really used."""
    parts = {
        "content": job.sha256, "model": card.name, "weights": card.digest, "shifts": rule.shifts,
        "overlap": rule.overlap, "segment": segment, "seed": rule.seed, "precision": rule.precision,
        "residual": rule.residual, "stems": sorted(stems),
    }  # fmt: skip
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _request(work: Work, card: ModelCard, stems: tuple[str, ...], rung: Rung, kept: Path) -> dict[str, Any]:
    unfinished = _unfinished(kept, work.job)
    with faults_in("state", work.results):
        drop_tree(unfinished)
        unfinished.mkdir(parents=True)
    rule = work.rule
    return {
        "model": card.name, "mix": str(work.folder / "mix.wav"), "out": str(unfinished), "stems": list(stems),
        "shifts": rule.shifts, "overlap": rule.overlap,
        "segment": None if rung.segment == card.segment else rung.segment,
        "batch": rung.batch, "device": rung.device, "precision": rung.precision, "seed": rule.seed,
        "residual": rule.residual,
    }  # fmt: skip


def _unfinished(kept: Path, job: Job) -> Path:
    return kept.with_name(f"{kept.name}.{job.id}.tmp")


def _keep(kept: Path, job: Job, done: dict[str, Any]) -> None:
    """Make the stems durable and let them appear at once under their key."""
    unfinished = _unfinished(kept, job)
    write_json(unfinished / REPORT, done)
    with faults_in("state", kept.parent):
        for file in unfinished.iterdir():
            _sync(file)
        sync_folder(unfinished)
        if kept.exists():  # another job of the same key was faster
            drop_tree(unfinished)
            return
        unfinished.rename(kept)
        sync_folder(kept.parent)


def _sync(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _report(kept: Path, folder: Path) -> None:
    write_json(folder / REPORT, read_json(kept / REPORT))


def _note(stems: tuple[str, ...], done: dict[str, Any]) -> str:
    reruns = f", {done['reruns_float32']} segments once more in float32" if done.get("reruns_float32") else ""
    return (
        f"{', '.join(stems)} in {done['seconds']:.1f} s on {done['device']}, {done['precision']}, "
        f"{done['x_realtime']:.1f} x realtime{reruns}{_caution(stems)}"
    )


def _caution(stems: tuple[str, ...]) -> str:
    """Networks of six stems were trained on little piano; Demucs's own README warns of theirs."""
    weak = any(stem.removeprefix("no_") == "piano" for stem in stems)
    return "; the piano is weak: listen to it before you use it" if weak else ""


def _measurement(card: ModelCard, rung: Rung, done: dict[str, Any]) -> Measurement:
    return Measurement(
        model=card.name, device=str(done["device"]), precision=rung.precision, batch=int(done["batch"]),
        segment=float(done["segment"]), peak_ram=int(done["peak_ram_bytes"]), peak_vram=int(done["peak_vram_bytes"]),
        seconds_per_audio_second=1 / max(float(done["x_realtime"]), 1e-9),
    )  # fmt: skip
