"""One pass over the mix and its stems, block by block, and the report of it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import numpy as np

from stemd.errors import StemdError
from stemd.quality import decibel, estimate, files_out, verdict
from stemd.quality.bleed import BleedMeter
from stemd.quality.levels import LevelMeter
from stemd.quality.null import NullTest
from stemd.quality.pairing import Pairing, pair
from stemd.quality.recording import Block, Recording
from stemd.quality.report import Bleed, Report, Request
from stemd.quality.spectra import Spectra
from stemd.quality.windows import Windows, length

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

BLOCK_SECONDS: Final = 2.0
MIX: Final = "mix"


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
        session = _Pass(stems, mix, pairing)
        session.run(on_progress, stopped)
        report = session.report(request)
    files_out.write(report, request, session.outlines)
    on_progress(1.0)
    return report


class _Pass:
    """The meters of one measurement, fed together."""

    def __init__(self, stems: Mapping[str, Recording], mix: Recording | None, pairing: Pairing) -> None:
        self._stems, self._pairing = stems, pairing
        self._rate = _common_rate(stems)
        self._mix = mix
        self._comparable = mix is not None and mix.rate == self._rate and _fit(mix, stems)
        everything = dict(stems) | ({MIX: mix} if mix else {})
        self._channels = max(each.channels for each in everything.values())
        self._meters = {
            name: LevelMeter(name, each.rate, each.channels, each.frames) for name, each in everything.items()
        }
        self._null = NullTest(self._rate)
        self._others = self._measured_others()
        self._spectra = Spectra(self._rate, self._channels, 1 + len(self._others))
        self._bleed = BleedMeter(self._rate, len(self._others))
        self._made = Windows(self._rate)

    @property
    def outlines(self) -> dict[str, np.ndarray]:
        """Waveforms for the picture, by stem."""
        return {name: meter.outline for name, meter in self._meters.items()}

    def run(self, on_progress: Callable[[float], None], stopped: Callable[[], bool]) -> None:
        """Read everything to the end of the longest file."""
        longest = max(each.frames for each in self._stems.values())
        size = max(length(self._rate), int(BLOCK_SECONDS * self._rate))
        done = 0
        while self._take(size):
            done += size
            on_progress(min(0.99, done / max(1, longest)))
            if stopped():
                raise StemdError("cancelled", "the measurement was cancelled", "Ask again when it is wanted.")
        if self._others:
            for batch in self._spectra.finish():
                self._bleed.feed(batch[0], batch[1:])

    def report(self, request: Request) -> Report:
        """Put together what the meters found."""
        levels = {name: meter.finish(self._source_frames(name)) for name, meter in self._meters.items()}
        bleed = tuple(self._bleed_into(place, name) for place, name in enumerate(self._others))
        null = self._null if self._comparable and self._pairing.complete else None
        seconds = max(each.frames / each.rate for each in levels.values())
        curves = {name: tuple(decibel.curve(meter.windows.power)) for name, meter in self._meters.items()}
        return verdict.judged(
            Report(
                title=request.title,
                verdict="pass",
                seconds=seconds,
                mix=levels.get(MIX) if self._mix else None,
                stems=tuple(levels[name] for name in self._stems),
                bleed=bleed,
                vocals=self._pairing.vocals,
                accompaniment=self._pairing.accompaniment,
                accompaniment_from=self._pairing.made_from,
                null_db=null.db if null else None,
                null_of=self._pairing.complete if null else (),
                seam_db=None,
                thresholds=request.thresholds,
                flags=(),
                curves=curves,
                step=length(self._rate) / self._rate,
            ),
            null.windows if null else None,
            {name: each.lossy for name, each in self._stems.items()},
        )

    def _take(self, size: int) -> bool:
        """Read and feed one block of everything; False at the end of all files."""
        blocks = {name: self._meters[name].feed(each.read(size)) for name, each in self._stems.items()}
        mix = self._meters[MIX].feed(self._mix.read(size)) if self._mix else None
        longest = max((len(block) for block in blocks.values()), default=0)
        if self._comparable and mix is not None:
            longest = max(longest, len(mix))
        if not longest:
            return mix is not None and len(mix) > 0
        self._compare({name: self._widened(block, longest) for name, block in blocks.items()}, mix, longest)
        return True

    def _compare(self, blocks: dict[str, Block], mix: Block | None, longest: int) -> None:
        full = self._widened(mix, longest) if mix is not None and self._comparable else None
        if full is not None and self._pairing.complete:
            self._null.feed(full, _sum([blocks[name] for name in self._pairing.complete]))
        if not self._others or self._pairing.vocals is None:
            return
        voice = blocks[self._pairing.vocals]
        others = [self._other(name, blocks, full, voice) for name in self._others]
        for batch in self._spectra.feed([voice, *others]):
            self._bleed.feed(batch[0], batch[1:])

    def _other(self, name: str, blocks: dict[str, Block], mix: Block | None, voice: Block) -> Block:
        """The next frames of a stem that the vocal is held against, made where it is not a file."""
        if name in blocks:
            return blocks[name]
        made = _sum([blocks[each] for each in self._pairing.summed]) if self._pairing.summed else None
        if made is None:
            made = (mix if mix is not None else voice) - voice
        self._made.feed(np.einsum("fc,fc->f", made, made) / self._channels)
        return made

    def _measured_others(self) -> list[str]:
        """Stems that the vocal is held against: the accompaniment first, then each other stem that is not its own."""
        voice, main = self._pairing.vocals, self._pairing.accompaniment
        if voice is None or main is None or (not self._pairing.summed and not self._comparable):
            return []
        return [main, *(name for name in self._stems if name not in {voice, main})]

    def _bleed_into(self, place: int, name: str) -> Bleed:
        fits = self._bleed.fits(place)
        voice = self._meters[str(self._pairing.vocals)].windows.power
        other = (self._meters[name].windows if name in self._meters else self._made).power
        count = min(len(voice), len(other))
        curves = decibel.curve(voice[:count]), decibel.curve(other[:count])
        silent = self._meters[str(self._pairing.vocals)].silent
        level = None if silent else estimate.level(fits)
        return Bleed(
            into=name,
            db=level,
            score=estimate.NOTHING if level is None else max(estimate.NOTHING, level),
            evidence=estimate.evidence(fits),
            envelope_correlation=estimate.envelope_correlation(*curves),
            reverse_db=estimate.reverse(fits, voice, other),
            step=length(self._rate) / self._rate,
            windows=tuple(estimate.windowed(fits).tolist()),
        )

    def _source_frames(self, name: str) -> int | None:
        """Frames that this stem should have."""
        if self._mix is None or name == MIX:
            return None
        meter = self._meters[MIX]
        return round(meter.frames * self._meters[name].rate / self._mix.rate)

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


def _sum(blocks: list[Block]) -> Block:
    total = blocks[0].copy()
    for block in blocks[1:]:
        total += block
    return total
