"""The daemon's side of encoding: orders a set of files from `stemd.codec` and keeps it until it is published."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

from stemd import __version__
from stemd.codec.ask import ask
from stemd.codec.keeping import once
from stemd.errors import StemdError
from stemd.files import faults_in
from stemd.formats import GUARDS, SANDBOX, resampler, stem_file
from stemd.formats.outgoing import Shape, encode_command, expected_bytes, metadata, resample_command, shape
from stemd.tools import run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from threading import Event

    from stemd.model import Mix, Rule

_LARGEST_COVER: Final = 16 * 1024**2  # bytes; a FLAC picture block ends there
_LEAST: Final = 300.0
_SLOWEST: Final = 2.0  # seconds of work per second of sound and stem


@dataclasses.dataclass(frozen=True, slots=True)
class Order:
    """What is to be made. The files depend on nothing else.

    stems: name to file, a WAV of float32 like the mix; for a STEM file the mix among them. key: separation key.
    source: the recording, for its cover. title: of the recording if it names none. folder: where the set is made and
    kept; its parent is there.
    """

    rule: Rule
    mix: Mix
    stems: Mapping[str, Path]
    key: str
    source: Path
    title: str
    folder: Path


@dataclasses.dataclass(frozen=True, slots=True)
class Made:
    """An encoded set on a local disk.

    files: stem to file (a name), sha256, size in bytes, peak and gain (linear). A STEM file is one, with its tracks.
    """

    folder: Path
    shape: Shape
    files: Mapping[str, Mapping[str, Any]]


def make(order: Order, *, stop: Event, progress: Callable[[float], None]) -> Made:
    """Encode the stems, or find them encoded by an earlier try with the same order.

    progress: told the fraction done, 0 to 1. Raises EnvironmentFault("state-full", "tool-missing", ..), Stopping,
    WorkerFault, StemdError("lost-result").
    """
    made = shape(order.rule, order.mix)
    files = once(
        order.folder, _wishes(order, made), _needed(order, made), lambda: _encoded(order, made, stop, progress)
    )
    return Made(order.folder, made, files)


def _wishes(order: Order, made: Shape) -> str:
    """A digest of all that decides about the files' bytes."""
    rule = order.rule
    parts = [
        __version__, order.key, sorted(order.stems), order.title, sorted(order.mix.source.tags.items()),
        dataclasses.astuple(made), rule.format, rule.bit_depth, rule.bitrate, rule.mp3_quality, rule.clip,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _needed(order: Order, made: Shape) -> int:
    mix = order.mix
    resampled = (made.rate, made.channels, made.frames) != (mix.sample_rate, mix.channels, mix.frames)
    samples = made.frames * made.channels * 4 if resampled else 0
    copies = 2 if order.rule.format == stem_file.FORMAT else 1
    return len(order.stems) * (copies * expected_bytes(made) + samples)


def _encoded(order: Order, made: Shape, stop: Event, progress: Callable[[float], None]) -> dict[str, dict[str, Any]]:
    cover = _cover(order, stop)
    question = {
        "do": "encode", "stems": [_asked(order, made, stem, cover) for stem in order.stems], "rate": made.rate,
        "channels": made.channels, "frames": made.frames, "kind": made.kind, "lossy": made.lossy,
        "clip": order.rule.clip, "name": order.title,
    }  # fmt: skip
    timeout = _LEAST + _SLOWEST * order.mix.seconds * len(order.stems)
    files = dict(ask(question, timeout=timeout, stop=stop, progress=progress)["files"])
    if order.rule.format == stem_file.FORMAT:
        return {stem_file.NAME: _bound(order, files[stem_file.MIX], timeout, stop)}
    return {stem: {**files[stem], "file": _target(order, stem).name} for stem in order.stems}


def _bound(order: Order, mix: Mapping[str, Any], timeout: float, stop: Event) -> dict[str, Any]:
    """Have the encoded tracks put into one file, and drop them."""
    parts = [_target(order, track) for track in stem_file.TRACKS]
    target = order.folder / f"{stem_file.NAME}.{stem_file.FORMAT}"
    question = {
        "do": "bind", "argv": stem_file.bind_command(parts, target), "target": str(target),
        "atom": stem_file.metadata().decode(), "name": order.title,
    }  # fmt: skip
    told = ask(question, timeout=timeout, stop=stop, progress=lambda _: None)
    for part in parts:
        part.unlink()
    return {**told, "peak": mix["peak"], "gain": mix["gain"], "file": target.name, "tracks": list(stem_file.TRACKS)}


def _target(order: Order, stem: str) -> Path:
    return order.folder / f"{stem}.{order.rule.format}"


def _asked(order: Order, made: Shape, stem: str, cover: Path | None) -> dict[str, Any]:
    """The part of the question that is about one stem."""
    source, target = order.stems[stem], _target(order, stem)
    if not source.exists():
        raise StemdError("lost-result", f"the kept stem {source} is gone", "separate again: stemd retry JOB")
    tags = order.folder / f"{stem}.tags"
    known = order.mix.source.tags
    title = known.get("title") or order.title
    title = title if stem == stem_file.MIX else f"{title} ({stem})"
    text = metadata(order.rule, known, title, cover.read_bytes() if cover else None)
    with faults_in("state", order.folder.parent):
        tags.write_text(text, encoding="utf-8", errors="replace")
    return {
        "name": stem,
        "source": str(source),
        "target": str(target),
        "resample": resample_command(source, made, order.mix, resampler()),
        "encode": encode_command(order.rule, made, target, tags, cover),
    }


def _cover(order: Order, stop: Event) -> Path | None:
    """Take the cover out of the source, undecoded; none is no fault, nor is one that nobody can read."""
    index = order.mix.source.cover_stream
    if index is None:
        return None
    cover = order.folder / "cover"
    argv: list[str | Path] = [
        "ffmpeg", "-hide_banner", "-nostdin", "-v", "error", "-y", *GUARDS, "-i", order.source,
        "-map", f"0:{index}", "-c", "copy", "-frames:v", "1", "-f", "image2", "-update", "1", cover,
    ]  # fmt: skip
    done = run(argv, timeout=_LEAST, stop=stop, limits=SANDBOX)
    if done.returncode != 0 or not cover.exists() or cover.stat().st_size > _LARGEST_COVER:
        return None
    pictured = cover.read_bytes().startswith((b"\xff\xd8\xff", b"\x89PNG")) and _has_size(cover, stop)
    return cover if pictured else None


def _has_size(picture: Path, stop: Event) -> bool:
    """Whether ffmpeg finds width and height in a picture, without which it writes it into no file."""
    show = ("-show_entries", "stream=width,height", "-of", "default=noprint_wrappers=1:nokey=1")
    done = run(("ffprobe", "-v", "error", *show, "-i", picture), timeout=_LEAST, stop=stop, limits=SANDBOX)
    sizes = done.stdout.split()
    return len(sizes) == 2 and b"0" not in sizes  # noqa: PLR2004 - width and height
