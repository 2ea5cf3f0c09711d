"""What one run of the network may keep for other rules: what it gives for nothing, and no more."""

from dataclasses import replace
from pathlib import Path

import pytest

from stemd.model import ModelCard, Rule
from stemd.results import beside, free, missing

SOURCES = ("drums", "bass", "other", "vocals")
ONE = ModelCard("htdemucs", "d", SOURCES, 44100, 2, 7.8, dict.fromkeys(SOURCES, (0,)))
BAG = replace(ONE, name="htdemucs_ft", needs={source: (number,) for number, source in enumerate(SOURCES)})
HERE = Path("/srv")
RULE = Rule(name="a", inbox=HERE, outbox=HERE, review=HERE, failed=HERE, archive=HERE, stems=("vocals", "no_vocals"))


def other(**keys) -> Rule:
    return replace(RULE, name="b", **keys)


@pytest.mark.parametrize("keys", [{"format": "mp3"}, {"stems": ("all",)}, {"residual": "add"}, {"priority": 3}])
def test_rules_share_a_run_whatever_they_make_of_it(keys):
    assert beside(RULE, [RULE, other(**keys)]) == (other(**keys),)


@pytest.mark.parametrize(
    "keys", [{"model": "mdx"}, {"shifts": 5}, {"overlap": 0.5}, {"segment": 4.0}, {"seed": 2}, {"audio_stream": 1}]
)
def test_rules_that_compute_otherwise_share_nothing(keys):
    assert beside(RULE, [RULE, other(**keys)]) == ()
    assert other(**keys).recipe.digest != RULE.recipe.digest


@pytest.mark.parametrize(
    "card, keys, more",
    [
        (ONE, {"stems": ("all",)}, ("drums", "bass", "other")),
        (ONE, {"stems": ("no_drums",)}, ("drums",)),
        (ONE, {"stems": ("no_drums",), "residual": "add"}, ("bass", "other")),
        (ONE, {"stems": ("vocals",)}, ()),
        (ONE, {"stems": ("kazoo",)}, ()),
        # Each of this bag's members makes one stem: the others' would have to be run.
        (BAG, {"stems": ("all",)}, ()),
    ],
)
def test_only_what_costs_nothing_is_kept_for_others(card, keys, more):
    assert free(RULE.stems, RULE, (other(**keys),), card) == more


def test_what_is_formed_needs_all_its_parts():
    assert missing(("vocals", "no_vocals"), {"vocals"}, RULE, ONE) == ((), ("no_vocals",))
    added = replace(RULE, residual="add")
    assert missing(("no_vocals",), {"drums", "bass"}, added, ONE) == (("no_vocals",), ())
    assert missing(("no_vocals",), {"drums", "bass", "other"}, added, ONE) == ((), ("no_vocals",))
