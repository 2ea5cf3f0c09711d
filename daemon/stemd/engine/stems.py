"""Which stems are asked for, and what the bag must compute for them. Pure: names and weights, no audio."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stemd.errors import StemdError

if TYPE_CHECKING:
    from collections.abc import Sequence

COMPLEMENT = "no_"
ALL = "all"


@dataclass(frozen=True, slots=True)
class Stem:
    """One file to write.

    parts: indices among the model's sources that are summed. from_mix: the sum is subtracted from the mix instead.
    """

    name: str
    parts: tuple[int, ...]
    from_mix: bool = False


def resolve(asked: Sequence[str] | str, sources: Sequence[str], residual: str) -> tuple[Stem, ...]:
    """Turn names into stems, each once, in the order asked. "all" stands for every source.

    residual: "minus" makes `no_<source>` the mix minus that source, "add" the sum of all other sources.
    Errors: StemdError "unknown-stem", "unknown-residual".
    """
    if residual not in ("minus", "add"):
        raise StemdError("unknown-residual", f'there is no residual "{residual}"', 'use "minus" or "add"')
    names = [asked] if isinstance(asked, str) else list(asked)
    names = [name for given in names for name in (sources if given == ALL and ALL not in sources else [given])]
    if not names:
        raise StemdError("unknown-stem", "no stem was asked for", f"this model's stems are {', '.join(sources)}")
    return tuple(_stem(name, sources, residual) for name in dict.fromkeys(names))


def _stem(name: str, sources: Sequence[str], residual: str) -> Stem:
    if name in sources:
        return Stem(name, (sources.index(name),))
    source = name.removeprefix(COMPLEMENT)
    if source == name or source not in sources:
        raise _unknown(name, sources)
    index = sources.index(source)
    if residual == "minus":
        return Stem(name, (index,), from_mix=True)
    return Stem(name, tuple(other for other in range(len(sources)) if other != index))


def _unknown(name: str, sources: Sequence[str]) -> StemdError:
    known = [*sources, *(COMPLEMENT + source for source in sources)]
    near = difflib.get_close_matches(name, known, 1)
    guess = f"did you mean {near[0]}? " if near else ""
    hint = f"{guess}this model's stems are {', '.join(sources)}, and no_<stem> for everything but one"
    return StemdError("unknown-stem", f"this model has no stem {name}", hint)


def computed(stems: Sequence[Stem]) -> tuple[int, ...]:
    """Return the indices of the sources that the stems are made of, ascending."""
    return tuple(sorted({part for stem in stems for part in stem.parts}))


def members(weights: Sequence[Sequence[float]], source: int) -> tuple[int, ...]:
    """Return the indices of the members that a source depends on: those that give it a weight other than zero."""
    return tuple(index for index, row in enumerate(weights) if row[source])


def work(weights: Sequence[Sequence[float]], sources: Sequence[int]) -> dict[int, tuple[int, ...]]:
    """Return member -> the sources it must produce, for the members that are needed at all."""
    rows = {index: tuple(source for source in sources if row[source]) for index, row in enumerate(weights)}
    return {index: parts for index, parts in rows.items() if parts}
