"""The daemon's side of dubbing: orders a film with the accompaniment, and perhaps a narrator, as its first sound."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from typing import TYPE_CHECKING, Any, Final

from stemd import __version__
from stemd.codec.ask import ask
from stemd.codec.keeping import Files, once
from stemd.codec.making import Made
from stemd.errors import StemdError, WorkerFault
from stemd.formats import GUARDS, SANDBOX, ducking, inspect, resampler
from stemd.formats.film import Film, dub_command, film, safest
from stemd.formats.outgoing import Shape, bitrate, expected_bytes, shape
from stemd.tools import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from threading import Event

    from stemd.files.companions import Copy
    from stemd.model import Mix, Rule, Source
    from stemd.model.rule import Format

VIDEO: Final = "video"
"""What the film is called among the made files, and where a stem has its name."""
TRACKS: Final = ("accompaniment", "original")

_LEAST: Final = 600.0
_SLOWEST: Final = 2.0  # seconds of work per second of film
_REACHED: Final = re.compile(rb"^out_time_us=(\d+)$", re.MULTILINE)
_SLACK: Final = (0.1, 0.001)  # seconds, and part of the whole, that a narration may lack
_NOT_WRITTEN: Final = ("initializing output stream", "Could not write header", "Error opening output")
"""What ffmpeg says of a container that does not take what is to be copied into it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Order:
    """What is to be made. The film depends on nothing else.

    accompaniment: a WAV of float32 like the mix; key: its separation key. source: the film. narration: of it, or None.
    name: what the user calls the film. folder: where it is made and kept; its parent is there.
    """

    rule: Rule
    mix: Mix
    accompaniment: Path
    key: str
    source: Path
    narration: Copy | None
    name: str
    folder: Path


def make(order: Order, *, stop: Event, progress: Callable[[float], None]) -> Made | None:
    """Make the dubbed film, or find it made by an earlier try; None if the recording has no moving picture.

    progress: told the fraction done, 0 to 1. Raises EnvironmentFault("state-full", "tool-missing", ..), Stopping,
    WorkerFault, StemdError("lost-result"), and StemdError for a narration that is no sound or cut off.
    """
    seen = film(order.source, order.mix.source.stream, stop)
    if seen is None:
        return None
    voice = _voice(order, stop)
    try:
        return _once(order, seen, voice, stop, progress)
    except WorkerFault as fault:
        if not any(words in fault.message for words in _NOT_WRITTEN):
            raise
        return _once(order, safest(seen), voice, stop, progress)


def _once(
    order: Order, seen: Film, voice: tuple[Path, Source] | None, stop: Event, progress: Callable[[float], None]
) -> Made:
    made = _shape(order, seen, voice)
    needed = order.source.stat().st_size + 2 * expected_bytes(dataclasses.replace(made, kind="f32le", lossy=False))
    files = once(
        order.folder, _wishes(order, seen, made), needed, lambda: _made(order, seen, made, voice, stop, progress)
    )
    return Made(order.folder, made, files)


def _voice(order: Order, stop: Event) -> tuple[Path, Source] | None:
    """The narration and what it is, none or whole."""
    if order.narration is None:
        return None
    file, name = order.narration.file, f"the narration of {order.name}"
    source = inspect(file, name, stop=stop)
    promised, seconds = source.duration or 0.0, _decoded(file, stop)
    if source.cut or promised - seconds > _SLACK[0] + _SLACK[1] * promised:
        known = f" of {promised:.1f} s" if promised > seconds else ""
        raise StemdError(
            "truncated",
            f"{name} is cut off: {seconds:.1f} s{known} are there",
            "copy or record the narration again, completely, and save it with its film in the inbox again",
        )
    return file, source


def _decoded(file: Path, stop: Event) -> float:
    """Seconds of sound that decoding gives."""
    argv: list[str | Path] = [
        "ffmpeg", "-hide_banner", "-nostdin", "-v", "quiet", *GUARDS, "-i", file, "-map", "0:a:0", "-f", "null",
        "-progress", "pipe:1", "-",
    ]  # fmt: skip
    reached = _REACHED.findall(run(argv, timeout=_LEAST, stop=stop, limits=SANDBOX).stdout)
    return int(reached[-1]) / 1e6 if reached else 0.0


def _shape(order: Order, seen: Film, voice: tuple[Path, Source] | None) -> Shape:
    """The new sound: at the source's rate, from the film's beginning to its sound's end, or to the narrator's."""
    made = shape(_as(order.rule, "flac" if seen.coding == "flac" else "m4a"), order.mix)
    frames = made.frames + _lead(seen, made)
    if voice is not None:
        spoken = min(voice[1].duration or 0.0, seen.seconds)
        frames = max(frames, math.floor(spoken * made.rate))
    return dataclasses.replace(made, frames=frames)


def _as(rule: Rule, kind: Format) -> Rule:
    """A rule that asks for new sound in the film's own terms, whatever the stems are to be."""
    return dataclasses.replace(rule, format=kind, bit_depth=16, sample_rate="source", channels="source")


def _lead(seen: Film, made: Shape) -> int:
    return round(seen.lead * made.rate)


def _wishes(order: Order, seen: Film, made: Shape) -> str:
    """A digest of all that decides about the film's bytes."""
    parts = [
        __version__, order.key, order.accompaniment.name, order.narration.sha256 if order.narration else "",
        dataclasses.astuple(made), dataclasses.astuple(seen), order.rule.bitrate, order.rule.clip, ducking.DUCKING,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _made(
    order: Order, seen: Film, made: Shape, voice: tuple[Path, Source] | None, stop: Event,
    progress: Callable[[float], None],
) -> Files:  # fmt: skip
    if not order.accompaniment.exists():
        raise StemdError(
            "lost-result", f"the kept stem {order.accompaniment} is gone", "separate again: stemd retry JOB"
        )
    target = order.folder / f"{VIDEO}.{seen.container}"
    lead = _lead(seen, made)
    bed = ducking.bed_command(order.accompaniment, order.mix, made, lead, resampler(), voice)
    asked = {
        "name": VIDEO, "source": str(order.accompaniment), "target": str(target), "resample": bed,
        "encode": dub_command(seen, order.source, made, bitrate(_as(order.rule, "m4a"), made), target),
    }  # fmt: skip
    question: dict[str, Any] = {
        "do": "encode", "stems": [asked], "rate": made.rate, "channels": made.channels, "frames": made.frames,
        "kind": made.kind, "lossy": made.lossy, "clip": order.rule.clip, "name": order.name,
    }  # fmt: skip
    timeout = _LEAST + _SLOWEST * max(seen.seconds, order.mix.seconds)
    told = ask(question, timeout=timeout, stop=stop, progress=progress)["files"][VIDEO]
    tracks = [f"{TRACKS[0]} and narration" if voice else TRACKS[0], TRACKS[1]]
    return {VIDEO: {**told, "file": target.name, "tracks": tracks}}
