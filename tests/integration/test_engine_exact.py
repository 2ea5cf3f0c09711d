"""The engine equals stock Demucs, in float32 within 1e-5: every family, bags, shifts, overlaps, segments, lengths."""

from __future__ import annotations

import random
import warnings
from fractions import Fraction
from typing import Any

import networks as nets
import numpy as np
import pytest
import soundfile
import torch
from demucs.api import Separator as Stock
from demucs.apply import BagOfModels, apply_model
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stemd import wav
from stemd.demo import FOLDER, MODEL
from stemd.engine import Separator, views
from stemd.errors import StemdError

VOCALS = nets.SOURCES.index("vocals")
WEIGHTS = [[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.5, 2.0]]


@pytest.fixture(autouse=True)
def one_thread(tmp_path, monkeypatch) -> Any:
    """Networks this small are slower on two; and no verdict of theirs is kept on this machine."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def families(channels: int) -> dict[str, Any]:
    third = nets.htdemucs(Fraction(1, 3), channels, seed=1)
    return {
        "htdemucs": nets.model(nets.htdemucs(channels=channels)),
        "any length": nets.model(nets.htdemucs(channels=channels, use_train_segment=False)),
        "hdemucs": nets.model(nets.hdemucs(channels=channels)),
        "demucs": nets.model(nets.demucs(channels=channels)),
        "bag": nets.model(
            nets.htdemucs(channels=channels), third, nets.hdemucs(channels=channels, seed=2), weights=WEIGHTS
        ),
    }


MODELS = {(name, channels): model for channels in (1, 2) for name, model in families(channels).items()}


def stock(model: Any, mix: np.ndarray, shifts: int, overlap: float, seed: int) -> np.ndarray:
    """What stock Demucs gives; it divides by the deviation of one value where a mono segment has one frame."""
    random.seed(seed)
    bag = BagOfModels([m.network for m in model.members], [list(row) for row in model.weights])
    with torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "std\\(\\): degrees of freedom")
        return apply_model(bag, torch.from_numpy(mix)[None], shifts=shifts, overlap=overlap)[0].numpy()


def noise(channels: int, frames: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((channels, frames)).astype(np.float32)


def assert_equals_stock(got: np.ndarray, expected: np.ndarray) -> None:
    """The same numbers, and numbers too in the last frame where stock may have none."""
    assert np.isfinite(got).all()
    assert np.isfinite(expected[..., :-1]).all()
    known = np.isfinite(expected)
    np.testing.assert_allclose(got[known], expected[known], atol=1e-5, rtol=0)


def one_frame_more(name: str) -> dict[str, Any]:
    """A mono recording whose last segment is one frame."""
    return {"which": (name, 1), "shifts": 0, "overlap": 0.0, "segments": 1, "around": "segment", "off": 1,
            "seed": 0, "batch": 1}  # fmt: skip


@settings(max_examples=40)
@example(**one_frame_more("hdemucs"))
@example(**one_frame_more("any length"))
@example(**one_frame_more("bag"))
@given(
    which=st.sampled_from(sorted(MODELS)),
    shifts=st.sampled_from([0, 1, 3]),
    overlap=st.sampled_from([0.0, 0.1, 0.25, 0.5]),
    segments=st.integers(0, 3),
    around=st.sampled_from(["segment", "stride"]),
    off=st.sampled_from([-1, 0, 1, 1234]),
    seed=st.integers(0, 5),
    batch=st.sampled_from([1, 1, 3]),
)
def test_it_equals_apply_model(which, shifts, overlap, segments, around, off, seed, batch):  # noqa: PLR0917
    model = MODELS[which]
    length = int(nets.RATE * model.segment)
    border = length if around == "segment" else int((1 - overlap) * length)
    mix = noise(which[1], max(1, segments * border + off), seed)
    expected = stock(model, mix, shifts, overlap, seed)
    engine = Separator(model, device="cpu", precision="float32")
    options = {"shifts": shifts, "overlap": overlap, "seed": seed, "batch": batch, "normalise": False}
    every = engine.separate_array(mix, **options)
    assert list(every) == list(nets.SOURCES)
    for index, name in enumerate(nets.SOURCES):
        assert_equals_stock(every[name], expected[index])
    some = engine.separate_array(mix, stems=["no_vocals", "vocals"], **options)
    assert_equals_stock(some["vocals"], expected[VOCALS])
    np.testing.assert_array_equal(some["no_vocals"], mix - some["vocals"])


@pytest.mark.parametrize("which", [(name, 2) for name in ("htdemucs", "hdemucs", "demucs", "bag")])
def test_one_frame_equals_apply_model(which):
    mix = noise(2, 1)
    expected = stock(MODELS[which], mix, 1, 0.25, 0)
    got = Separator(MODELS[which], device="cpu", precision="float32").separate_array(mix, normalise=False)
    np.testing.assert_allclose(np.stack(list(got.values())), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("which", sorted(MODELS))
@pytest.mark.parametrize("frames", [0, 1, 2])
def test_the_shortest_recordings_give_numbers_of_their_length(which, frames):
    got = Separator(MODELS[which], device="cpu", precision="float32").separate_array(noise(which[1], frames))
    assert all(stem.shape == (which[1], frames) and np.isfinite(stem).all() for stem in got.values())


QUICK: dict[str, dict[str, Any]] = {
    "as released": {},
    "deeper": {"depth": 3, "nfft": 1024, "dconv_comp": 4, "segment": Fraction(1, 3)},
    "no bottleneck": {"bottom_channels": 0},
    "no scales": {"t_layer_scale": False, "t_norm_out": False},
    "cross first": {"t_cross_first": True, "t_layers": 3},
    "one residual": {"dconv_depth": 1},
    "residuals in the encoder only": {"dconv_mode": 1},
    "no residuals": {"dconv_mode": 0},
    "magnitudes": {"cac": False, "wiener_iters": -1, "end_iters": -1},
}
OTHER: dict[str, dict[str, Any]] = {
    "norms": {"norm_starts": 0, "norm_groups": 2},
    "no transformer": {"t_layers": 0},
    "norms behind": {"t_norm_first": False},
    "norms over positions": {"t_group_norm": True},
    "no rewriting": {"rewrite": False},
    "ReLU": {"t_gelu": False},
    "frequencies to the end": {"depth": 3},
}


@pytest.mark.parametrize("shape", sorted(QUICK | OTHER))
def test_every_shape_of_the_transformer_equals_apply_model_and_the_released_one_runs_on_quick_layers(shape):
    network = nets.htdemucs(**{**QUICK, **OTHER}[shape])
    assert (views.with_layers(network) is not None) == (shape in QUICK)
    for parameter in network.parameters():  # of norms and scales too, which begin as one and as next to nothing
        parameter.data += 0.1 * torch.randn_like(parameter)
    mix = noise(2, 6000)
    expected = stock(nets.model(network), mix, 0, 0.25, 0)
    options = {"shifts": 0, "batch": 2, "normalise": False}
    got = Separator(nets.model(network), device="cpu", precision="float32").separate_array(mix, **options)
    np.testing.assert_allclose(np.stack(list(got.values())), expected, atol=1e-5, rtol=0)


def test_given_offsets_are_those_of_apply_model(monkeypatch):
    offsets, mix = [0, 4000, 1717], noise(2, 9000)
    model = MODELS["htdemucs", 2]
    given_in_turn = iter(offsets)
    monkeypatch.setattr(random, "randint", lambda low, high: next(given_in_turn))
    expected = stock(model, mix, 3, 0.25, 0)
    monkeypatch.undo()
    got = Separator(model, device="cpu", precision="float32").separate_array(
        mix, shifts=3, offsets=offsets, normalise=False
    )
    np.testing.assert_allclose(np.stack(list(got.values())), expected, atol=1e-5, rtol=0)


def test_another_seed_gives_other_shifts():
    engine = Separator(MODELS["htdemucs", 2], device="cpu", precision="float32")
    one, other = (engine.separate_array(noise(2, 9000), seed=seed)["vocals"] for seed in (0, 1))
    assert np.abs(one - other).max() > 1e-5


@pytest.mark.parametrize("segment", [0.5, 0.25, 0.125])
@pytest.mark.parametrize("family", ["htdemucs", "hdemucs", "demucs"])
def test_a_shorter_segment_is_that_of_the_network_itself(family, segment):
    mix = noise(2, 9001)
    shrunk = getattr(nets, family)(segment)
    expected = stock(nets.model(shrunk), mix, 0, 0.25, 0)
    engine = Separator(nets.model(getattr(nets, family)()), device="cpu", precision="float32")
    got = engine.separate_array(mix, shifts=0, segment=segment, normalise=False)
    np.testing.assert_allclose(np.stack(list(got.values())), expected, atol=1e-5, rtol=0)
    assert engine.model.members[0].network.segment != 0.125  # the model at hand stays what it was


def test_a_segment_longer_than_the_training_length_is_refused():
    with pytest.raises(StemdError) as caught:
        Separator(MODELS["htdemucs", 2], device="cpu").separate_array(noise(2, 100), segment=0.51)
    assert caught.value.code == "segment-too-long"
    assert "0.5" in caught.value.hint


@pytest.mark.parametrize("level", [(1.0, 0.0), (1e-4, 0.3), (30.0, -0.1)])
def test_the_real_model_equals_demucs_api_with_the_whole_tracks_normalisation(level, tmp_path):
    scale, offset = level
    mix = (noise(2, 44100 * 3, 7) * 0.1 * scale + offset).astype(np.float32)
    random.seed(3)
    _, expected = Stock(MODEL, repo=FOLDER, device="cpu", shifts=1).separate_tensor(torch.from_numpy(mix))
    with wav.Writer(tmp_path / "mix.wav", 44100, 2) as writer:
        writer.write(mix)
    engine = Separator(MODEL, device="cpu", precision="float32")
    done = engine.separate(tmp_path / "mix.wav", tmp_path / "out", seed=3)
    assert done.precision == "float32"
    assert done.frames == 44100 * 3
    for name in engine.sources:
        with wav.Reader(tmp_path / "out" / done.files[name]) as reader:
            assert (reader.sample_rate, reader.channels, reader.frames) == (44100, 2, 44100 * 3)
            got = reader.read(0, reader.frames)
        np.testing.assert_allclose(got, expected[name].numpy(), atol=1e-5 * max(1.0, scale), rtol=0)


def test_same_input_same_recipe_same_bytes(tmp_path):
    with wav.Writer(tmp_path / "mix.wav", nets.RATE, 2) as writer:
        writer.write(noise(2, 20_000))
    for folder in ("one", "other"):
        engine = Separator(MODELS["bag", 2], device="cpu", cache=tmp_path / folder)
        engine.separate(tmp_path / "mix.wav", tmp_path / folder, shifts=2, stems=["vocals", "no_drums"])
    for name in ("vocals.wav", "no_drums.wav"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_add_gives_the_sum_of_the_other_sources():
    engine = Separator(MODELS["bag", 2], device="cpu", precision="float32")
    got = engine.separate_array(noise(2, 9000), stems=["no_vocals", "all"], residual="add")
    assert list(got) == ["no_vocals", *nets.SOURCES]
    np.testing.assert_array_equal(got["no_vocals"], got["drums"] + got["other"])


def test_a_bag_runs_only_the_members_that_the_stems_need(monkeypatch):
    ran: set[int] = set()
    model = MODELS["bag", 2]
    engine = Separator(model, device="cpu", precision="float32")
    make = engine._network
    monkeypatch.setattr(
        engine, "_network", lambda member, parts, segment: (ran.add(member), make(member, parts, segment))[1]
    )
    engine.separate_array(noise(2, 100), stems=["drums", "no_drums"])
    assert ran == {0}
    engine.separate_array(noise(2, 100), stems=["vocals"])
    assert ran == {0, 1, 2}


def test_mono_is_repeated_for_a_stereo_model_and_stereo_averaged_for_a_mono_one():
    stereo, mono = Separator(MODELS["demucs", 2], device="cpu"), Separator(MODELS["demucs", 1], device="cpu")
    mix = noise(2, 5000)
    np.testing.assert_array_equal(
        stereo.separate_array(mix[:1])["vocals"], stereo.separate_array(np.repeat(mix[:1], 2, 0))["vocals"]
    )
    np.testing.assert_array_equal(
        mono.separate_array(mix)["vocals"], mono.separate_array(mix.mean(0, keepdims=True))["vocals"]
    )
    with pytest.raises(StemdError, match="3 channels"):
        stereo.separate_array(noise(3, 100))


def test_the_library_takes_other_formats_and_rates_and_the_child_does_not(tmp_path):
    engine = Separator(MODELS["htdemucs", 2], device="cpu", precision="float32")
    mix = noise(1, 2 * 16000) * np.float32(0.1)
    soundfile.write(tmp_path / "mix.flac", mix.T, 16000, subtype="PCM_24")
    done = engine.separate(tmp_path / "mix.flac", tmp_path / "out", stems=["vocals"])
    assert (done.frames, done.sample_rate) == (2 * nets.RATE, nets.RATE)
    (tmp_path / "text.wav").write_text("no sound")
    for path, convert, code in (("mix.flac", False, "not-a-wav"), ("text.wav", True, "not-audio")):
        with pytest.raises(StemdError) as caught:
            engine.separate(tmp_path / path, tmp_path / "out", convert=convert)
        assert caught.value.code == code
