"""What must fit together in a rule's sound: every stem of every model by name, and formats with wishes of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from stemd.config import ConfigError, read
from stemd.config.sound import DEMUCS_MODELS
from stemd.engine import stems as engine_stems
from stemd.errors import EnvironmentFault, StemdError
from stemd.model import ModelCard
from stemd.stages import separate

RULE = '[[rule]]\nname = "a"\ninbox = "in"\noutbox = "out"\n'
EVERY_STEM = [(model, stem) for model, stems in DEMUCS_MODELS.items() for stem in stems]


def mistakes(folder: Path, keys: str) -> list[str]:
    (folder / "config.toml").write_text(f"{RULE}{keys}\n")
    try:
        read(folder / "config.toml")
    except ConfigError as error:
        return [str(problem) for problem in error.problems]
    return []


def remarks(folder: Path, keys: str) -> list[str]:
    (folder / "config.toml").write_text(f"{RULE}{keys}\n")
    return [str(remark) for remark in read(folder / "config.toml").remarks]


@pytest.mark.parametrize("model, stem", EVERY_STEM)
def test_every_stem_and_its_complement_can_be_asked_for(tmp_path: Path, model: str, stem: str) -> None:
    assert mistakes(tmp_path, f'model = "{model}"\nstems = ["{stem}", "no_{stem}"]') == []
    sources = DEMUCS_MODELS[model]
    alone, rest = engine_stems.resolve([stem, f"no_{stem}"], sources, "add")
    assert {*alone.parts, *rest.parts} == set(range(len(sources)))
    assert len(rest.parts) == len(sources) - 1


@pytest.mark.parametrize("model", DEMUCS_MODELS)
def test_all_means_every_stem_and_unknown_ones_are_told(tmp_path: Path, model: str) -> None:
    assert mistakes(tmp_path, f'model = "{model}"\nstems = "all"') == []
    assert [stem.name for stem in engine_stems.resolve("all", DEMUCS_MODELS[model], "minus")] == [*DEMUCS_MODELS[model]]
    (told,) = mistakes(tmp_path, f'model = "{model}"\nstems = ["no_vocal"]')
    assert 'did you mean "no_vocals"?' in told
    with pytest.raises(StemdError):
        engine_stems.resolve(["no_vocal"], DEMUCS_MODELS[model], "minus")


@pytest.mark.parametrize("more", ["", '[daemon]\nmodels = "nets"'])
def test_the_embedded_model_has_four_stems_whatever_models_are_beside_it(tmp_path: Path, more: str) -> None:
    assert mistakes(tmp_path, f'model = "demo"\nstems = ["drums", "bass", "other", "no_vocals"]\n{more}') == []
    (told,) = mistakes(tmp_path, f'model = "demo"\nstems = ["vocal"]\n{more}')
    assert 'did you mean "vocals"?' in told


@pytest.mark.parametrize(
    "keys, warned",
    [
        ('model = "htdemucs_6s"', True),
        ('model = "htdemucs_6s"\nstems = ["no_piano"]', True),
        ('model = "htdemucs_6s"\nstems = ["guitar", "no_guitar"]', False),
        ('model = "htdemucs"', False),
    ],
)
def test_a_weak_piano_is_warned_of(tmp_path: Path, keys: str, warned: bool) -> None:
    assert any("piano" in remark and "weak" in remark for remark in remarks(tmp_path, keys)) is warned


def test_the_jobs_story_tells_of_the_piano_too() -> None:
    done = {"seconds": 1.0, "device": "cpu", "precision": "float32", "x_realtime": 2.0}
    for wanted, told in (("guitar", "no_piano"), done), ((), None):
        assert "the piano is weak" in separate._note(("guitar", "no_piano"), wanted, (), told)
    assert "piano" not in separate._note(("guitar",), ("guitar",), (), done)


@pytest.mark.parametrize("keys", ['stems = ["kazoo"]', 'format = "stem.m4a"'])
def test_stems_that_a_local_model_does_not_have_are_told_with_what_to_do(tmp_path: Path, keys: str) -> None:
    (tmp_path / "config.toml").write_text(f'{RULE}model = "five"\n{keys}\n[daemon]\nmodels = "nets"\n')
    (rule,) = read(tmp_path / "config.toml").settings.rules
    with pytest.raises(EnvironmentFault) as caught:
        separate.resolve(rule, ModelCard("five", "d", ("drums", "bass", "other", "vocals", "guitar"), 44100, 2, 2.0))
    assert caught.value.code == "unknown-stem"
    assert caught.value.hint.endswith("then: systemctl reload stemd")


@pytest.mark.parametrize(
    "keys, word",
    [
        ('stems = ["vocals", "no_vocals"]', "no more and no less"),
        ('model = "htdemucs_6s"', "guitar, piano"),
        ("channels = 1", "stereo"),
        ('clip = "rescale"', "sum to its mix"),
    ],
)
def test_a_stem_file_is_refused_what_it_cannot_hold(tmp_path: Path, keys: str, word: str) -> None:
    (told,) = mistakes(tmp_path, f'format = "stem.m4a"\n{keys}')
    assert word in told


@pytest.mark.parametrize(
    "keys", ['stems = "all"', 'stems = ["vocals", "drums", "bass", "other"]\nnames = "{track}.{ext}"']
)
def test_a_stem_file_holds_the_four(tmp_path: Path, keys: str) -> None:
    assert mistakes(tmp_path, f'format = "stem.m4a"\n{keys}') == []
