"""DELIVER: makes the stems into files as the rule wants them, and publishes them to the outbox or for review."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from stemd.codec import dubbing
from stemd.codec.keeping import check_room
from stemd.codec.making import Made, Order, make
from stemd.errors import EnvironmentFault, StemdError, WorkerFault
from stemd.files import digest, drop_tree, faults_in, read_fact, read_json, write_json
from stemd.files.companions import NARRATION, Copy
from stemd.files.names import Place, places, readable, split
from stemd.files.plan import longest_name
from stemd.files.publish import Item, Shelf, abandon, publish, resume
from stemd.formats import stem_file
from stemd.formats.manifest import manifest, text_of
from stemd.model import Artifact, Finished, Mix, Retry
from stemd.mounts import not_mounted, unmounted
from stemd.stages import companions, copies

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stemd.model import Outcome
    from stemd.stages.work import Work

JOURNALS: Final = {"outbox": copies.OUTBOX_JOURNAL, "review": copies.JOURNAL}
"""What was published where, in the job's folder; `files.publish` writes and reads them."""

_MADE: Final = "delivery"
_FILM: Final = "film"
_MANIFEST: Final = "manifest"
_QUALITY: Final = "quality"
_MAKING: Final = 0.7  # of the stage's progress; the rest is publishing


def run(work: Work) -> Outcome:
    """Encode the stems once, publish them whole, and take back the review copy of an approved job.

    Raises EnvironmentFault("outbox-full", "outbox-read-only", "outbox-missing", "review-..", "inbox-offline",
    "state-full", "stems-missing"), Stopping, WorkerFault, StemdError("lost-fact").
    """
    shelf = _shelf(work, "review" if work.job.for_review else "outbox")
    artifacts, unused = resume(shelf), ""
    if not artifacts:
        _check_stems(work)
        carried = companions.carried(work) if shelf.what == "outbox" else ()
        if isinstance(carried, Retry):
            return carried
        dubs = work.rule.remux and shelf.what == "outbox"
        made = _made(work, _MAKING / 2 if dubs else _MAKING)
        film = _dubbed(work, carried) if dubs else None
        artifacts = _published(work, shelf, made, film, carried)
        unused = _unused(work, film, carried) if shelf.what == "outbox" else ""
    note = f"{_count(artifacts)} in {_shown(artifacts)}{unused}"
    if shelf.what == "review":
        return Finished(note=f"to be heard: {note}", artifacts=copies.standing(work))
    delivered = tuple(dataclasses.replace(artifact, result=work.job.result) for artifact in artifacts)
    hook = artifacts[-1].path if work.rule.hook.delivered else b""  # the manifest comes last
    return Finished(note=note + copies.take_back(work), artifacts=delivered, hook=hook)


def forget(folder: Path) -> bool:
    """Clean up outside a job's own folder when the job has ended or starts anew: temporary files and the review copy.

    folder: the job's. What is in the outbox stays. Returns False where a review copy stays because it was changed or
    cannot be reached. Raises nothing.
    """
    for journal in folder.rglob(JOURNALS["outbox"]):
        abandon(journal, published=False)
    gone = [abandon(journal, published=True) for journal in folder.rglob(JOURNALS["review"])]
    return all(gone)


def strip(folder: Path) -> None:
    """Drop what another delivery makes anew, and what is remembered of this one. folder: the job's."""
    for name in (_MADE, _FILM, companions.CARRIED, *JOURNALS.values()):
        for made in list(folder.rglob(name)):
            drop_tree(made)


def _check_stems(work: Work) -> None:
    """A rule may ask for more than it did when the stems were made, while they wait for a listener or for room."""
    rule, there = work.rule, _separation(work)["files"]
    needed = {*(stem_file.STEMS if rule.format == stem_file.FORMAT else ()), *(("no_vocals",) if rule.remux else ())}
    if lacking := sorted(needed - there.keys()):
        raise EnvironmentFault(
            "stems-missing", f'rule "{rule.name}" needs {", ".join(lacking)} now, which job {work.job.id} has not',
            f"set format and remux of the rule back, then reload; or make it anew: stemd retry {work.job.id}",
        )  # fmt: skip


def _shelf(work: Work, what: str) -> Shelf:
    folder = work.rule.review if what == "review" else work.rule.outbox
    if what == "review":
        copies.make_folder(work)
    elif point := unmounted(folder):
        raise EnvironmentFault(
            "outbox-missing", f"{folder}: {not_mounted(point)}", f"run: mount {point}; the job then resumes"
        )
    return Shelf(folder, work.folder / JOURNALS[what], work.job.id, what, work.stop)


def _published(
    work: Work, shelf: Shelf, made: Made, film: Made | None, carried: Sequence[Copy]
) -> tuple[Artifact, ...]:
    items = _items(work, shelf, made, film, carried)
    total = max(sum(item.size for item in items), 1)
    with faults_in(shelf.what, shelf.folder):
        check_room(shelf.folder, total, shelf.what)
    told = dataclasses.replace(
        shelf, progress=lambda done: work.progress(_MAKING + (1 - _MAKING) * min(done / (2 * total), 1.0), {})
    )
    try:
        return publish(told, items)
    except StemdError as error:
        if error.code != "lost-delivery":
            raise
        for kept in (_MADE, _FILM):
            drop_tree(work.folder / kept)
        raise WorkerFault(error.code, error.message, error.hint) from error


def _made(work: Work, share: float) -> Made:
    """Have the stems encoded. share: of the stage's progress."""
    separation = _separation(work)
    order = Order(
        rule=work.rule,
        mix=read_fact(work.folder / "mix.json", Mix),
        stems=_stems(work, separation["files"]),
        key=work.job.key,
        source=work.source,
        title=text_of(_track(work.job.name)),
        folder=work.folder / _MADE,
    )
    return make(order, stop=work.stop, progress=lambda part: work.progress(part * share, {}))


def _dubbed(work: Work, carried: Sequence[Copy]) -> Made | None:
    """Have the film made with its new sound; None if there is no picture."""
    separation = _separation(work)
    order = dubbing.Order(
        rule=work.rule,
        mix=read_fact(work.folder / "mix.json", Mix),
        accompaniment=work.results / work.job.key / separation["files"]["no_vocals"],
        key=work.job.key,
        source=work.source,
        narration=next((each for each in carried if each.kind == NARRATION), None),
        name=text_of(PurePosixPath(os.fsdecode(work.job.name)).name),
        folder=work.folder / _FILM,
    )
    half = _MAKING / 2
    return dubbing.make(order, stop=work.stop, progress=lambda part: work.progress(half + part * half, {}))


def _stems(work: Work, files: Mapping[str, str]) -> dict[str, Path]:
    """What is encoded: the stems, and for a STEM file the mix."""
    stems = {stem: work.results / work.job.key / name for stem, name in files.items()}
    return {stem_file.MIX: work.folder / "mix.wav", **stems} if work.rule.format == stem_file.FORMAT else stems


def _unused(work: Work, film: Made | None, carried: Sequence[Copy]) -> str:
    """Say what was wished for in vain, as the end of a note."""
    if work.rule.remux and film is None:
        return "; no video: the recording has no picture"
    narrated = any(each.kind == NARRATION for each in carried)
    return "; the narration is not used: write remux = true in the rule" if narrated and film is None else ""


def _items(work: Work, shelf: Shelf, made: Made, film: Made | None, carried: Sequence[Copy]) -> list[Item]:
    """The set as it is to appear: stems, film, companions, for a listener the report, and last the manifest."""
    stems = list(made.files)
    below, papers = _below(work.job.name), (_QUALITY, _MANIFEST, dubbing.VIDEO)
    fields = _fields(work, _separation(work)) | ({"track": _compared(work)} if shelf.what == "review" else {})
    where = places(work.rule.names, stems, fields, below, longest_name(shelf.folder), papers=papers)
    items = [_made_item(made, stem, where[stem]) for stem in stems]
    if film is not None:
        where[dubbing.VIDEO] = _with_extension(where[dubbing.VIDEO], Path(film.files[dubbing.VIDEO]["file"]).suffix)
        items.append(_made_item(film, dubbing.VIDEO, where[dubbing.VIDEO]))
    if shelf.what == "review":
        items += [_item(file, _with_extension(where[_QUALITY], file.suffix)) for file in _report(work)]
    accompaniment = where[_accompaniment(stems)]
    beside = {each: _with_extension(accompaniment, each.kind) for each in carried if each.kind != NARRATION}
    items += [Item(each.file, place, each.sha256, each.size) for each, place in beside.items()]
    place = _manifest_place(where[_MANIFEST])
    file = made.folder / f"{_MANIFEST}-{shelf.what}.json"
    written = [{"stem": stem} | _told(made, stem, _relative(where[stem], place)) for stem in stems]
    if film is not None:
        video = dubbing.VIDEO
        written.append({"kind": video} | _told(film, video, _relative(where[video], place)))
    written += [_told_beside(each, _relative(there, place)) for each, there in beside.items()]
    write_json(file, _manifest(work, made, written))
    return [*items, _item(file, place)]


def _made_item(made: Made, name: str, place: Place) -> Item:
    told = made.files[name]
    return Item(made.folder / told["file"], place, told["sha256"], told["size"])


def _item(file: Path, place: Place) -> Item:
    return Item(file, place, digest(file), file.stat().st_size)


def _separation(work: Work) -> Mapping[str, Any]:
    """What SEPARATE has left; the rule may have changed since, while a listener or a share was waited for."""
    told: Mapping[str, Any] = read_json(work.folder / "separation.json")
    return told


def _fields(work: Work, separation: Mapping[str, Any]) -> dict[str, str]:
    return {
        "track": _track(work.job.name),
        "ext": work.rule.format,
        "model": separation.get("model", work.rule.model),
        "rule": work.rule.name,
        "date": time.strftime("%Y-%m-%d", time.localtime(work.job.created)),
    }


def _compared(work: Work) -> str:
    """A further result lies beside the first under a name that tells them apart."""
    job, track = work.job, _track(work.job.name)
    return f"{track} ({', '.join(filter(None, (job.preset, job.model)))})" if job.preset else track


def _track(name: bytes) -> str:
    return split(PurePosixPath(os.fsdecode(name)).name)[0]


def _below(name: bytes) -> tuple[str, ...]:
    return PurePosixPath(os.fsdecode(name)).parts[:-1]


def _with_extension(place: Place, extension: str) -> Place:
    return dataclasses.replace(place, name=split(place.name)[0] + extension)


def _manifest_place(place: Place) -> Place:
    """At the top of the track's own folder, by a name that programs know; else by the template."""
    if place.unit:
        return dataclasses.replace(place, unit=place.unit[:1], name=f"{_MANIFEST}.json")
    return _with_extension(place, ".json")


def _relative(place: Place, manifest: Place) -> str:
    """A stem's path as seen from the manifest."""
    return os.path.relpath(
        "/".join([*place.folders, *place.unit, place.name]), "/".join([*manifest.folders, *manifest.unit]) or "."
    )


def _report(work: Work) -> list[Path]:
    """What a listener wants beside the stems: the measurements and their picture, where there are any."""
    found = (work.folder / "quality.json", work.folder / "report" / "quality.png")
    return [file for file in found if file.exists()]


def _accompaniment(stems: Sequence[str]) -> str:
    """Beside which stem a player looks for lyrics and graphics: what is sung to, else the voice."""
    without = [stem for stem in stems if stem.startswith("no_")]
    return next((stem for stem in ("no_vocals", *without, "vocals") if stem in stems), stems[0])


def _told(made: Made, file: str, name: str) -> dict[str, Any]:
    known = ("sha256", "size", "gain", "tracks")
    told = made.files[file]
    return {"name": text_of(name), **{key: told[key] for key in known if key in told}}


def _told_beside(companion: Copy, name: str) -> dict[str, Any]:
    return {
        "kind": companion.kind.lstrip("."), "name": text_of(name), "sha256": companion.sha256, "size": companion.size,
    }  # fmt: skip


def _manifest(work: Work, made: Made, files: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    separation = _separation(work)
    quality = work.folder / "quality.json"
    return manifest(
        work.job, work.rule, read_fact(work.folder / "mix.json", Mix), made.shape, files=files, separation=separation,
        quality=read_json(quality) if quality.exists() else None,
    )  # fmt: skip


def _count(artifacts: tuple[Artifact, ...]) -> str:
    return f"{len(artifacts)} files"


def _shown(artifacts: tuple[Artifact, ...]) -> str:
    return readable(str(Path(os.fsdecode(artifacts[0].path)).parent))
