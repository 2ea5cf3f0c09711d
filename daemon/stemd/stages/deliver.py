"""DELIVER: makes the stems into files as the rule wants them, and publishes them to the outbox or for review."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import time
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from stemd import __version__
from stemd.codec.ask import ask
from stemd.errors import EnvironmentFault, StemdError, WorkerFault
from stemd.files import digest, drop_tree, faults_in, free_bytes, read_fact, read_json, sync_folder, write_json
from stemd.files.names import Place, places, split
from stemd.files.plan import longest_name
from stemd.files.publish import Item, Shelf, abandon, publish, resume
from stemd.formats import GUARDS, SANDBOX, resampler
from stemd.formats.manifest import manifest, readable
from stemd.formats.outgoing import Shape, encode_command, expected_bytes, metadata, resample_command, shape
from stemd.model import Artifact, Finished, Mix
from stemd.stages import copies
from stemd.tools import run as run_tool

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stemd.model import Outcome
    from stemd.stages.work import Work

JOURNALS: Final = {"outbox": copies.OUTBOX_JOURNAL, "review": copies.JOURNAL}
"""What was published where, in the job's folder; `files.publish` writes and reads them."""

_MADE: Final = "delivery"
_FACT: Final = "delivery.json"
_MANIFEST: Final = "manifest"
_QUALITY: Final = "quality"
_RESERVE: Final = 64 * 1024**2
_LARGEST_COVER: Final = 16 * 1024**2  # bytes; a FLAC picture block ends there
_LEAST: Final = 300.0
_SLOWEST: Final = 2.0  # seconds of work per second of sound and stem
_MAKING: Final = 0.7  # of the stage's progress; the rest is publishing


def run(work: Work) -> Outcome:
    """Encode the stems once, publish them whole, and take back the review copy of an approved job.

    Raises EnvironmentFault("outbox-full", "outbox-read-only", "outbox-missing", "review-..", "state-full"), Stopping,
    WorkerFault, StemdError("lost-fact", "bad-name-template").
    """
    shelf = _shelf(work, "review" if work.job.for_review else "outbox")
    artifacts = resume(shelf) or _published(work, shelf, _made(work))
    note = f"{_count(artifacts)} in {_shown(artifacts)}"
    if shelf.what == "review":
        return Finished(note=f"to be heard: {note}", artifacts=copies.standing(work))
    delivered = tuple(dataclasses.replace(artifact, result=work.job.result) for artifact in artifacts)
    return Finished(note=note + copies.take_back(work), artifacts=delivered)


def forget(folder: Path) -> bool:
    """Clean up outside a job's own folder when the job has ended or starts anew: temporary files and the review copy.

    folder: the job's. What is in the outbox stays. Returns False where a review copy stays because it was changed or
    cannot be reached. Raises nothing.
    """
    for journal in folder.rglob(JOURNALS["outbox"]):
        abandon(journal, published=False)
    gone = [abandon(journal, published=True) for journal in folder.rglob(JOURNALS["review"])]
    return all(gone)


def _shelf(work: Work, what: str) -> Shelf:
    folder = work.rule.review if what == "review" else work.rule.outbox
    if what == "review":
        with faults_in("review", folder), contextlib.suppress(FileExistsError):
            folder.mkdir()
    return Shelf(folder, work.folder / JOURNALS[what], work.job.id, what, work.stop)


def _published(work: Work, shelf: Shelf, made: _Made) -> tuple[Artifact, ...]:
    items = _items(work, shelf, made)
    total = max(sum(item.size for item in items), 1)
    with faults_in(shelf.what, shelf.folder):
        _check_room(shelf.folder, total, shelf.what)
    told = dataclasses.replace(
        shelf, progress=lambda done: work.progress(_MAKING + (1 - _MAKING) * min(done / total, 1.0), {})
    )
    try:
        return publish(told, items)
    except StemdError as error:
        if error.code != "lost-delivery":
            raise
        drop_tree(work.folder / _MADE)
        raise WorkerFault(error.code, error.message, error.hint) from error


# ------------------------------------------------------------------------------------------------- making the files


@dataclasses.dataclass(frozen=True, slots=True)
class _Made:
    """The encoded set in the job's folder. files: stem to its file; manifest and extras are made anew each time."""

    folder: Path
    mix: Mix
    shape: Shape
    files: Mapping[str, Mapping[str, Any]]


def _made(work: Work) -> _Made:
    """Encode the stems, or find them encoded by an earlier try with the same wishes."""
    mix = read_fact(work.folder / "mix.json", Mix)
    separation = read_json(work.folder / "separation.json")
    made = shape(work.rule, mix)
    folder = work.folder / _MADE
    wishes = _wishes(work, made)
    with contextlib.suppress(StemdError):
        kept = read_json(folder / _FACT)
        if kept["wishes"] == wishes:
            return _Made(folder, mix, made, kept["files"])
    with faults_in("state", work.folder):
        drop_tree(folder)
        folder.mkdir()
        _check_room(work.folder, _needed(mix, made, len(separation["files"])), "state")
    files = _encoded(work, mix, made, separation["files"], folder)
    with faults_in("state", work.folder):
        sync_folder(folder)
        sync_folder(work.folder)
    write_json(folder / _FACT, {"wishes": wishes, "files": files})
    return _Made(folder, mix, made, files)


def _wishes(work: Work, made: Shape) -> str:
    """A digest of all that decides about the files' bytes."""
    rule = work.rule
    parts = [
        __version__, work.job.key, work.job.sha256, os.fsdecode(work.job.name), dataclasses.astuple(made),
        rule.format, rule.bit_depth, rule.bitrate, rule.mp3_quality, rule.clip,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _needed(mix: Mix, made: Shape, stems: int) -> int:
    resampled = (made.rate, made.channels, made.frames) != (mix.sample_rate, mix.channels, mix.frames)
    samples = made.frames * made.channels * 4 if resampled else 0
    return stems * (expected_bytes(made) + samples)


def _encoded(work: Work, mix: Mix, made: Shape, stems: Mapping[str, str], folder: Path) -> dict[str, dict[str, Any]]:
    cover = _cover(work, mix)
    asked = []
    for stem, name in stems.items():
        source, target = work.results / work.job.key / name, folder / f"{stem}.{work.rule.format}"
        if not source.exists():
            raise StemdError(
                "lost-result", f"the kept stem {source} is gone", f"separate again: stemd retry {work.job.id}"
            )
        tags = folder / f"{stem}.tags"
        title = f"{mix.source.tags.get('title') or readable(_track(work.job.name))} ({stem})"
        text = metadata(work.rule, mix.source.tags, title, cover.read_bytes() if cover else None)
        with faults_in("state", folder):
            tags.write_text(text, encoding="utf-8", errors="replace")
        asked.append(
            {
                "name": stem,
                "source": str(source),
                "target": str(target),
                "resample": resample_command(source, made, mix, resampler()),
                "encode": encode_command(work.rule, made, target, tags, cover),
            }
        )
    question = {
        "do": "encode", "stems": asked, "rate": made.rate, "channels": made.channels, "frames": made.frames,
        "kind": made.kind, "lossy": made.lossy, "clip": work.rule.clip,
    }  # fmt: skip
    timeout = _LEAST + _SLOWEST * mix.seconds * len(asked)
    done = ask(question, timeout=timeout, stop=work.stop, progress=lambda part: work.progress(part * _MAKING, {}))
    files = dict(done["files"])
    return {stem: {**files[stem], "file": f"{stem}.{work.rule.format}"} for stem in stems}


def _cover(work: Work, mix: Mix) -> Path | None:
    """Take the cover out of the source, undecoded; none is no fault."""
    index = mix.source.cover_stream
    if index is None:
        return None
    cover = work.folder / "cover"
    argv: list[str | Path] = [
        "ffmpeg", "-hide_banner", "-nostdin", "-v", "error", "-y", *GUARDS, "-i", work.source,
        "-map", f"0:{index}", "-c", "copy", "-frames:v", "1", "-f", "image2", "-update", "1", cover,
    ]  # fmt: skip
    done = run_tool(argv, timeout=_LEAST, stop=work.stop, limits=SANDBOX)
    if done.returncode != 0 or not cover.exists() or cover.stat().st_size > _LARGEST_COVER:
        return None
    return cover if cover.read_bytes().startswith((b"\xff\xd8\xff", b"\x89PNG")) else None


def _check_room(folder: Path, needed: int, what: str) -> None:
    free = free_bytes(folder)
    if free < needed + _RESERVE * (what == "state"):
        raise EnvironmentFault(
            f"{what}-full",
            f"the stems need {needed / 1e6:,.0f} MB in {folder}, {free / 1e6:,.0f} MB are free",
            "free some space; the job then resumes",
        )


# ------------------------------------------------------------------------------------------------ names and manifest


def _items(work: Work, shelf: Shelf, made: _Made) -> list[Item]:
    """The set as it is to appear: stems, for a listener the report, and last the manifest that names them all."""
    stems = list(made.files)
    below, papers = _below(work.job.name), (_QUALITY, _MANIFEST)
    fields = _fields(work) | ({"track": _compared(work)} if shelf.what == "review" else {})
    where = places(work.rule.names, stems, fields, below, longest_name(shelf.folder), papers=papers)
    items = []
    for stem in stems:
        told = made.files[stem]
        items.append(Item(made.folder / told["file"], where[stem], told["sha256"], told["size"]))
    if shelf.what == "review":
        items += [_item(file, _with_extension(where[_QUALITY], file.suffix)) for file in _report(work)]
    place = _with_extension(where[_MANIFEST], ".json")
    file = made.folder / f"{_MANIFEST}-{shelf.what}.json"
    write_json(file, _manifest(work, made, {stem: _relative(where[stem], place) for stem in stems}))
    return [*items, _item(file, place)]


def _item(file: Path, place: Place) -> Item:
    return Item(file, place, digest(file), file.stat().st_size)


def _fields(work: Work) -> dict[str, str]:
    return {
        "track": _track(work.job.name),
        "ext": work.rule.format,
        "model": work.rule.model,
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


def _relative(place: Place, manifest: Place) -> str:
    """A stem's path as seen from the manifest."""
    return os.path.relpath(
        "/".join([*place.folders, *place.unit, place.name]), "/".join([*manifest.folders, *manifest.unit]) or "."
    )


def _report(work: Work) -> list[Path]:
    """What a listener wants beside the stems: the measurements and their picture, where there are any."""
    found = (work.folder / "quality.json", work.folder / "report" / "quality.png")
    return [file for file in found if file.exists()]


def _manifest(work: Work, made: _Made, names: Mapping[str, str]) -> dict[str, Any]:
    separation = read_json(work.folder / "separation.json")
    quality = work.folder / "quality.json"
    files = [
        {"stem": stem, "name": readable(names[stem]), **{key: told[key] for key in ("sha256", "size", "gain")}}
        for stem, told in made.files.items()
    ]
    return manifest(
        work.job, work.rule, made.mix, made.shape, files=files, separation=separation,
        quality=read_json(quality) if quality.exists() else None,
    )  # fmt: skip


def _count(artifacts: tuple[Artifact, ...]) -> str:
    return f"{len(artifacts)} files"


def _shown(artifacts: tuple[Artifact, ...]) -> str:
    return readable(str(Path(os.fsdecode(artifacts[0].path)).parent))
