"""What each delivery format can hold, and the ffmpeg commands that make it. Pure."""

from __future__ import annotations

import base64
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stemd.formats import stem_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from stemd.model import Mix, Rule

_RATES: Final = {
    "mp3": (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
    "m4a": (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000),
    "opus": (8000, 12000, 16000, 24000, 48000),
}
_FLAC_TENS: Final = 65_535  # Hz, from where on a FLAC frame's 16 bits hold tens of Hz; ten times this is its end
_MOST_BITRATE: Final = {"mp3": 320, "m4a": 512, "opus": 510}
_MOST_PER_CHANNEL: Final = {"mp3": 320, "m4a": 256, "opus": 255}
_HALVED_BELOW: Final = 32000  # Hz: MPEG-2 layer III ends at 160 kbit/s
_MUXERS: Final = {"wav": "wav", "flac": "flac", "mp3": "mp3", "m4a": "ipod", "opus": "opus"}
_WITH_COVER: Final = frozenset({"flac", "mp3", "m4a"})


@dataclass(frozen=True, slots=True)
class Shape:
    """What the delivered files are: Hz, channels, frames per channel, and the samples that the encoder is fed."""

    rate: int
    channels: int
    frames: int
    kind: str
    lossy: bool


def shape(rule: Rule, mix: Mix) -> Shape:
    """Work out what a rule asks for with this recording.

    A rate that its format lacks becomes the next higher one; one beyond FLAC's end is halved.
    """
    asked = mix.source.sample_rate if rule.sample_rate == "source" else rule.sample_rate
    rate = _flac_rate(asked) if rule.format == "flac" else _nearest(asked, _RATES.get(_coding(rule)))
    source_frames = mix.source_frames or round(mix.frames * mix.source.sample_rate / mix.sample_rate)
    frames = round(source_frames * rate / mix.source.sample_rate)
    channels = min(mix.source.channels, 2) if rule.channels == "source" else rule.channels
    if rule.format == stem_file.FORMAT:
        channels = 2
    lossy = rule.format not in {"wav", "flac"}
    return Shape(rate, channels, frames, _kind(rule), lossy)


def resample_command(stem: Path, made: Shape, mix: Mix, resampler: str) -> list[str] | None:
    """Build the command that brings a stem to its shape; None if it has it. resampler: `formats.resampler`'s answer."""
    if (made.rate, made.channels, made.frames) == (mix.sample_rate, mix.channels, mix.frames):
        return None
    filters = ["aformat=sample_fmts=fltp"]
    if made.channels < mix.channels:
        filters.append("pan=mono|c0=0.5*c0+0.5*c1")
    elif made.channels > mix.channels:
        filters.append("pan=stereo|c0=c0|c1=c0")
    if made.rate != mix.sample_rate:
        filters.append(f"aresample={made.rate}:{resampler}")
    return [
        "ffmpeg", "-hide_banner", "-nostdin", "-nostats", "-v", "repeat+level+error", "-threads", "1", "-i", str(stem),
        "-map", "0:a:0", "-af", ",".join(filters), "-ar", str(made.rate), "-ac", str(made.channels),
        "-f", "f32le", "pipe:1",
    ]  # fmt: skip


def encode_command(rule: Rule, made: Shape, target: Path, tags: Path, cover: Path | None) -> list[str]:
    """Build the command that reads raw samples from standard input and writes the file, with tags and cover."""
    picture = cover is not None and _coding(rule) in _WITH_COVER
    inputs = ["-f", made.kind, "-ar", str(made.rate), "-ac", str(made.channels), "-i", "pipe:0"]
    inputs += ["-f", "ffmetadata", "-i", str(tags)]
    maps = ["-map", "0:a", "-map_metadata", "1"]
    if picture:
        inputs += ["-i", str(cover)]
        maps += ["-map", "2:v:0", "-c:v", "copy", "-disposition:v:0", "attached_pic"]
        maps += ["-metadata:s:v:0", "title=Album cover", "-metadata:s:v:0", "comment=Cover (front)"]
    return [
        "ffmpeg", "-hide_banner", "-nostdin", "-nostats", "-v", "repeat+level+error", "-threads", "1", "-y",
        *inputs, *maps, *_encoder(rule, made), "-f", _MUXERS[_coding(rule)], str(target),
    ]  # fmt: skip


def metadata(rule: Rule, tags: Mapping[str, str], title: str, cover: bytes | None) -> str:
    """Write tags as ffmpeg's metadata file; Opus takes its cover as a tag too (RFC 7845, section 5.2)."""
    wanted = dict(tags) | {"title": title}
    if rule.format == "opus" and cover:
        wanted["METADATA_BLOCK_PICTURE"] = base64.b64encode(_picture_block(cover)).decode()
    lines = [f"{_escaped(key)}={_ended(_escaped(value))}" for key, value in wanted.items() if key and "\0" not in value]
    return "\n".join([";FFMETADATA1", *lines, ""])


def expected_bytes(made: Shape) -> int:
    """How large one stem may become at most, roughly upward."""
    if made.lossy:
        return int(made.frames / made.rate * 512_000 / 8) + 1_000_000
    return made.frames * made.channels * {"s16le": 2, "s32le": 3}.get(made.kind, 4) + 1_000_000


def _coding(rule: Rule) -> str:
    """The format of each track: a STEM file holds five of m4a."""
    return "m4a" if rule.format == stem_file.FORMAT else rule.format


def _nearest(rate: int, known: tuple[int, ...] | None) -> int:
    if known is None:
        return rate
    return next((each for each in known if each >= rate), known[-1])


def _flac_rate(rate: int) -> int:
    """Give the rate for FLAC, Hz: whole tens from _FLAC_TENS on (RFC 9639, section 9.1.2), halved beyond its end."""
    while rate > 10 * (_FLAC_TENS - 1):
        rate //= 2
    return rate if rate < _FLAC_TENS else -(-rate // 10) * 10


def _kind(rule: Rule) -> str:
    if rule.format not in {"wav", "flac"} or (rule.format == "wav" and rule.bit_depth == "float32"):
        return "f32le"
    return "s16le" if rule.bit_depth == 16 else "s32le"  # noqa: PLR2004 - flac has no float: 24 bits


def _encoder(rule: Rule, made: Shape) -> list[str]:
    match _coding(rule):
        case "wav":
            codec = {"s16le": "pcm_s16le", "s32le": "pcm_s24le"}.get(made.kind, "pcm_f32le")
            return ["-c:a", codec, "-rf64", "auto"]
        case "flac":
            wide = ["-sample_fmt", "s32", "-bits_per_raw_sample", "24"] if made.kind == "s32le" else []
            return ["-c:a", "flac", "-compression_level", "5", *wide]
        case "mp3":
            quality = ["-q:a", str(rule.mp3_quality)] if rule.mp3_quality is not None else ["-b:a", bitrate(rule, made)]
            return ["-c:a", "libmp3lame", *quality, "-id3v2_version", "3", "-write_xing", "1"]
        case "m4a":
            return ["-c:a", "aac", "-b:a", bitrate(rule, made), "-movflags", "+faststart"]
        case "opus":
            return ["-c:a", "libopus", "-b:a", bitrate(rule, made), "-application", "audio"]
        case unknown:
            raise ValueError(f"no encoder for {unknown}")


def bitrate(rule: Rule, made: Shape) -> str:
    """Give the rule's bitrate, or the highest that the format has for these channels and this rate."""
    coding = _coding(rule)
    most = min(_MOST_BITRATE[coding], _MOST_PER_CHANNEL[coding] * made.channels)
    if coding == "mp3" and made.rate < _HALVED_BELOW:
        most = 160
    return f"{min(rule.bitrate, most)}k"


def _escaped(text: str) -> str:
    for special in ("\\", "=", ";", "#", "\n", "\r"):
        text = text.replace(special, "\\" + special)
    return text


def _ended(value: str) -> str:
    """Keep a last backslash, escaped or not, from the line's end: ffmpeg would read the next tag as the value's."""
    return f"{value} " if value.endswith("\\") else value


def _picture_block(cover: bytes) -> bytes:
    """A FLAC picture block: front cover, sizes left to the reader. https://xiph.org/flac/format.html."""
    mime = b"image/png" if cover.startswith(b"\x89PNG") else b"image/jpeg"
    head = struct.pack(">II", 3, len(mime)) + mime + struct.pack(">I", 0)
    return head + struct.pack(">IIIII", 0, 0, 24, 0, len(cover)) + cover
