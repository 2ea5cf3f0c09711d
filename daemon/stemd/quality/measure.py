"""One pass over the mix and its stems, block by block, and the report of it; a second one where the leak comes late."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from stemd.errors import StemdError
from stemd.quality import decibel, estimate, files_out, second, suspects, verdict
from stemd.quality.compare import Comparison
from stemd.quality.levels import LevelMeter, sound
from stemd.quality.pairing import Pairing, pair
from stemd.quality.recording import Block, Recording
from stemd.quality.report import Bleed, Report, Request
from stemd.quality.seams import SeamMeter
from stemd.quality.windows import length

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

BLOCK_SECONDS: Final = 2.0
MIX: Final = "mix"
FIRST_PASS: Final = 0.9
"""Of the progress; the rest is for the second pass, which is rare, and for the picture."""


def measure(
    request: Request,
    on_progress: Callable[[float], None] = lambda _: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Report:
    """Measure stems, and write the report's files where the request asks for them.

    on_progress: told the fraction done, 0 to 1. stopped: asked about every two seconds of audio.
    Raises StemdError: "no-file", "unreadable-audio", "rates-differ", "bad-request", "cancelled", "report-unwritable".
    """
    if not request.stems:
        raise StemdError("bad-request", "no stems to measure", "Give at least one stem.")
    pairing = pair(request.stems, request.vocals, request.accompaniment, with_mix=request.mix is not None)
    with ExitStack() as open_files:
        stems = {name: open_files.enter_context(Recording(name, path)) for name, path in request.stems.items()}
        mix = open_files.enter_context(Recording(MIX, request.mix)) if request.mix is not None else None
        session = _Session(stems, mix, pairing, request)
        session.run(on_progress, stopped)
        report = session.report()
    if request.second_look is not None:
        report = second.judged(report, request, request.second_look)
    if request.suspects is not None:
        report = replace(report, suspects=suspects.cut(report, request, request.suspects))
    files_out.write(report, request, session.outlines)
    on_progress(1.0)
    return report


class _Session:
    """The files and meters of one measurement."""

    def __init__(
        self, stems: Mapping[str, Recording], mix: Recording | None, pairing: Pairing, request: Request
    ) -> None:
        self._request = request
        self._stems, self._mix, self._pairing = stems, mix, pairing
        self._rate = _common_rate(stems)
        self._comparable = mix is not None and mix.rate == self._rate and _fit(mix, stems)
        self._files = {**stems, **({MIX: mix} if mix else {})}
        compared = self._files if self._comparable else stems
        self._channels = max(each.channels for each in compared.values())
        self._against = self._measured_against()
        self._meters = {
            name: LevelMeter(name, each.rate, each.channels, each.frames) for name, each in self._files.items()
        }
        self._seams = self._seam_meters()
        self._compared = self._bleed = self._comparison()
        self.lag = 0

    @property
    def outlines(self) -> dict[str, NDArray[np.float32]]:
        """Waveforms for the picture, by stem."""
        return {name: meter.outline for name, meter in self._meters.items()}

    def run(self, on_progress: Callable[[float], None], stopped: Callable[[], bool]) -> None:
        """Read everything to the end of the longest file; once more where the leak comes late."""
        self._read(self._compared, lambda done: on_progress(FIRST_PASS * done), stopped, levels=True)
        self.lag = self._compared.lag
        if self.lag:
            for each in self._files.values():
                each.seek(0)
            self._bleed = self._comparison(self.lag)
            self._read(self._bleed, lambda _: on_progress(FIRST_PASS), stopped, levels=False)

    def report(self) -> Report:
        """Put together what the meters found."""
        levels = {name: meter.finish(self._source_frames(name)) for name, meter in self._meters.items()}
        null = self._compared.null if self._comparable and self._pairing.complete else None
        found = Report(
            title=self._request.title,
            verdict="pass",
            seconds=max(each.frames / each.rate for each in levels.values()),
            mix=levels.get(MIX) if self._mix else None,
            stems=tuple(levels[name] for name in self._stems),
            bleed=tuple(self._bleed_into(place, name) for place, name in enumerate(self._against)),
            vocals=self._pairing.vocals,
            accompaniment=self._pairing.accompaniment,
            accompaniment_from=self._pairing.made_from,
            null_db=null.db if null else None,
            null_of=self._pairing.complete if null else (),
            seam_db=max((each.worst for name, each in self._seams.items() if name != MIX), default=None),
            thresholds=self._request.thresholds,
            flags=(),
            curves={name: tuple(decibel.curve(meter.windows.power)) for name, meter in self._meters.items()},
            step=length(self._rate) / self._rate,
            ignored=tuple(sorted(self._request.ignore)),
        )
        other = self._mix is not None and (self._mix.lossy or self._mix.rate != self._rate)
        lossy = {name: other or each.lossy for name, each in self._stems.items()}
        seams = {name: tuple(each.found) for name, each in self._seams.items()}
        return verdict.judged(found, null.windows if null else None, lossy, seams)

    def _comparison(self, lag: int = 0) -> Comparison:
        return Comparison(self._rate, self._channels, self._pairing, self._against, lag)

    def _read(
        self, into: Comparison, on_progress: Callable[[float], None], stopped: Callable[[], bool], *, levels: bool
    ) -> None:
        size = max(length(self._rate), int(BLOCK_SECONDS * self._rate))
        longest = max(1, *(each.frames for each in self._stems.values()))
        done = 0
        while self._take(into, size, levels=levels):
            done += size
            on_progress(min(1.0, done / longest))
            if stopped():
                raise StemdError("cancelled", "the measurement was cancelled", "Ask again when it is wanted.")
        into.finish()

    def _take(self, into: Comparison, size: int, *, levels: bool) -> bool:
        """Read and feed one block of everything; False at the end of all files."""
        blocks = {name: self._block(name, size, levels=levels) for name in self._files}
        if not any(len(block) for block in blocks.values()):
            return False
        mix = blocks.pop(MIX, None) if self._mix else None
        compared = mix if self._comparable else None
        frames = max(len(block) for block in (*blocks.values(), *(() if compared is None else (compared,))))
        whole = {name: self._widened(block, frames) for name, block in blocks.items()}
        into.feed(whole, None if compared is None else self._widened(compared, frames))
        return True

    def _block(self, name: str, size: int, *, levels: bool) -> Block:
        block = self._files[name].read(size)
        if not levels:
            return np.where(sound(block), block, np.float32(0.0))
        block = self._meters[name].feed(block)
        if name in self._seams:
            self._seams[name].feed(block, self._request.thresholds.seam_db)
        return block

    def _seam_meters(self) -> dict[str, SeamMeter]:
        """One a file, if it is known how the stems were cut."""
        segment, overlap = self._request.segment, self._request.overlap
        if segment is None or self._request.thresholds.seam_db is None:
            return {}
        if not (segment > 0 and 0 <= overlap < 1):
            raise StemdError("bad-request", f"segment {segment} s, overlap {overlap}", "Above 0; from 0 to under 1.")
        files = self._files.items()
        return {name: SeamMeter(each.rate, each.channels, segment, overlap) for name, each in files}

    def _measured_against(self) -> list[str]:
        """Stems that the vocal is held against: the accompaniment first, then each other stem that is not its own."""
        voice, main = self._pairing.vocals, self._pairing.accompaniment
        if voice is None or main is None or (not self._pairing.summed and not self._comparable):
            return []
        return [main, *(name for name in self._stems if name not in {voice, main})]

    def _bleed_into(self, place: int, name: str) -> Bleed:
        fits = self._bleed.fits(place)
        singer = self._meters[str(self._pairing.vocals)]
        voice = singer.windows.power
        other = (self._meters[name].windows if name in self._meters else self._compared.made).power
        count = min(len(voice), len(other))
        found = estimate.estimate(fits)
        lift = self._bleed.lift.db if place == 0 else None
        found = estimate.with_heavy(found, lift, self._bleed.lift.windows)
        score = None if singer.silent else found.score
        return Bleed(
            into=name,
            db=None if singer.silent else found.level,
            score=estimate.NOTHING if score is None else max(estimate.NOTHING, score),
            evidence=found.evidence,
            lift_db=None if singer.silent else lift,
            apart_db=None if singer.silent or place else self._compared.apart.db,
            coherence=None if singer.silent else estimate.coherence(fits),
            envelope_correlation=estimate.envelope_correlation(
                decibel.curve(voice[:count]), decibel.curve(other[:count])
            ),
            reverse_db=estimate.reverse(fits, voice, other),
            reverse_share=None if singer.silent else estimate.reverse_share(fits),
            step=length(self._rate) / self._rate,
            windows=tuple(found.curve.tolist()),
        )

    def _source_frames(self, name: str) -> int | None:
        """Frames that this stem should have."""
        if self._mix is None or name == MIX:
            return None
        return round(self._meters[MIX].frames * self._files[name].rate / self._mix.rate)

    def _widened(self, block: Block, frames: int) -> Block:
        """Pad with silence at the end and repeat a mono channel, to (frames, channels) of the widest file."""
        if len(block) < frames:
            block = np.pad(block, ((0, frames - len(block)), (0, 0)))
        if block.shape[1] == self._channels:
            return block
        return np.repeat(block.mean(axis=1, keepdims=True), self._channels, axis=1)


def _common_rate(stems: Mapping[str, Recording]) -> int:
    rates = {each.rate: name for name, each in stems.items()}
    if len(rates) > 1:
        said = ", ".join(f"{name} {rate} Hz" for rate, name in rates.items())
        raise StemdError("rates-differ", f"the stems have different sample rates: {said}", "Convert them to one rate.")
    return next(iter(rates))


def _fit(mix: Recording, stems: Mapping[str, Recording]) -> bool:
    """Whether mix and stems can be subtracted: the same channels, or mono against anything."""
    counts = {mix.channels} | {each.channels for each in stems.values()}
    return len(counts - {1}) <= 1
