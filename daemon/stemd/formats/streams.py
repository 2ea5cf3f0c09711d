"""What ffprobe says of a file, or why the file cannot be used. Runs ffprobe; decodes nothing itself."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from stemd.errors import EnvironmentFault, StemdError
from stemd.formats.container import Declared, declared
from stemd.model import Source
from stemd.tools import Limits, run

if TYPE_CHECKING:
    from pathlib import Path
    from threading import Event

_FORMATS: Final = (
    "aac,ac3,aea,aiff,alac,amr,amrnb,amrwb,ape,asf,ast,au,avi,caf,codec2,dsf,dts,dtshd,dv,eac3,flac,flv,g722,gsm,gxf,iff,"
    "ircam,lvf,m4a,matroska,mlp,mov,mp2,mp3,mp4,mpc,mpc8,mpeg,mpegts,mxf,nut,ogg,oma,paf,pvf,rf64,rm,rso,sbc,shn,sln,sox,"
    "spdif,swf,tak,truehd,tta,voc,vqf,w64,wav,webm,wsd,wtv,wv,xa,xwma,3gp,3g2,mj2"
)  # no playlists, no lists of files, no pictures, no text: such a "recording" could name other files to be read
GUARDS: Final = ("-protocol_whitelist", "file,pipe", "-format_whitelist", _FORMATS)
"""Options that stand before each `-i` of a stranger's file."""
SANDBOX: Final = Limits(memory=4 * 1024**3)

_RATES: Final = range(1000, 6_000_001)  # Hz; what is outside is no sound, and may be a trap
_SECONDS: Final = 120.0
_ESTIMATED: Final = "Estimating duration from bitrate"
_LOSSLESS: Final = (
    "pcm_", "flac", "alac", "ape", "wavpack", "tta", "tak", "mlp", "truehd", "shorten", "wmalossless", "dsd",
)  # fmt: skip
_OWN_TAGS: Final = frozenset({
    "encoder", "encoded_by", "major_brand", "minor_version", "compatible_brands", "creation_time", "handler_name",
    "vendor_id", "duration", "itunsmpb", "itunnorm", "language", "id3v2_priv", "encoding settings",
    "metadata_block_picture", "coverart", "waveformatextensible_channel_mask",
})  # fmt: skip
_LONGEST_TAG: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class _Answer:
    format: dict[str, Any]
    streams: list[dict[str, Any]]
    words: str


def inspect(path: Path, name: str, *, stream: int = 0, stop: Event | None = None) -> Source:
    """Tell what a file is and which of its audio streams is to be used.

    name: what the user calls it. stream: among the audio streams, from 0.
    Raises StemdError: "empty-file", "not-audio", "truncated", "damaged", "no-audio", "no-such-stream", "drm",
    "unknown-codec", "timeout"; EnvironmentFault; Stopping.
    """
    if path.stat().st_size == 0:
        raise StemdError("empty-file", f"{name} is empty", "copy it again; the copy may have been cut off")
    answer = _asked(path, name, stop)
    chosen = _chosen(answer, name, stream)
    header = _of_sound(declared(path), answer)
    exact = header.seconds if header else None
    begin = _begin(path, answer, chosen, stop)
    return Source(
        container=str(answer.format.get("format_name", "")),
        codec=str(chosen.get("codec_name", "")),
        sample_rate=int(chosen["sample_rate"]),
        channels=int(chosen["channels"]),
        layout=str(chosen.get("channel_layout", "")),
        duration=exact if exact is not None else _duration(answer, chosen, begin),
        stream=stream,
        lossless=str(chosen.get("codec_name", "")).startswith(_LOSSLESS),
        video=any(_kind(other) == "video" and not _is_cover(other) for other in answer.streams),
        cover=any(_is_cover(other) for other in answer.streams),
        cover_stream=next((int(other["index"]) for other in answer.streams if _is_cover(other)), None),
        tags=_tags(answer.format, chosen),
        cut=_is_cut(header),
        frames=_gapless(answer.format, chosen),
        lead=max(begin - _number(answer.format.get("start_time")), 0.0),
    )


def _of_sound(header: Declared | None, answer: _Answer) -> Declared | None:
    """What a header promises of the sound: where there is a picture, its length may be the picture's."""
    return header if header is None or _is_alone(answer) else replace(header, seconds=None)


def _is_cut(header: Declared | None) -> bool | None:
    """Whether the end is missing; where the header tells by how much, the decoded length decides."""
    return None if header is None or (header.cut and header.seconds is not None) else header.cut


def _asked(path: Path, name: str, stop: Event | None) -> _Answer:
    told, words = _probed(path, stop, "-show_format", "-show_streams")
    if not told.get("streams"):
        raise _unusable(path, name, words)
    return _Answer(told.get("format", {}), told["streams"], words)


def _probed(path: Path, stop: Event | None, *what: str) -> tuple[dict[str, Any], str]:
    """Ask ffprobe; its answer, empty where it has none, and its complaints."""
    argv: tuple[str | Path, ...] = (
        "ffprobe", "-hide_banner", "-v", "warning", *GUARDS, *what, "-of", "json", "-i", path,
    )  # fmt: skip
    done = run(argv, timeout=_SECONDS, stop=stop, limits=SANDBOX)
    try:
        return dict(json.loads(done.stdout.decode("utf-8", "replace") or "{}")), done.stderr_tail
    except ValueError:
        return {}, done.stderr_tail


def _unusable(path: Path, name: str, words: str) -> StemdError:
    """Say why ffprobe makes nothing of a file; raises EnvironmentFault where it was not let near our own copy."""
    if f"{path}: Operation not permitted" in words or f"{path}: Permission denied" in words:
        hint = "loosen the sandbox or the security module's rules for ffprobe (journalctl -k); the job then resumes"
        raise EnvironmentFault("tool-forbidden", f"ffprobe must not read {path}", hint)
    head = path.read_bytes()[:64] if path.stat().st_size < 64 else _head(path)  # noqa: PLR2004 - 64 bytes
    if "moov atom not found" in words:
        return _cut(name, "its index, which stands at its end, is missing")
    header = declared(path)
    if header is not None and header.cut:
        return _cut(name, "its header promises more than it holds")
    if "DRM" in words or "encrypted" in words.lower():
        return _locked(name)
    if not head.strip(b"\0"):
        return StemdError("damaged", f"{name} holds nothing but zeros", "copy it again; the disk may have been full")
    hint = "open it in an audio program and export it as WAV or FLAC, or take it out of the inbox"
    return StemdError("not-audio", f"{name} is not an audio or video file that ffmpeg can read", hint)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(65536)


def _cut(name: str, why: str) -> StemdError:
    return StemdError("truncated", f"{name} is cut off: {why}", "copy or record it again, completely")


def _locked(name: str) -> StemdError:
    return StemdError("drm", f"{name} is copy-protected (DRM)", "use an unprotected copy; stemd cannot open this one")


def _chosen(answer: _Answer, name: str, number: int) -> dict[str, Any]:
    """Pick the audio stream that is to be used."""
    audio = [stream for stream in answer.streams if _kind(stream) == "audio"]
    if not audio:
        what = "a video without sound" if any(_kind(s) == "video" for s in answer.streams) else "a file without sound"
        raise StemdError("no-audio", f"{name} is {what}", "export it with its sound, or take it out of the inbox")
    if number >= len(audio):
        raise StemdError(
            "no-such-stream",
            f"{name} has {len(audio)} audio streams, none with number {number}",
            "mend audio_stream in the rule; the first one is 0",
        )
    stream = audio[number]
    if stream.get("codec_tag_string") in {"drms", "enca", "aavd"} or "encrypted" in answer.words.lower():
        raise _locked(name)
    if stream.get("codec_name", "unknown") in {"unknown", "none"}:
        raise StemdError(
            "unknown-codec", f"{name} uses a sound format that ffmpeg does not know", "export it as WAV or FLAC"
        )
    if int(stream.get("sample_rate") or 0) not in _RATES or not int(stream.get("channels") or 0):
        raise StemdError("damaged", f"{name} holds no readable sound", "copy it again, or export it as WAV or FLAC")
    return stream


def _kind(stream: dict[str, Any]) -> str:
    return str(stream.get("codec_type", ""))


def _is_cover(stream: dict[str, Any]) -> bool:
    return bool(stream.get("disposition", {}).get("attached_pic"))


def _is_alone(answer: _Answer) -> bool:
    return all(_kind(other) == "audio" or _is_cover(other) for other in answer.streams)


def _is_matroska(answer: _Answer) -> bool:
    return "matroska" in str(answer.format.get("format_name", "")).split(",")


def _begin(path: Path, answer: _Answer, stream: dict[str, Any], stop: Event | None) -> float:
    """Tell at which of the file's time stamps a stream begins. For Matroska ffprobe may give the file's own start."""
    if not _is_matroska(answer):
        return _number(stream.get("start_time"))
    what = ("-select_streams", str(stream["index"]), "-read_intervals", "%+#1", "-show_entries", "packet=pts_time")
    packets = _probed(path, stop, *what)[0].get("packets") or [{}]
    return _number(packets[0].get("pts_time"))


def _number(text: str | None) -> float:
    try:
        return float(text or 0.0)
    except ValueError:
        return 0.0


def _duration(answer: _Answer, stream: dict[str, Any], begin: float) -> float | None:
    """Seconds that the container declares for this stream; None where ffmpeg only guesses, or means the picture.

    Matroska and ASF declare none of a stream: ffprobe's is the file's. A tag in Matroska tells when the stream ends,
    unless mkvmerge wrote it, whose statistics tell how long it is.
    """
    if _ESTIMATED in answer.words:
        return None
    tags = {key.lower(): value for key, value in stream.get("tags", {}).items()}
    own = None if _is_matroska(answer) or answer.format.get("format_name") == "asf" else stream.get("duration")
    passed = max(begin, 0.0) if _is_matroska(answer) and "_statistics_writing_app" not in tags else 0.0
    for text in (own, tags.get("duration"), answer.format.get("duration") if _is_alone(answer) else None):
        seconds = _seconds(str(text)) if text else None
        if seconds is not None:
            return seconds - passed if seconds > passed else None
    return None


def _seconds(text: str) -> float | None:
    """Read "12.5" or Matroska's "00:00:12.500000000"."""
    try:
        total = 0.0
        for part in text.split(":"):
            total = total * 60 + float(part)
    except ValueError:
        return None
    return total if math.isfinite(total) and total > 0 else None


def _gapless(form: dict[str, Any], stream: dict[str, Any]) -> int | None:
    """Frames without the encoder's padding at the end, where the container tells and ffmpeg does not cut it itself."""
    if "mp4" not in str(form.get("format_name", "")).split(","):
        return None
    rate = int(stream["sample_rate"])
    tags = {key.lower(): value for key, value in {**stream.get("tags", {}), **form.get("tags", {})}.items()}
    parts = str(tags.get("itunsmpb", "")).split()
    try:
        if len(parts) > 3 and int(parts[3], 16) > 0:  # noqa: PLR2004 - zero, delay, padding, frames
            return int(parts[3], 16)
        base = str(stream.get("time_base", ""))
        return int(stream["duration_ts"]) if base == f"1/{rate}" else None
    except (KeyError, ValueError):
        return None


def _tags(form: dict[str, Any], stream: dict[str, Any]) -> dict[str, str]:
    """Give the tags that a listener knows, names in lower case; those of the file before those of the stream."""
    found = {**stream.get("tags", {}), **form.get("tags", {})}
    tags = {str(key).lower(): str(value) for key, value in found.items()}
    return {
        key: value for key, value in sorted(tags.items()) if _is_for_listeners(key) and 0 < len(value) <= _LONGEST_TAG
    }


def _is_for_listeners(key: str) -> bool:
    return key not in _OWN_TAGS and not key.startswith(("_statistics", "replaygain", "r128_", "id3v2_priv"))
