"""Decoding: what ffmpeg makes of a file goes into a WAV and is measured on the way. Knows no container and no job."""

from __future__ import annotations

import hashlib
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np  # noqa: TID251 - this process is a child; the daemon stays without numpy

from stemd.codec.pipe import Ffmpeg
from stemd.errors import EnvironmentFault, StemdError
from stemd.files import faults_in, free_bytes
from stemd.model.sound import LOUDEST
from stemd.wav import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray  # noqa: TID251

_PADDING: Final = 4096
"""Frames: no encoder pads more at the end. What ends later than promised by more than this is longer, not padded."""

_LOOK: Final = 1.0  # seconds between words about the progress and looks at the free space


def decode(question: Mapping[str, Any], progress: Callable[[float], None]) -> dict[str, Any]:
    """Decode to a new WAV of float32.

    question: argv, an ffmpeg command that writes raw float32 to its standard output; out, a path that is free; rate,
    channels of the output; source_rate, source_channels; resampled, whether the last astats counts the source's frames
    before a resampler; the first one counts them before gaps are filled, if they are; frames, the source's without
    padding, or None; expected, frames of output, for the progress; reserve, bytes of disk that must stay free;
    longest, frames of output after which it counts as endless; name, what the user calls it.

    Returns frames, source_frames, filled (frames of these that are silence in a gap), mean, deviation, peak, digest
    (sha256 of the samples, hex), holes (complaints of the decoder), reached (the last time stamp, seconds), invalid
    (samples that were no sound: no numbers, or beyond LOUDEST; they become 0), status (ffmpeg's) and words (its last).
    Raises EnvironmentFault("state-full", ..), StemdError("too-long").
    """
    out, rate, channels = Path(question["out"]), int(question["rate"]), int(question["channels"])
    source_rate = int(question["source_rate"])
    hold = math.ceil((_PADDING + 64) * rate / source_rate)
    figures = Figures()
    tail = _Tail(hold, channels)
    with (
        faults_in("state", out.parent),
        Ffmpeg(question["argv"], feed=False) as ffmpeg,
        Writer(out, rate, channels) as writer,
    ):
        spoken = -_LOOK
        for block in ffmpeg.blocks(channels):
            if time.monotonic() - spoken > _LOOK:
                spoken = time.monotonic()
                _check_room(out.parent, int(question["reserve"]))
                _check_length(tail.released, question)
                progress(min(tail.released / max(question["expected"] or 0, 1), 1.0))
            _pass(tail.push(figures.clean(block)), figures, writer)
        _check_length(tail.released + tail.kept, question)
        status = ffmpeg.finish()
        passed = [frames for _, frames in sorted(ffmpeg.counted.items())]
        counted = passed[-1] if question["resampled"] and passed else tail.released + tail.kept
        source_frames = _unpadded(counted, question["frames"])
        _pass(tail.rest(round(source_frames * rate / source_rate)), figures, writer)
    return {
        "frames": tail.released,
        "source_frames": source_frames,
        "filled": max(counted - passed[0], 0) if passed else 0,
        "mean": figures.mean,
        "deviation": figures.deviation,
        "peak": figures.peak,
        "digest": figures.digest,
        "holes": ffmpeg.holes,
        "invalid": figures.invalid + round(ffmpeg.not_numbers * int(question["source_channels"])),
        "reached": ffmpeg.reached,
        "status": status,
        "words": ffmpeg.last_words,
    }


class Figures:
    """Mean and deviation of the mono average, the peak, and the digest of samples as they pass; in float64.

    Merged block by block as in Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm" (1979).
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self.peak = 0.0
        self.invalid = 0
        self._squares = 0.0
        self._sha256 = hashlib.sha256()

    @property
    def digest(self) -> str:
        """sha256, hex, of all samples as they stand in a WAV of float32."""
        return self._sha256.hexdigest()

    @property
    def deviation(self) -> float:
        """The unbiased standard deviation, as torch.std has it; 0 for fewer than two frames."""
        return math.sqrt(self._squares / (self.count - 1)) if self.count > 1 else 0.0

    def clean(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """Replace what is no number, or beyond LOUDEST, by silence, in place, and count it."""
        valid = np.abs(block) <= np.float32(LOUDEST)
        if not valid.all():
            self.invalid += int(block.size - np.count_nonzero(valid))
            block[~valid] = 0
        return block

    def add(self, block: NDArray[np.float32]) -> None:
        """Take in a block: (frames, channels)."""
        if not len(block):
            return
        self._sha256.update(np.ascontiguousarray(block, dtype="<f4").data)
        mono = block.mean(axis=1, dtype=np.float64)
        mean = float(mono.mean())
        squares = float(np.square(mono - mean).sum())
        count = self.count + len(mono)
        difference = mean - self.mean
        self._squares += squares + difference**2 * self.count * len(mono) / count
        self.mean += difference * len(mono) / count
        self.count = count
        self.peak = max(self.peak, float(np.abs(block).max()))


class _Tail:
    """Holds the last frames back until it is known whether they are padding."""

    def __init__(self, hold: int, channels: int) -> None:
        self.released = 0
        self._hold = hold
        self._held = np.empty((0, channels), dtype=np.float32)

    @property
    def kept(self) -> int:
        return len(self._held)

    def push(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take a block in and give back what is surely no padding."""
        joined = np.concatenate([self._held, block])
        split = max(len(joined) - self._hold, 0)
        self._held = joined[split:]
        self.released += split
        return joined[:split]

    def rest(self, total: int) -> NDArray[np.float32]:
        """Give back what is missing to `total` frames: less than is held, or silence of a few frames more."""
        wanted = min(max(total - self.released, 0), len(self._held) + self._hold)
        rest = np.zeros((wanted, self._held.shape[1]), dtype=np.float32)
        rest[: len(self._held)] = self._held[:wanted]
        self.released += wanted
        return rest


def _pass(block: NDArray[np.float32], figures: Figures, writer: Writer) -> None:
    figures.add(block)
    writer.write_frames(np.ascontiguousarray(block, dtype="<f4"))


def _unpadded(decoded: int, promised: int | None) -> int:
    return promised if promised and 0 < decoded - promised <= _PADDING else decoded


def _check_length(frames: int, question: Mapping[str, Any]) -> None:
    if frames > int(question["longest"]):
        hours = frames / int(question["rate"]) / 3600
        raise StemdError(
            "too-long",
            f"{question['name']} has no end: {hours:.0f} hours were decoded, far more than it declares",
            "check the file; cut it into parts if it is right",
        )


def _check_room(folder: Path, reserve: int) -> None:
    if free_bytes(folder) < reserve:
        raise EnvironmentFault(
            "state-full",
            f"no space left in {folder}",
            "free some space on the state folder's disk; the job then resumes",
        )
