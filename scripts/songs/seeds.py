"""Which seeds make which songs, and the dice every part of a song throws. Renders nothing.

Ranges of seeds (a song's purpose is its seed's range, nothing else):

    0 to 9,999         training: the training palette of voices, sound fonts and drum kits
    10,000 to 19,999   held out: evaluation, with the held-out palette
    20,000 to 29,999   shown: the built-in song and test fixtures, held-out palette
    30,000 to 39,999   bench: quality benchmarks, held-out palette

No voice, sound font or drum kit belongs to both palettes, so an evaluation outside the training
range hears nothing the network was trained on.
"""

from enum import StrEnum

import numpy as np


class Purpose(StrEnum):
    """What a song is for."""

    TRAINING = "training"
    HELD_OUT = "held-out"
    SHOWN = "shown"
    BENCH = "bench"


RANGES = {
    Purpose.TRAINING: range(10_000),
    Purpose.HELD_OUT: range(10_000, 20_000),
    Purpose.SHOWN: range(20_000, 30_000),
    Purpose.BENCH: range(30_000, 40_000),
}


def purpose(seed: int) -> Purpose:
    """Return what the song with this seed is for; a seed outside all ranges is a ValueError."""
    for kind, seeds in RANGES.items():
        if seed in seeds:
            return kind
    message = f"seed {seed} is in no range; use 0 to 39999, see scripts/songs/seeds.py"
    raise ValueError(message)


def dice(seed: int, part: str) -> np.random.Generator:
    """Return the generator of one part of one song: the same for the same (seed, part), forever.

    Every part has its own, so that a change in how drums are drawn leaves the voice as it was.
    """
    return np.random.Generator(np.random.PCG64([seed, *part.encode()]))
