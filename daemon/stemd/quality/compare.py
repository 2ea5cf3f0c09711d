"""What needs several signals at once: the null tests, and the vocal against each other stem."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stemd.quality.bleed import BleedMeter, Fits
from stemd.quality.lag import LagMeter
from stemd.quality.lift import LiftMeter
from stemd.quality.null import NullTest
from stemd.quality.spectra import Spectra
from stemd.quality.windows import Windows, power

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from stemd.quality.pairing import Pairing
    from stemd.quality.recording import Block
    from stemd.quality.spectra import Spectrum


class Comparison:
    """Takes blocks of all stems and of the mix, equally long and wide, in step.

    against: the stems that the vocal is held against, the accompaniment first. lag: samples by which the leak comes
    later than the vocal; the vocal is moved to it. null: of the mix and the stems. apart: of the vocal and the
    accompaniment as they are, without the lag.
    """

    def __init__(self, rate: int, channels: int, pairing: Pairing, against: Sequence[str], lag: int = 0) -> None:
        self._pairing = pairing
        self._against = tuple(against)
        self.null = NullTest(rate)
        self.apart = NullTest(rate)
        self.made = Windows(rate)
        self._spectra = Spectra(rate, channels, 1 + len(against))
        self._bleed = BleedMeter(rate, len(against))
        self._lag = LagMeter(rate)
        self.lift = LiftMeter(rate)
        self._delays = [_Delay(max(0, lag), channels), *(_Delay(max(0, -lag), channels) for _ in against)]

    def feed(self, stems: Mapping[str, Block], mix: Block | None) -> None:
        """Take the next frames; mix: None where it cannot be compared."""
        if mix is not None and self._pairing.complete:
            self.null.feed(mix, _sum(stems[name] for name in self._pairing.complete))
        if not self._against or self._pairing.vocals is None:
            return
        voice = stems[self._pairing.vocals]
        signals = [voice, *(stems[name] if name in stems else self._make(stems, mix, voice) for name in self._against)]
        self.apart.feed(voice, signals[1])
        moved = [delay.feed(signal) for delay, signal in zip(self._delays, signals, strict=True)]
        for batch in self._spectra.feed(moved):
            self._take(batch)

    def finish(self) -> None:
        """Take what is still open, after the last block."""
        if self._against:
            for batch in self._spectra.finish():
                self._take(batch)

    def fits(self, place: int) -> Fits:
        """Return what was found against the stem at `place` of `against`."""
        return self._bleed.fits(place)

    @property
    def lag(self) -> int:
        """Samples by which the leak in the accompaniment comes later than the vocal, beyond the lag given."""
        return self._lag.samples if self._against else 0

    @property
    def clarity(self) -> float:
        """How clearly one phase runs through what the accompaniment has in common with the vocal; see `LagMeter`."""
        return self._lag.clarity if self._against else 0.0

    def _take(self, batch: list[Spectrum]) -> None:
        self._bleed.feed(batch[0], batch[1:])
        self._lag.feed(batch[0], batch[1])
        self.lift.feed(batch[0], batch[1])

    def _make(self, stems: Mapping[str, Block], mix: Block | None, voice: Block) -> Block:
        """The accompaniment's next frames, where it is not a file."""
        if self._pairing.summed:
            made = _sum(stems[each] for each in self._pairing.summed)
        else:
            made = (mix if mix is not None else voice) - voice
        self.made.feed(power(made))
        return made


class _Delay:
    """Gives a signal back some samples later."""

    def __init__(self, samples: int, channels: int) -> None:
        self._held: Block = np.zeros((samples, channels), dtype=np.float32)

    def feed(self, block: Block) -> Block:
        if not len(self._held):
            return block
        joined = np.concatenate([self._held, block])
        self._held = joined[len(block) :]
        return joined[: len(block)]


def _sum(blocks: Iterable[Block]) -> Block:
    total: Block | None = None
    for block in blocks:
        total = block.copy() if total is None else total + block
    if total is None:
        raise ValueError("nothing to add up")
    return total
