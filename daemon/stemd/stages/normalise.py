"""NORMALISE: finds out what the source is, refuses what holds no sound, and decodes the rest to mix.wav."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, Final

from stemd.codec.ask import ask
from stemd.errors import EnvironmentFault, StemdError
from stemd.files import drop_tree, faults_in, free_bytes, sync_folder, write_fact
from stemd.formats import GUARDS, SANDBOX, gains, inspect, pan, resampler
from stemd.model import Finished, Mix
from stemd.model.sound import LOUDEST
from stemd.tools import run as run_tool

if TYPE_CHECKING:
    from pathlib import Path

    from stemd.model import ModelCard, Outcome, Source
    from stemd.stages.work import Work

MIX: Final = "mix.wav"
FACT: Final = "mix.json"

_RESERVE: Final = 256 * 1024**2  # bytes that stay free on the state folder's disk
_SLOWEST: Final = 1.0  # seconds of work per second of sound, on the slowest machine under load
_LEAST: Final = 300.0  # seconds that any file is given
_THINNEST: Final = 1000.0  # bytes a second of sound in a file whose length nobody tells
_SLACK: Final = {
    True: (0.02, 0.0),
    False: (0.1, 0.001),
}  # lossless?: seconds, and part of the whole, that may be missing
_PACKET: Final = 4096  # frames; ffmpeg writes a length of whole ones for ALAC in CAF
_ENDLESS: Final = 24 * 3600.0  # seconds of sound in a file that declares none or less than half of it
_COUNT: Final = "astats=measure_perchannel=none:measure_overall=Number_of_samples"
_CLEANED: Final = (
    f"aeval='if(lte(abs(val(ch)),{LOUDEST:.0f}),val(ch),0/0)':c=same",
    "astats=measure_perchannel=none:measure_overall=Number_of_NaNs",
    "aeval='if(isnan(val(ch)),0,val(ch))':c=same",
)
"""What is no sound becomes no number, is counted, and becomes silence, before a resampler spreads it. It takes three
times as long as decoding does."""
_FILL: Final = "aresample=async=1:min_hard_comp=0.015"
"""Silence where time stamps leave a gap, so that what follows stays beside its picture. A lost packet is 20 ms."""
_HOLE: Final = (1.0, 0.02)  # seconds, or part of the whole, that may be unreadable in the middle
_UNSOUND: Final = 0.01  # part of the samples that may be no sound
_OTHER_SCALE: Final = 1000.0
"""Deviation that no float recording has, but one of whole numbers that were written as they are."""


def run(work: Work) -> Outcome:
    """Decode the source to float32 at the model's rate and channels, and leave what is known of it in mix.json.

    Raises StemdError for what the file is guilty of: the codes of `formats.inspect`, and "no-audio", "truncated",
    "damaged", "too-long". EnvironmentFault, Stopping.
    """
    card = work.children.describe(work.rule.model)
    name = work.job.name.decode("utf-8", "replace")
    file = work.source
    source = inspect(file, name, stream=work.rule.audio_stream, stop=work.stop)
    _check_room(work.folder, source, card, name)
    part = work.folder / f".{MIX}.part"
    with faults_in("state", work.folder):
        drop_tree(part)
    try:
        done = _decoded(work, part, source, card, cleaned=False)
        if done["invalid"] and source.sample_rate != card.sample_rate:
            with faults_in("state", work.folder):
                drop_tree(part)
            done = _decoded(work, part, source, card, cleaned=True)
        mix = _judged(work, file, source, card, done)
        with faults_in("state", work.folder):
            part.replace(work.folder / MIX)
            sync_folder(work.folder)
    finally:
        with contextlib.suppress(OSError):
            drop_tree(part)
    write_fact(work.folder / FACT, mix)
    return Finished(note=_note(mix), seconds=mix.seconds)


def _decoded(work: Work, part: Path, source: Source, card: ModelCard, *, cleaned: bool) -> dict[str, Any]:
    """Decode to `part`; what `codec.decode` says of it."""
    return ask(
        _question(work, part, source, card, cleaned=cleaned),
        timeout=_timeout(work.source, source),
        stop=work.stop,
        progress=lambda fraction: work.progress(fraction, {}),
    )


def command(file: Path, source: Source, rate: int, channels: int, quality: str, *, cleaned: bool = False) -> list[str]:
    """Build the ffmpeg command that writes one stream's samples to standard output, raw float32.

    quality: of a resampler, as `formats.resampler` gives it. cleaned: whether samples that are no sound are silenced
    first.
    """
    filters = ["aformat=sample_fmts=fltp", *(_CLEANED if cleaned else ())]
    mix = gains(source.layout, source.channels, channels)
    if mix is not None:
        filters.append(pan(mix))
    resampled = source.sample_rate != rate
    if source.video or resampled:
        filters += [f"aresample={source.sample_rate}:{quality}", _COUNT]  # what is chained may have rates of its own
    if source.video:
        filters += [_FILL, _COUNT] if resampled else [_FILL]
    if resampled:
        filters.append(f"aresample={rate}:{quality}")
    return [
        "ffmpeg", "-hide_banner", "-nostdin", "-nostats", "-progress", "pipe:2", "-v", "repeat+level+info",
        "-threads", "1", *GUARDS, "-i", str(file),
        "-map", f"0:a:{source.stream}", "-map_metadata", "-1", "-af", ",".join(filters),
        "-ar", str(rate), "-ac", str(channels), "-f", "f32le", "pipe:1",
    ]  # fmt: skip


def _question(work: Work, part: Path, source: Source, card: ModelCard, *, cleaned: bool) -> dict[str, Any]:
    longest = max(_ENDLESS, 2 * (source.duration or 0.0))
    return {
        "do": "decode",
        "argv": command(work.source, source, card.sample_rate, card.channels, resampler(), cleaned=cleaned),
        "out": str(part),
        "rate": card.sample_rate,
        "channels": card.channels,
        "source_rate": source.sample_rate,
        "source_channels": source.channels,
        "resampled": source.sample_rate != card.sample_rate,
        "frames": source.frames,
        "expected": int((source.duration or 0) * card.sample_rate),
        "reserve": _RESERVE // 2,
        "longest": int(longest * card.sample_rate),
        "name": work.job.name.decode("utf-8", "replace"),
    }


def _timeout(file: Path, source: Source) -> float:
    """Seconds after which decoding counts as hung even though it says something."""
    longest = source.duration or file.stat().st_size / _THINNEST
    return _LEAST + longest * _SLOWEST


def _check_room(folder: Path, source: Source, card: ModelCard, name: str) -> None:
    """Refuse what the disk can never hold, and wait for room for the rest, before anything is written."""
    needed = int((source.duration or 0) * card.sample_rate * card.channels * 4) + _RESERVE
    with faults_in("state", folder):
        free, total = free_bytes(folder), _size(folder)
    if needed > total:
        hours = (source.duration or 0) / 3600
        raise StemdError(
            "too-long",
            f"{name} claims to be {hours:,.1f} hours long, which no disk here can hold",
            "check the file; cut it into parts if it is right",
        )
    if needed > free:
        raise EnvironmentFault(
            "state-full",
            f"{name} needs {needed / 1e9:.1f} GB in {folder}, {free / 1e9:.1f} GB are free",
            "free some space on the state folder's disk; the job then resumes",
        )


def _size(folder: Path) -> int:
    state = os.statvfs(folder)
    return state.f_blocks * state.f_frsize


def _judged(work: Work, file: Path, source: Source, card: ModelCard, done: dict[str, Any]) -> Mix:
    """Compare what was decoded with what was promised; raise if it cannot stand for the recording."""
    name = work.job.name.decode("utf-8", "replace")
    if not done["frames"]:
        raise _nothing(name, source, done)
    if source.cut:
        raise _cut(name, done["source_frames"] / source.sample_rate, source.duration)
    damage = _damage(work, file, source, done, max(source.channels, card.channels))
    figures = {key: done[key] for key in ("frames", "mean", "deviation", "peak", "source_frames", "digest")}
    return Mix(sample_rate=card.sample_rate, channels=card.channels, source=source, damage=damage, **figures)


def _nothing(name: str, source: Source, done: dict[str, Any]) -> StemdError:
    """Say why not one frame came out."""
    if done["status"] != 0 and not source.cut:
        hint = "copy it again, or export it as WAV or FLAC"
        return StemdError("damaged", f"{name} cannot be decoded: {done['words']}", hint)
    if source.cut or (source.duration or 0) > 0:
        return _cut(name, 0.0, source.duration)
    return StemdError("no-audio", f"{name} holds an audio track without any sound in it", "export it again")


def _damage(work: Work, file: Path, source: Source, done: dict[str, Any], channels: int) -> str:
    """Tell what could not be decoded; raise if the end is missing or the hole is too large.

    channels: those in which samples were counted that were no sound, or more.
    """
    name = work.job.name.decode("utf-8", "replace")
    gap, promised = done["filled"] / source.sample_rate, source.duration or 0.0
    seconds = done["source_frames"] / source.sample_rate - gap
    missing = max(promised - seconds, gap)
    slack = _slack(source, promised)
    if missing > slack:
        arrived = source.cut is False or done["reached"] >= source.lead + promised - slack
        if not arrived and not _end_is_there(work, file, source, missing):
            raise _cut(name, seconds, promised)
        damage = f"{missing:.2f} s of {promised or seconds + gap:.1f} s could not be decoded"
        if promised - seconds > max(_HOLE[0], _HOLE[1] * promised):
            raise StemdError("damaged", f"{name} is damaged: {damage}", "copy it again, or export it as WAV or FLAC")
        return f"{damage} and are silent now" if gap else damage
    if done["invalid"]:
        unsound = f"{done['invalid']} samples were no sound (no numbers, or far too loud)"
        if done["invalid"] > _UNSOUND * done["source_frames"] * channels or done["deviation"] > _OTHER_SCALE:
            raise StemdError("damaged", f"{name} is damaged: {unsound}", "export it as FLAC, or with 1 as full scale")
        return f"{unsound} and are silent now"
    return f"the decoder met damage {done['holes']} times" if done["holes"] else ""


def _slack(source: Source, promised: float) -> float:
    """Seconds that may be missing without a word."""
    seconds, part = _SLACK[source.lossless]
    packet = _PACKET / source.sample_rate if (source.container, source.codec) == ("caf", "alac") else 0.0
    return seconds + part * promised + packet


def _cut(name: str, seconds: float, promised: float | None) -> StemdError:
    known = promised is not None and promised > seconds + 0.1
    there = f"{seconds:.2f} s are there" + (f" of the {promised:.2f} s that it declares" if known else "")
    return StemdError("truncated", f"{name} is cut off: {there}", "copy or record it again, completely")


def _end_is_there(work: Work, file: Path, source: Source, missing: float) -> bool:
    """Whether the last second can be decoded, where time stamps do not tell: `missing` seconds lack before it then."""
    promised = source.duration or 0.0
    start = source.lead + max(promised - 1.0, 0.0)
    argv = [
        "ffmpeg", "-hide_banner", "-nostdin", "-v", "error", *GUARDS, "-ss", f"{start:.3f}", "-i", str(file),
        "-map", f"0:a:{source.stream}", "-ac", "1", "-ar", "8000", "-f", "s16le", "pipe:1",
    ]  # fmt: skip
    done = run_tool(argv, timeout=_LEAST, stop=work.stop, limits=SANDBOX)
    heard = len(done.stdout) / (2 * 8000)
    return heard >= min(promised, 1.0) - min(missing, 1.0) / 2


def _note(mix: Mix) -> str:
    minutes, seconds = divmod(round(mix.seconds), 60)
    source = mix.source
    kind = f"{source.codec}, {source.channels} channels, {source.sample_rate / 1000:g} kHz, {minutes}:{seconds:02d}"
    return f"{kind}; {mix.damage}" if mix.damage else kind
