"""Encoding: stems become files of a format, at one level, and are measured on the way. Knows no rule and no job.

Twice over the samples: first for the peaks, resampling on the way where asked, because one gain for all stems needs
them all; then through gain, rounding and ffmpeg's encoder.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np  # noqa: TID251 - this process is a child; the daemon stays without numpy

from stemd.codec.pipe import BLOCK, Ffmpeg
from stemd.errors import EnvironmentFault, WorkerFault
from stemd.files import faults_in, sync_file
from stemd.wav import Reader, Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray  # noqa: TID251

_FULL_SCALE: Final = {"s16le": 2**15, "s32le": 2**23}
_LOSSY_CEILING: Final = 10 ** (-0.1 / 20)  # -0.1 dB: what is left out of a sound moves its peaks
_WEIGH: Final = 64 * 1024**2  # bytes read at a time to hash a file
_SPEAK: Final = 32  # blocks between reports of progress: 48 s of sound


@dataclass(frozen=True, slots=True)
class _Stem:
    name: str
    source: Path
    target: Path
    resample: list[str] | None
    encode: list[str]
    measured: Path | None = None
    peak: float = 0.0


def encode(question: Mapping[str, Any], progress: Callable[[float], None]) -> dict[str, Any]:
    """Encode stems to files.

    question: stems, each with name, source (a WAV of float32), target (a path that is free), resample (an ffmpeg
    command that writes raw float32 to its standard output, or null) and encode (one that reads raw samples from its
    standard input); rate, channels, frames of the result; kind of the raw samples: "s16le", "s32le" (24 bits, the
    lowest byte zero) or "f32le"; lossy; clip: "joint", "rescale", "clamp" or "none".

    Returns files: name -> sha256, size, peak (linear, before gain) and gain (linear), in order.
    Raises EnvironmentFault("state-full", ..), WorkerFault("encoder-failed").
    """
    stems = [_stem(asked) for asked in question["stems"]]
    frames, count = max(int(question["frames"]), 1), len(stems)

    def part(number: int, weight: float, start: float) -> Callable[[int], None]:
        return lambda done: progress(start + weight * (number + min(done / frames, 1.0)) / count)

    folder = stems[0].target.parent
    with faults_in("state", folder):
        measured = [_measured(stem, question, part(number, 0.5, 0.0)) for number, stem in enumerate(stems)]
        gains = _gains(question, [stem.peak for stem in measured])
        files = {}
        for number, (stem, gain) in enumerate(zip(measured, gains, strict=True)):
            tell = part(number, 0.5, 0.5)
            _encode(stem, gain, question, tell)
            files[stem.name] = {"peak": stem.peak, "gain": gain, **weighed(stem.target, partial(tell, frames))}
    return {"files": files}


def _stem(asked: Mapping[str, Any]) -> _Stem:
    return _Stem(asked["name"], Path(asked["source"]), Path(asked["target"]), asked["resample"], asked["encode"])


def _measured(stem: _Stem, question: Mapping[str, Any], progress: Callable[[int], None]) -> _Stem:
    """Find a stem's peak; resampled samples are kept beside the target for the second time."""
    peak, done = 0.0, 0
    if stem.resample is None:
        for number, block in enumerate(_read(stem.source)):
            peak = max(peak, _peak(block))
            done += len(block)
            if number % _SPEAK == 0:
                progress(done)
        return _Stem(stem.name, stem.source, stem.target, None, stem.encode, stem.source, peak)
    kept = stem.target.with_name(stem.target.name + ".samples")
    kept.unlink(missing_ok=True)
    channels, frames = int(question["channels"]), int(question["frames"])
    with Ffmpeg(stem.resample, feed=False) as ffmpeg, Writer(kept, int(question["rate"]), channels) as writer:
        for number, block in enumerate(ffmpeg.blocks(channels)):
            wanted = block[: max(frames - writer.frames, 0)]
            peak = max(peak, _peak(wanted))
            writer.write_frames(wanted)
            if number % _SPEAK == 0:
                progress(writer.frames)
        check(ffmpeg, stem.target.parent)
        writer.write_frames(np.zeros((frames - writer.frames, channels), dtype="<f4"))
    return _Stem(stem.name, stem.source, stem.target, stem.resample, stem.encode, kept, peak)


def _gains(question: Mapping[str, Any], peaks: list[float]) -> list[float]:
    """One gain a stem. Float32 holds what passes full scale, so one gain for all is 1 there."""
    kind, clip = question["kind"], question["clip"]
    if clip in {"clamp", "none"} or (clip == "joint" and kind == "f32le" and not question["lossy"]):
        return [1.0] * len(peaks)
    ceiling = _LOSSY_CEILING if question["lossy"] else 1 - 2 / _FULL_SCALE.get(kind, 2**24)
    if clip == "joint":
        peaks = [max(peaks)] * len(peaks)
    return [min(ceiling / peak, 1.0) if peak > 0 else 1.0 for peak in peaks]


def _encode(stem: _Stem, gain: float, question: Mapping[str, Any], progress: Callable[[int], None]) -> None:
    if stem.measured is None:
        raise ValueError("measure first")
    dither = _Dither(stem.name)
    clamp = question["clip"] == "clamp"
    done = 0
    with Ffmpeg(stem.encode, feed=True) as ffmpeg:
        for number, block in enumerate(_read(stem.measured)):
            samples = block * np.float32(gain) if gain != 1.0 else block
            if clamp:
                samples = np.clip(samples, -1.0, 1.0)
            if not ffmpeg.write(_raw(samples, question["kind"], dither)):
                break
            done += len(block)
            if number % _SPEAK == 0:
                progress(done)
        check(ffmpeg, stem.target.parent)
    if stem.measured != stem.source:
        stem.measured.unlink()
    sync_file(stem.target)


class _Dither:
    """Triangular noise of one step either way, the same for the same stem, and different between stems."""

    def __init__(self, name: str) -> None:
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
        self._dice = np.random.Generator(np.random.PCG64(seed))

    def on(self, steps: NDArray[np.float64]) -> NDArray[np.float64]:
        """Add it, except to digital silence."""
        noise = self._dice.random(steps.shape) - self._dice.random(steps.shape)
        noise[steps == 0] = 0
        noise += steps
        return noise


def _raw(samples: NDArray[np.float32], kind: str, dither: _Dither) -> bytes:
    """Samples as ffmpeg is to read them. Integers saturate."""
    if kind == "f32le":
        return samples.astype("<f4", copy=False).tobytes()
    full = _FULL_SCALE[kind]
    steps = samples.astype(np.float64) * full
    if kind == "s16le":
        steps = dither.on(steps)
    whole = np.clip(np.rint(steps), -full, full - 1)
    if kind == "s16le":
        return whole.astype("<i2").tobytes()
    return (whole.astype("<i4") * 256).tobytes()


def _read(path: Path) -> Iterator[NDArray[np.float32]]:
    """A WAV's samples as blocks of (frames, channels); what is no number becomes silence."""
    with Reader(path) as reader:
        for start in range(0, reader.frames, BLOCK):
            block = reader.read(start, min(start + BLOCK, reader.frames)).T
            yield np.ascontiguousarray(np.nan_to_num(block, nan=0.0, posinf=0.0, neginf=0.0))


def _peak(block: NDArray[np.float32]) -> float:
    return float(np.abs(block).max()) if block.size else 0.0


def check(ffmpeg: Ffmpeg, folder: Path) -> None:
    """Wait for ffmpeg's end and raise unless it was a good one."""
    status = ffmpeg.finish()
    if status == 0:
        return
    words = ffmpeg.last_words
    if "No space left" in words or "quota" in words:
        raise EnvironmentFault(
            "state-full",
            f"no space left in {folder}",
            "free some space on the state folder's disk; the job then resumes",
        )
    if "Unknown encoder" in words:
        hint = "install Debian's ffmpeg, or choose another format in the rule; the job then resumes"
        raise EnvironmentFault("tool-incomplete", f"this ffmpeg lacks an encoder: {words}", hint)
    raise WorkerFault("encoder-failed", f"ffmpeg could not encode ({status}): {words}", "it is tried again")


def weighed(path: Path, speak: Callable[[], None]) -> dict[str, Any]:
    """A file's sha256 and size; says now and then that it is still at it."""
    sha256, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(_WEIGH):
            sha256.update(block)
            size += len(block)
            speak()
    return {"sha256": sha256.hexdigest(), "size": size}
