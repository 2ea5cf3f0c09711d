"""Which stem is the vocal, what it is held against, and which stems should add up to the mix. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stemd.errors import StemdError

if TYPE_CHECKING:
    from collections.abc import Iterable

RESIDUAL = "mix minus "


@dataclass(frozen=True, slots=True)
class Pairing:
    """vocals: a stem's name, or None. accompaniment: a stem's name, or a name for what is made.

    made_from: how the accompaniment comes about, in words. summed: stems whose sum it is (one: that stem itself);
    empty: mix minus vocals. complete: stems that should add up to the mix; empty: unknown.
    """

    vocals: str | None
    accompaniment: str | None
    made_from: str
    summed: tuple[str, ...]
    complete: tuple[str, ...]


def pair(names: Iterable[str], vocals: str | None, accompaniment: str | None, *, with_mix: bool) -> Pairing:
    """Decide from the stems' names; what the request names wins. Raises "bad-request" for names that are not there."""
    stems = tuple(names)
    for name in (vocals, accompaniment):
        if name is not None and name not in stems:
            raise StemdError("bad-request", f"there is no stem {name!r}", f"There are: {', '.join(stems) or 'none'}.")
    if vocals is not None and vocals == accompaniment:
        raise StemdError("bad-request", "vocals and accompaniment are the same stem", "Name two stems.")
    voice = vocals if vocals is not None else "vocals" if "vocals" in stems and accompaniment != "vocals" else None
    complete = _complete(stems, voice, accompaniment)
    if accompaniment is not None:
        return Pairing(voice, accompaniment, "file", (accompaniment,), complete)
    if f"no_{voice}" in stems:
        return Pairing(voice, f"no_{voice}", "file", (f"no_{voice}",), complete)
    if voice is None:
        return Pairing(None, None, "", (), complete)
    others = tuple(name for name in complete if name != voice)
    if others:
        return Pairing(voice, f"no_{voice}", f"sum of {', '.join(others)}", others, complete)
    if with_mix:
        return Pairing(voice, f"no_{voice}", f"{RESIDUAL}{voice}", (), complete)
    return Pairing(voice, None, "", (), complete)


def _complete(stems: tuple[str, ...], voice: str | None, accompaniment: str | None) -> tuple[str, ...]:
    """Stems that split the mix without rest: a pair, or everything where there is an `other` or `drums` and `bass`."""
    if voice is not None and accompaniment is not None:
        return (voice, accompaniment)
    for name in stems:
        if f"no_{name}" in stems:
            return (name, f"no_{name}")
    plain = tuple(name for name in stems if not name.startswith("no_"))
    if {"drums", "bass", "other", "vocals"} <= set(plain):
        return plain
    return ()
