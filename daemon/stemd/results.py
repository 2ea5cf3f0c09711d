"""Kept separations: results/<key>/ holds every stem that was made of one sound in one way, for whoever needs it.

The key stands for the computation, not for the stems that were asked for: a folder that lacks some is extended.
`separation.json` in it names the stems that are whole and what the engine said of the last run. Beside them,
results/<key>/<job>/ holds what else a delivery needs, for each job that is done with them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from stemd.errors import StemdError
from stemd.files import drop_tree, faults_in, free_bytes, read_json, sync_file, sync_folder, write_json

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from stemd.model import Job, Mix, ModelCard, Recipe, Rule

REPORT: Final = "separation.json"
_COMPLEMENT: Final = "no_"
_SUMMED: Final = ".summed"
"""What the kept name of a complement ends with that is the sum of the others, not the mix minus one."""


def nominal_segment(rule: Rule, card: ModelCard) -> float:
    """Give the seconds that a rule's separation is cut into while memory does not force shorter ones."""
    return min(rule.segment or card.segment, card.segment)


def separation_key(job: Job, mix: Mix, rule: Rule, card: ModelCard, segment: float) -> str:
    """Give sha256, hex, over all that the network's output depends on: what is heard, not how its file is tagged.

    segment: seconds, as really used.
    """
    parts = {
        "content": mix.digest or job.sha256, "model": card.name, "weights": card.digest, "shifts": rule.shifts,
        "overlap": rule.overlap, "segment": segment, "seed": rule.seed, "precision": rule.precision,
    }  # fmt: skip
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def kept_name(stem: str, rule: Rule, card: ModelCard) -> str:
    """Give the name under which a rule's stem is kept: complements differ by how they are made."""
    summed = rule.residual == "add" and stem not in card.sources
    return stem + _SUMMED if summed else stem


def parts(stem: str, rule: Rule, card: ModelCard) -> tuple[str, ...]:
    """Give the model's own stems that a stem is made of; the mix is not counted."""
    if stem in card.sources:
        return (stem,)
    one = stem.removeprefix(_COMPLEMENT)
    return tuple(source for source in card.sources if source != one) if rule.residual == "add" else (one,)


def missing(
    stems: Iterable[str], there: Collection[str], rule: Rule, card: ModelCard
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Divide what a rule asks for and is not kept: what the network must make, and what is formed of kept stems."""
    lacking = [stem for stem in stems if kept_name(stem, rule, card) not in there]
    formed = tuple(stem for stem in lacking if stem not in card.sources and set(parts(stem, rule, card)) <= set(there))
    return tuple(stem for stem in lacking if stem not in formed), formed


def beside(rule: Rule, rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """Give the other rules that have recordings separated in just the same way, whichever stems they deliver."""
    return tuple(other for other in rules if other.name != rule.name and _way(other) == _way(rule))


def free(stems: Iterable[str], rule: Rule, others: Iterable[Rule], card: ModelCard) -> tuple[str, ...]:
    """Give what a run that makes `stems` may keep at no cost but disk, because other rules are made of it."""
    members = {member for stem in stems for part in parts(stem, rule, card) for member in card.needs.get(part, ())}
    asked = {
        part
        for other in others
        for stem in (card.sources if other.stems == ("all",) else other.stems)
        for part in parts(stem, other, card)
    }
    wanted = asked - set(stems)
    return tuple(source for source in card.sources if source in wanted and members >= {*card.needs.get(source, (-1,))})


def _way(rule: Rule) -> Recipe:
    return replace(rule.recipe, stems=(), residual="minus")


def report(folder: Path) -> dict[str, Any]:
    """Read what is kept in a folder: "files", kept name to file name, and the last run. {} where nothing is."""
    try:
        told: dict[str, Any] = read_json(folder / REPORT)
    except StemdError:
        return {}
    told["files"] = {stem: file for stem, file in told["files"].items() if (folder / file).exists()}
    return told


def add(folder: Path, made: Mapping[str, Path], facts: Mapping[str, Any]) -> None:
    """Put stems, by their kept names, into a folder; they count once all of them are durable. facts: of the run.

    Raises EnvironmentFault("state-full", ..). May be repeated after a kill.
    """
    with faults_in("state", folder.parent):
        folder.mkdir(exist_ok=True)
        for stem, file in made.items():
            sync_file(file)
            file.rename(folder / f"{stem}.wav")
        sync_folder(folder)
        sync_folder(folder.parent)
    before = report(folder)
    files = before.get("files", {}) | {stem: f"{stem}.wav" for stem in made}
    write_json(folder / REPORT, before | dict(facts) | {"files": files})


def touch(folder: Path) -> None:
    """Note that a result was used."""
    folder.touch()


def put_by(work: Path, folder: Path) -> None:
    """Keep what a job that is done knew of its recording beside its stems, so that they can be delivered once more.

    work: the job's folder, which goes. folder: of the result. Raises EnvironmentFault.
    """
    kept = folder / work.name
    with faults_in("state", folder):
        drop_tree(kept)
        work.rename(kept)
        sync_folder(folder)


def bring_back(folder: Path, work: Path) -> None:
    """Undo `put_by`; nothing if that was done before. Raises EnvironmentFault."""
    kept = folder / work.name
    with faults_in("state", work.parent):
        if kept.exists():
            drop_tree(work)
            kept.rename(work)
            sync_folder(work.parent)


def trim(results: Path, limit: float, needed: Collection[str]) -> list[str]:
    """Drop kept separations, least recently used first, until they take at most `limit` bytes and half the room.

    The room is what the disk would have free without them: what is kept must not keep new work from starting.
    needed: keys that jobs still need; they stay whatever they take. Returns the keys dropped.
    """
    kept = sorted((folder for folder in results.iterdir() if not folder.name.endswith(".tmp")), key=_last_use)
    sizes = {folder: _size(folder) for folder in kept}
    total, dropped = sum(sizes.values()), []
    limit = min(limit, (total + free_bytes(results)) / 2)
    for folder in kept:
        if total <= limit:
            break
        if folder.name not in needed:
            drop_tree(folder)
            total -= sizes[folder]
            dropped.append(folder.name)
    return dropped


def _last_use(folder: Path) -> int:
    return folder.stat().st_mtime_ns


def _size(folder: Path) -> int:
    return sum(file.lstat().st_size for file in folder.rglob("*") if not file.is_dir())
