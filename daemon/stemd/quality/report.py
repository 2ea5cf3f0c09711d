"""What is asked of a measurement and what it found, as frozen facts; `as_json` gives strictly valid JSON."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from stemd.errors import StemdError
from stemd.model import rule
from stemd.quality import decibel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stemd.quality.second import SecondLook
    from stemd.quality.suspects import Suspects

Verdict = Literal["pass", "flagged"]
Range = tuple[float, float]

VERSION: Final = 1
"""Of the report's form."""
METRICS: Final[frozenset[str]] = frozenset(get_args(rule.Metric))
"""What may be flagged."""
_RULE: Final = rule.Thresholds()


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From where on a figure is flagged. Levels in dB, or None: never flagged.

    bleed_db: vocal in the accompaniment relative to the vocal (the rule's key). reverse_db: level of a vocal stem that
    holds nothing but the band, relative to the accompaniment. null_db: mix minus the sum of the stems, relative to the
    mix. dc: linear. seam_db: steps at segment borders against their surroundings. The defaults are the rule's.
    """

    bleed_db: float | None = _RULE.bleed_db
    reverse_db: float | None = _RULE.reverse_db
    null_db: float | None = _RULE.null_db
    dc: float | None = _RULE.dc
    seam_db: float | None = _RULE.seam_db

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Thresholds:
        """Take thresholds from a request; unknown names are refused."""
        known = {each.name for each in fields(cls)}
        unknown = sorted(set(given) - known)
        if unknown:
            raise StemdError("bad-request", f"unknown threshold {unknown[0]!r}", f"Known: {', '.join(sorted(known))}.")
        return cls(**{name: None if value is None else float(value) for name, value in given.items()})


@dataclass(frozen=True, slots=True)
class Request:
    """One measurement. Paths are text as os.fsdecode gives it.

    stems: name to path. vocals, accompaniment: names among the stems; None: found by name, or made (see `pairing`).
    segment, overlap: how the stems were cut, seconds and fraction; None: seams are not looked for.
    ignore: flags that are not raised, by their metric.
    report: a folder for quality.json and quality.png; None: no files. picture: a file for the picture alone.
    suspects: a folder for what a second look at flagged bleed has to listen to. second_look: that folder, with the
    vocals that were found in it.
    """

    stems: Mapping[str, str]
    mix: str | None = None
    vocals: str | None = None
    accompaniment: str | None = None
    thresholds: Thresholds = field(default_factory=Thresholds)
    segment: float | None = None
    overlap: float = 0.25
    report: str | None = None
    picture: str | None = None
    title: str = ""
    ignore: frozenset[str] = frozenset()
    suspects: str | None = None
    second_look: str | None = None


@dataclass(frozen=True, slots=True)
class Levels:
    """One stem by itself. dB: FLOOR of `decibel` for nothing.

    missing_frames: the mix's length less this one's (negative: too long). clipped: samples in flat tops.
    dc: linear mean of the worst channel. not_finite: samples that are NaN or infinite. Ranges in seconds.
    """

    name: str
    rate: int
    channels: int
    frames: int
    missing_frames: int | None
    rms_db: float
    peak_db: float
    true_peak_db: float
    over_full_scale: int
    clipped: int
    clipping: tuple[Range, ...]
    dc: float
    silent: bool
    silence: tuple[Range, ...]
    not_finite: int
    not_finite_at: tuple[Range, ...]

    def as_json(self) -> dict[str, Any]:
        """Names and units as in DESIGN.md; null for nothing at all."""
        return {
            "seconds": round(self.frames / self.rate, 6),
            "frames": self.frames,
            "sample_rate": self.rate,
            "channels": self.channels,
            "missing_frames": self.missing_frames,
            "rms_db": decibel.or_none(self.rms_db),
            "peak_db": decibel.or_none(self.peak_db),
            "true_peak_db": decibel.or_none(self.true_peak_db),
            "over_full_scale": self.over_full_scale,
            "clipped_samples": self.clipped,
            "clipping": _ranges(self.clipping),
            "dc": round(self.dc, 6),
            "dc_db": decibel.or_none(decibel.of_amplitude(abs(self.dc))),
            "silent": self.silent,
            "silence": _ranges(self.silence),
            "nan_samples": self.not_finite,
            "nan": _ranges(self.not_finite_at),
        }


@dataclass(frozen=True, slots=True)
class Bleed:
    """Vocal in one other stem, dB relative to the vocal; None where there is no vocal or nothing to hold it against.

    db: level of the leaked vocal over the whole file. score: what decides, dB of the same scale. evidence: 0 to 1, how
    much of the stem a leak explains. lift_db: the leak's level where it is heavy (see `lift`), of the accompaniment.
    coherence: magnitude-squared, 0 to 1, and envelope_correlation, -1 to 1, decide nothing. reverse_db: the vocal stem
    in its pauses, relative to this stem there. reverse_share: the part of the vocal stem that is this stem turned down.
    apart_db: the vocal stem less this one, relative to the vocal stem, for the accompaniment only; far under 0 where
    both are one sound. windows: level in each window of `step` seconds, FLOOR where no vocal sounds.
    """

    into: str
    db: float | None
    score: float
    evidence: float | None
    coherence: float | None
    envelope_correlation: float | None
    reverse_db: float | None
    reverse_share: float | None
    step: float
    windows: tuple[float, ...]
    lift_db: float | None = None
    apart_db: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Without the curve, which is under `curves`."""
        return {
            "bleed_db": decibel.or_none(self.db),
            "score": decibel.or_none(self.score),
            "evidence": None if self.evidence is None else round(self.evidence, 4),
            "lift_db": decibel.or_none(self.lift_db),
            "apart_db": decibel.or_none(self.apart_db),
            "coherence": None if self.coherence is None else round(self.coherence, 4),
            "envelope_correlation": None if self.envelope_correlation is None else round(self.envelope_correlation, 4),
            "reverse_db": decibel.or_none(self.reverse_db),
            "reverse_share": None if self.reverse_share is None else round(self.reverse_share, 3),
        }


@dataclass(frozen=True, slots=True)
class Flag:
    """Something to hear before the stems are used. start, end: seconds. text: a sentence for a musician.

    second: dB relative to the vocal, what a second look found here; None where none was taken.
    """

    metric: str
    start: float
    end: float
    value: float | None
    threshold: float | None
    text: str
    second: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Seconds to a hundredth."""
        looked = {} if self.second is None else {"second_look_db": decibel.or_none(self.second)}
        return looked | {
            "metric": self.metric,
            "start": round(self.start, 2),
            "end": round(self.end, 2),
            "value": None if self.value is None else round(self.value, 4),
            "threshold": self.threshold,
            "text": self.text,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """Everything found about one separation."""

    title: str
    verdict: Verdict
    seconds: float
    mix: Levels | None
    stems: tuple[Levels, ...]
    bleed: tuple[Bleed, ...]
    vocals: str | None
    accompaniment: str | None
    accompaniment_from: str
    null_db: float | None
    null_of: tuple[str, ...]
    seam_db: float | None
    thresholds: Thresholds
    flags: tuple[Flag, ...]
    curves: Mapping[str, tuple[float, ...]]
    step: float
    ignored: tuple[str, ...] = ()
    suspects: Suspects | None = None
    second: SecondLook | None = None

    @property
    def main(self) -> Bleed | None:
        """The bleed that the verdict speaks of: into the accompaniment."""
        return next((each for each in self.bleed if each.into == self.accompaniment), None)

    def as_json(self) -> dict[str, Any]:
        """Strictly valid JSON: null in place of minus infinity and of figures that do not exist."""
        main = self.main
        return {
            "version": VERSION,
            "title": self.title,
            "verdict": self.verdict,
            "bleed_db": decibel.or_none(main.db) if main else None,
            "score": round(main.score, 3) if main else None,
            "seconds": round(self.seconds, 3),
            "vocals": self.vocals,
            "accompaniment": self.accompaniment,
            "accompaniment_from": self.accompaniment_from,
            "null_db": decibel.or_none(self.null_db),
            "null_of": list(self.null_of),
            "seam_db": decibel.or_none(self.seam_db),
            "mix": self.mix.as_json() if self.mix else None,
            "stems": {each.name: each.as_json() for each in self.stems},
            "bleed": {each.into: each.as_json() for each in self.bleed},
            "thresholds": {each.name: getattr(self.thresholds, each.name) for each in fields(self.thresholds)},
            "ignored": list(self.ignored),
            "flags": [each.as_json() for each in self.flags],
            **({"suspects": len(self.suspects.ranges)} if self.suspects else {}),
            "second_look": self.second.as_json() if self.second else None,
            "curves": {"step": self.step, **{name: _curve(values) for name, values in self.curves.items()}},
        }


def _ranges(found: tuple[Range, ...]) -> list[list[float]]:
    return [[round(start, 4), round(end, 4)] for start, end in found]


def _curve(values: tuple[float, ...]) -> list[float | None]:
    return [decibel.or_none(value, 1) for value in values]
