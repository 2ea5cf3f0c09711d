"""What of a film goes into its dubbed copy, and the ffmpeg command that makes it. Runs ffprobe, which decodes a moment.

Picture, subtitles, chapters and attachments are copied untouched. The first sound track is new, the second the
original; it is copied too, but for Opus in Matroska, which ffmpeg 5.1 moves by its 6.5 ms of pre-skip with every copy.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from stemd.formats.streams import GUARDS, SANDBOX
from stemd.tools import run

if TYPE_CHECKING:
    from pathlib import Path
    from threading import Event

    from stemd.formats.outgoing import Shape

Container: TypeAlias = Literal["mp4", "mov", "mkv", "webm"]

_PICTURES: Final[dict[str, frozenset[str]]] = {
    "mp4": frozenset({"h264", "hevc", "av1", "vp9", "mpeg4", "mpeg2video", "mpeg1video", "mjpeg"}),
    "webm": frozenset({"vp8", "vp9", "av1"}),
}
_SOUNDS: Final[dict[str, frozenset[str]]] = {
    "mp4": frozenset({"aac", "mp3", "mp2", "mp1", "ac3", "eac3", "alac", "dts", "opus", "flac"}),
    "webm": frozenset({"vorbis", "opus"}),
}
_SUBTITLES: Final[dict[str, frozenset[str]]] = {
    "mp4": frozenset({"mov_text"}),
    "mov": frozenset({"mov_text"}),
    "mkv": frozenset({"subrip", "ass", "ssa", "webvtt", "dvd_subtitle", "dvb_subtitle", "hdmv_pgs_subtitle", "text"}),
    "webm": frozenset({"webvtt"}),
}
"""What ffmpeg's writers of each container take; one that is not named takes everything that it was seen in."""
_MUXERS: Final = {"mp4": "mp4", "mov": "mov", "mkv": "matroska", "webm": "webm"}
_FIRST_PACKETS: Final = 20  # some of them may be an encoder's run-up, which gives no sound
_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True)
class Film:
    """A film's parts by their indices among all streams.

    container: of the dubbed copy. lead: seconds from the film's beginning to its first sample of sound. seconds: its
    length. pictures, subtitles: to be copied. sound: the original. copied: whether that goes in as it is.
    """

    container: Container
    lead: float
    seconds: float
    pictures: tuple[int, ...]
    sound: int
    copied: bool
    subtitles: tuple[int, ...]
    attachments: bool

    @property
    def coding(self) -> Literal["aac", "flac", "libvorbis"]:
        """The encoder of new sound: one that this container keeps in step to the sample."""
        return {"mkv": "flac", "webm": "libvorbis"}.get(self.container, "aac")  # type: ignore[return-value]


def film(path: Path, stream: int, stop: Event | None = None) -> Film | None:
    """Look into a file; None if it has no moving picture. stream: the sound's number among the audio streams.

    Raises EnvironmentFault, WorkerFault("timeout"), Stopping.
    """
    told = _asked(path, stop, "-show_format", "-show_streams")
    streams = told.get("streams", [])
    pictures = [each for each in _of(streams, "video") if not each.get("disposition", {}).get("attached_pic")]
    sounds = _of(streams, "audio")
    if not pictures or stream >= len(sounds):
        return None
    sound = sounds[stream]
    container = _container(path, told["format"], [each["codec_name"] for each in pictures], sound["codec_name"])
    subtitles = [each for each in _of(streams, "subtitle") if each.get("codec_name") in _SUBTITLES[container]]
    return Film(
        container=container,
        lead=_lead(path, told["format"], int(sound["index"]), stop),
        seconds=float(told["format"].get("duration") or 0.0),
        pictures=tuple(int(each["index"]) for each in pictures),
        sound=int(sound["index"]),
        copied=sound["codec_name"] != "opus" or container not in {"mkv", "webm"},
        subtitles=tuple(int(each["index"]) for each in subtitles),
        attachments=container == "mkv" and bool(_of(streams, "attachment")),
    )


def safest(seen: Film) -> Film:
    """Give the form in which a film can be written whatever its sound and subtitles are."""
    return replace(seen, container="mkv", copied=False, subtitles=(), attachments=False)


def dub_command(seen: Film, source: Path, made: Shape, bitrate: str, target: Path) -> list[str]:
    """Build the command that reads raw samples from standard input and writes the film with them as its first sound."""
    copied = [word for index in (*seen.pictures,) for word in ("-map", f"0:{index}")]
    beside = [word for index in seen.subtitles for word in ("-map", f"0:{index}")]
    attached = ["-map", "0:t"] if seen.attachments else []
    quality = {"aac": ["-b:a:0", bitrate], "libvorbis": ["-q:a:0", "8"], "flac": []}[seen.coding]
    anew = ["-c:a:1", seen.coding, *(["-q:a:1", "8"] if seen.coding == "libvorbis" else [])]
    original = [] if seen.copied else anew
    named = "handler_name" if seen.container in {"mp4", "mov"} else "title"
    return [
        "ffmpeg", "-hide_banner", "-nostdin", "-nostats", "-v", "repeat+level+error", "-threads", "1", "-y",
        "-fflags", "+genpts", *GUARDS, "-i", str(source),
        "-f", made.kind, "-ar", str(made.rate), "-ac", str(made.channels), "-i", "pipe:0",
        *copied, "-map", "1:a", "-map", f"0:{seen.sound}", *beside, *attached, "-map_metadata", "0",
        "-map_chapters", "0", "-c", "copy", "-c:a:0", seen.coding, *quality, *original,
        "-disposition:a:0", "default", "-disposition:a:1", "0",
        "-metadata:s:a:0", f"{named}=Accompaniment", "-metadata:s:a:1", f"{named}=Original",
        "-max_muxing_queue_size", "4096", "-strict", "-2", "-f", _MUXERS[seen.container], str(target),
    ]  # fmt: skip


def _asked(path: Path, stop: Event | None, *what: str) -> dict[str, Any]:
    argv: tuple[str | Path, ...] = ("ffprobe", "-hide_banner", "-v", "error", *GUARDS, *what, "-of", "json", "-i", path)
    done = run(argv, timeout=_SECONDS, stop=stop, limits=SANDBOX)
    try:
        return dict(json.loads(done.stdout.decode("utf-8", "replace") or "{}"))
    except ValueError:
        return {}


def _of(streams: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [each for each in streams if each.get("codec_type") == kind]


def _container(path: Path, form: dict[str, Any], pictures: list[str], sound: str) -> Container:
    """The container that it came in, if ffmpeg can write all of this into it; else Matroska, which holds nearly all."""
    names = str(form.get("format_name", "")).split(",")
    brand = str(form.get("tags", {}).get("major_brand", "")).strip()
    own: Container = "mkv"
    if "mp4" in names:
        own = "mov" if brand in {"qt", ""} else "mp4"
    elif "webm" in names and _doctype(path) == "webm":
        own = "webm"
    fits = set(pictures) <= _PICTURES.get(own, {*pictures}) and sound in _SOUNDS.get(own, {sound})
    return own if fits else "mkv"


def _doctype(path: Path) -> str:
    """Whether a Matroska file calls itself WebM, which its head says (RFC 8794, section 11.2.6)."""
    with path.open("rb") as file:
        return "webm" if b"webm" in file.read(64) else "matroska"


def _lead(path: Path, form: dict[str, Any], sound: int, stop: Event | None) -> float:
    """Seconds from the film's beginning to the first sample that decoding its sound gives."""
    what = ("-select_streams", str(sound), "-read_intervals", f"%+#{_FIRST_PACKETS}")
    frames = _asked(path, stop, *what, "-show_entries", "frame=best_effort_timestamp_time").get("frames", [])
    times = [each["best_effort_timestamp_time"] for each in frames if "best_effort_timestamp_time" in each]
    if not times or times[0] == "N/A":
        return 0.0
    return max(float(times[0]) - float(form.get("start_time") or 0.0), 0.0)
