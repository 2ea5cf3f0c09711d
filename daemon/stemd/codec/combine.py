"""Stems from stems: a sum or a difference of files that are there needs no network. Knows no rule and no job."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stemd.codec.pipe import BLOCK
from stemd.files import faults_in, sync_file
from stemd.wav import Reader, Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_SPEAK: Final = 32  # blocks between reports of progress: 48 s of sound


def combine(question: Mapping[str, Any], progress: Callable[[float], None]) -> dict[str, Any]:
    """Write stems that are sums and differences of WAVs of one length, rate and channel count, in float32.

    question: stems, each with target (a path that is free), plus (WAVs that are summed) and minus (one that is taken
    away, or null). Returns nothing. Raises EnvironmentFault("state-full", ..), StemdError for what is no such WAV.
    """
    stems = question["stems"]

    def tell(number: int, done: float) -> None:
        progress((number + done) / len(stems))

    for number, stem in enumerate(stems):
        _combine(stem, partial(tell, number))
    return {}


def _combine(stem: Mapping[str, Any], progress: Callable[[float], None]) -> None:
    target = Path(stem["target"])
    with faults_in("state", target.parent), ExitStack() as opened:
        plus = [opened.enter_context(Reader(path)) for path in stem["plus"]]
        minus = opened.enter_context(Reader(stem["minus"])) if stem["minus"] else None
        first = plus[0]
        with Writer(target, first.sample_rate, first.channels) as writer:
            for number, start in enumerate(range(0, first.frames, BLOCK)):
                stop = min(start + BLOCK, first.frames)
                block = first.read(start, stop)
                for other in plus[1:]:
                    block = block + other.read(start, stop)
                if minus is not None:
                    block = block - minus.read(start, stop)
                writer.write(block)
                if number % _SPEAK == 0:
                    progress(stop / first.frames)
        sync_file(target)
