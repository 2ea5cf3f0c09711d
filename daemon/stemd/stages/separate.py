"""SEPARATE: has the engine make the stems that nobody has made of this sound before, and keeps them for all."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

from stemd import lanes, results
from stemd.codec.ask import ask
from stemd.errors import EnvironmentFault
from stemd.files import drop_tree, faults_in, read_fact, write_json
from stemd.formats import stem_file
from stemd.model import Finished, Measurement, Mix, Retry, Rung

if TYPE_CHECKING:
    from pathlib import Path

    from stemd.model import ModelCard, Outcome, Rule
    from stemd.stages.work import Work

REPORT: Final = results.REPORT
"""What the engine said of a separation, and the job's own stems; in the job's folder."""

_LEAST: Final = 300.0
_SLOWEST: Final = 1.0  # seconds of work per second of sound and stem


def run(work: Work) -> Outcome:
    """Separate mix.wav as far as its stems are not kept: what the network need not make is formed of what is there.

    Raises EnvironmentFault "unknown-stem" when the rule asks for stems that its model does not have.
    """
    card = work.children.describe(work.rule.model)
    stems, mix = resolve(work.rule, card), read_fact(work.folder / "mix.json", Mix)
    segment = work.rung.segment if work.rung else results.nominal_segment(work.rule, card)
    key = results.separation_key(work.job, mix, work.rule, card, segment)
    kept = work.results / key
    wanted, formed = results.missing(stems, results.report(kept).get("files", {}), work.rule, card)
    if wanted and work.rung is None:
        return Retry(0.0, "stems that were kept are gone; they are made again", counts=False)
    done = _separated(work, card, wanted, work.rung, kept) if wanted and work.rung else None
    if formed:
        _form(work, card, mix, formed, kept)
    if kept.exists():
        results.touch(kept)
    recipe = work.rule.recipe.digest_with(card.digest)
    _report(work, card, recipe, stems, kept)
    measured = _measurement(work, card, work.rung, mix, done) if done and work.rung else None
    note, first = _note(stems, wanted, formed, done), work.job.result == 1
    return Finished(note=note, key=key, recipe=recipe if first else "", measurement=measured)


def resolve(rule: Rule, card: ModelCard) -> tuple[str, ...]:
    """Say which stems a rule means with its model: "all", names, and complements as no_<name>."""
    if rule.format == stem_file.FORMAT and set(card.sources) != set(stem_file.STEMS):
        raise EnvironmentFault(
            "unknown-stem", f'rule "{rule.name}" asks for a stem.m4a, which holds just {", ".join(stem_file.STEMS)}; '
            f"{card.name} makes {', '.join(card.sources)}",
            "choose another model or format in config.toml, then: systemctl reload stemd",
        )  # fmt: skip
    if rule.stems == ("all",):
        return card.sources
    unknown = [stem for stem in rule.stems if stem.removeprefix("no_") not in card.sources]
    if unknown:
        raise EnvironmentFault(
            "unknown-stem", f'rule "{rule.name}" asks for {", ".join(unknown)}, which {card.name} does not make',
            f"it makes {', '.join(card.sources)} and their no_...; mend `stems` in config.toml, "
            "then: systemctl reload stemd",
        )  # fmt: skip
    return rule.stems


def _separated(work: Work, card: ModelCard, stems: tuple[str, ...], rung: Rung, kept: Path) -> dict[str, Any]:
    """Have the engine make stems, and what its run gives other rules for nothing; returns what it says of them."""
    unfinished = _unfinished(work, kept)
    there = results.report(kept).get("files", {})
    more = [stem for stem in results.free(stems, work.rule, work.beside, card) if stem not in there]
    done = work.children.separate(_request(work, card, (*stems, *more), rung, unfinished), work)
    made = {results.kept_name(stem, work.rule, card): unfinished / name for stem, name in done["files"].items()}
    results.add(kept, made, done | {"model": card.name, "digest": card.digest})
    drop_tree(unfinished)
    return done


def _form(work: Work, card: ModelCard, mix: Mix, stems: tuple[str, ...], kept: Path) -> None:
    """Have stems formed of kept ones and the mix."""
    unfinished, rule = _unfinished(work, kept), work.rule
    made = {results.kept_name(stem, rule, card): unfinished / f"{stem}.wav" for stem in stems}
    question = {
        "do": "combine", "name": work.job.name.decode("utf-8", "replace"),
        "stems": [_sum(work, kept, results.parts(stem, rule, card), unfinished / f"{stem}.wav") for stem in stems],
    }  # fmt: skip
    timeout = _LEAST + _SLOWEST * mix.seconds * len(stems)
    ask(question, timeout=timeout, stop=work.stop, progress=lambda part: work.progress(part, {}))
    results.add(kept, made, {})
    drop_tree(unfinished)


def _sum(work: Work, kept: Path, parts: tuple[str, ...], target: Path) -> dict[str, Any]:
    files = [str(kept / f"{part}.wav") for part in parts]
    if work.rule.residual == "add":
        return {"target": str(target), "plus": files, "minus": None}
    return {"target": str(target), "plus": [str(work.folder / "mix.wav")], "minus": files[0]}


def _request(work: Work, card: ModelCard, stems: tuple[str, ...], rung: Rung, out: Path) -> dict[str, Any]:
    rule = work.rule
    return {
        "model": card.name, "digest": card.digest, "mix": str(work.folder / "mix.wav"), "out": str(out),
        "stems": list(stems),
        "shifts": rule.shifts, "overlap": rule.overlap,
        "segment": None if rung.segment == card.segment else rung.segment,
        "batch": rung.batch, "device": rung.device, "precision": rung.precision, "seed": rule.seed,
        "residual": rule.residual,
    }  # fmt: skip


def _unfinished(work: Work, kept: Path) -> Path:
    """Make an empty folder for stems that are not whole yet."""
    folder = kept.with_name(f"{kept.name}.{work.job.id}.tmp")
    with faults_in("state", work.results):
        drop_tree(folder)
        folder.mkdir(parents=True)
    return folder


def _report(work: Work, card: ModelCard, recipe: str, stems: tuple[str, ...], kept: Path) -> None:
    """Leave the job what it needs to know of its stems."""
    told = results.report(kept)
    files = {stem: told["files"][results.kept_name(stem, work.rule, card)] for stem in stems}
    made_by = {"recipe": recipe, "settings": dataclasses.asdict(work.rule.recipe), "sources": card.sources}
    write_json(work.folder / REPORT, told | {"files": files} | made_by)


def _note(stems: tuple[str, ...], wanted: tuple[str, ...], formed: tuple[str, ...], done: dict[str, Any] | None) -> str:
    if done is None:
        told = f"{', '.join(formed)} formed of stems that were there already" if formed else ""
        return (told or "the stems were there already") + _caution(stems)
    reruns = f", {done['reruns_float32']} segments once more in float32" if done.get("reruns_float32") else ""
    rest = "; the others were there already" if len(wanted) < len(stems) else ""
    return (
        f"{', '.join(wanted)} in {done['seconds']:.1f} s on {done['device']}, {done['precision']}, "
        f"{done['x_realtime']:.1f} x realtime{reruns}{rest}{_caution(stems)}"
    )


def _caution(stems: tuple[str, ...]) -> str:
    """Networks of six stems were trained on little piano; Demucs's own README warns of theirs."""
    weak = any(stem.removeprefix("no_") == "piano" for stem in stems)
    return "; the piano is weak: listen to it before you use it" if weak else ""


def _measurement(work: Work, card: ModelCard, rung: Rung, mix: Mix, done: dict[str, Any]) -> Measurement:
    segment, made = float(done["segment"]), done["files"]
    return Measurement(
        model=card.name, device=str(done["device"]), precision=rung.precision, batch=int(done["batch"]),
        segment=segment, peak_ram=int(done["peak_ram_bytes"]), peak_vram=int(done["peak_vram_bytes"]),
        seconds_per_audio_second=1 / max(float(done["x_realtime"]), 1e-9),
        passes=lanes.passes(made, work.rule, card),
        lanes=round(lanes.held(made, work.rule, card) * min(segment, mix.seconds)),
    )  # fmt: skip
