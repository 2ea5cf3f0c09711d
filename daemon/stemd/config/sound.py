"""What must fit together inside one rule: model and stems, format and its figures. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stemd.config.problems import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stemd.model import Rule

_FOUR = ("drums", "bass", "other", "vocals")
DEMUCS_MODELS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("htdemucs", "htdemucs_ft", "hdemucs_mmi", "mdx", "mdx_q", "mdx_extra", "mdx_extra_q"), _FOUR),
    "htdemucs_6s": (*_FOUR, "guitar", "piano"),
}
"""The models that Demucs publishes, and their stems. A folder of local models may hold others."""
_DEMO = "demo"  # the embedded model: found before any folder of local models is looked at

_SHOWN_FOUR = "just drums, bass, other and vocals"
_MP3_RATES = (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_AAC_RATES = (*_MP3_RATES, 64_000, 88_200, 96_000)
_OPUS_RATES = (8000, 12_000, 16_000, 24_000, 48_000)
RATES: dict[str, tuple[int, ...]] = {"mp3": _MP3_RATES, "m4a": _AAC_RATES, "opus": _OPUS_RATES, "stem.m4a": _AAC_RATES}
"""Sampling rates that a format can hold; the others hold any."""

_MP3_LIMIT, _OPUS_LIMIT = 320, 510
LOSSY = frozenset({"mp3", "m4a", "opus", "stem.m4a"})


def stems(rule: Rule, *, local_models: bool) -> Iterator[tuple[str, str]]:
    """Say what is wrong with the asked stems. local_models: the model may have stems that nobody knows here."""
    asked = rule.stems
    if not asked:
        yield "asks for no stem", 'write "all" or names, for example ["vocals", "no_vocals"]'
    if "all" in asked and len(asked) > 1:
        yield '"all" already holds the others', 'write "all" alone, or only the names'
    for twice in sorted({stem for stem in asked if asked.count(stem) > 1}):
        yield f"names {twice!r} twice", "name it once"
    sources = _known_sources(rule.model, local_models=local_models)
    for stem in dict.fromkeys(asked):
        if not stem.replace("_", "").replace("-", "").isalnum():
            yield f"{stem!r} cannot be a stem's name", 'names look like "vocals" or "no_vocals"'
        elif sources and stem != "all" and stem.removeprefix("no_") not in sources:
            known = (*sources, *(f"no_{source}" for source in sources))
            yield f"{rule.model} has no stem {stem!r}", did_you_mean(stem, known, f"it has {', '.join(sources)}")


def _known_sources(model: str, *, local_models: bool) -> tuple[str, ...] | None:
    if model == _DEMO:
        return _FOUR
    return None if local_models else DEMUCS_MODELS.get(model)


def delivery(rule: Rule) -> Iterator[tuple[str, str, str]]:
    """Say which key does not fit the format, why, and what to write instead."""
    if rule.format == "flac" and rule.bit_depth == "float32":
        yield "bit_depth", "flac holds whole numbers only, not float32", 'write bit_depth = 24, or format = "wav"'
    if rule.format == "stem.m4a":
        yield from _stem_file(rule)
    if rule.remux and "no_vocals" not in rule.stems:
        yield "remux", "a film gets no_vocals as its sound, which is not among the stems", 'add "no_vocals" to stems'
    rates = RATES.get(rule.format)
    if rates and rule.sample_rate != "source" and rule.sample_rate not in rates:
        near = min(rates, key=lambda rate: abs(rate - int(rule.sample_rate)))
        yield "sample_rate", f"{rule.format} cannot hold {rule.sample_rate} Hz", f"the nearest it can hold is {near}"
    limit = {"mp3": _MP3_LIMIT, "opus": _OPUS_LIMIT}.get(rule.format)
    if limit and rule.bitrate > limit:
        yield "bitrate", f"{rule.format} ends at {limit} kbit/s", f"write bitrate = {limit}"


def _stem_file(rule: Rule) -> Iterator[tuple[str, str, str]]:
    """Say what does not fit one file with the whole song in five stereo tracks."""
    sources = DEMUCS_MODELS.get(rule.model, _FOUR)
    if set(sources) != set(_FOUR):
        others = ", ".join(source for source in sources if source not in _FOUR)
        yield "format", f"a stem.m4a holds {_SHOWN_FOUR}; {rule.model} makes {others} too", 'write model = "htdemucs"'
    elif rule.stems != ("all",) and set(rule.stems) != set(_FOUR):
        yield "stems", f"a stem.m4a holds {_SHOWN_FOUR}, no more and no less", 'write stems = "all"'
    if rule.channels == 1:
        yield "channels", "a stem.m4a is stereo", 'write channels = 2, or "source"'
    if rule.clip == "rescale":
        yield "clip", "the tracks of a stem.m4a must sum to its mix, not be rescaled each", 'write clip = "joint"'


def remarks(rule: Rule, given: frozenset[str], *, local_models: bool) -> Iterator[tuple[str, str, str]]:
    """Say what is allowed but perhaps not meant. given: the keys that stand in the rule itself."""
    if "bit_depth" in given and rule.format in LOSSY:
        yield "bit_depth", f"has no effect: {rule.format} has no bit depth", "leave it out, or choose wav or flac"
    if "bitrate" in given and rule.format not in LOSSY:
        yield "bitrate", f"has no effect: {rule.format} is lossless", "leave it out, or choose mp3"
    if "mp3_quality" in given and rule.format != "mp3":
        yield "mp3_quality", f"has no effect: the format is {rule.format}", 'leave it out, or write format = "mp3"'
    everything = rule.stems == ("all",) and "piano" in DEMUCS_MODELS.get(rule.model, ())
    if everything or {"piano", "no_piano"} & set(rule.stems):
        yield "stems", f"the piano of {rule.model} is weak", "listen to it before you use it"
    looks_signed = len(rule.model) == 8 and all(char in "0123456789abcdef" for char in rule.model)  # noqa: PLR2004
    if not local_models and rule.model not in {*DEMUCS_MODELS, _DEMO} and not looks_signed:
        known = did_you_mean(rule.model, DEMUCS_MODELS, "name a folder of local models in daemon.models")
        yield "model", f"{rule.model!r} is none of the models that Demucs publishes", known
