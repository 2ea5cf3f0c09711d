"""The training of the embedded model: a few steps on a tiny computed set, saved, resumed, exported and loaded again."""

import json
import math
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from demucs.htdemucs import HTDemucs
from demucs.repo import LocalRepo

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from training import crops, figures, loop, network

TINY = network.Shape(channels=8, depth=3, bottom=16, layers=1, heads=2, nfft=1024, seconds=1)


def quiet(_: str) -> None:
    """Say nothing."""


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Compute in one thread: networks this small gain nothing from more, and lose much on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three songs of two seconds: clicks, a low and a middle tone, and a swelling tone as the voice."""
    folder = tmp_path_factory.mktemp("songs")
    time = np.arange(2 * network.RATE) / network.RATE
    for number in range(3):
        dice = np.random.default_rng(number)
        stems = {
            "drums": dice.standard_normal(len(time)) * np.exp(-20 * (time % 0.5)) * 0.3,
            "bass": 0.2 * np.sin(2 * np.pi * (50 + 9 * number) * time),
            "other": 0.1 * np.sign(np.sin(2 * np.pi * (300 + 70 * number) * time)),
            "vocals": 0.2 * np.sin(2 * np.pi * (700 + 40 * number) * time) * np.sin(2 * np.pi * time) ** 2,
        }
        sounds = {name: np.stack([sound, sound], axis=1).astype(np.float32) for name, sound in stems.items()}
        sounds["mixture"] = ((sounds["drums"] + sounds["bass"]) + sounds["other"]) + sounds["vocals"]
        song = folder / f"{number:05}"
        song.mkdir()
        for name, sound in sounds.items():
            soundfile.write(song / f"{name}.wav", sound, network.RATE, subtype="FLOAT")
        (song / "song.json").write_text(json.dumps({"seconds": 2.0, "gaps": [[1.0, 2.0]]}))
    return folder


def course(songs: Path, checkpoint: Path, steps: int) -> loop.Course:
    """Return a course of a few steps in this process."""
    return loop.Course(songs, checkpoint, steps=steps, workers=1, shape=TINY)


def test_crops_are_the_same_for_the_same_dice_and_scaled_to_the_mixture(songs: Path) -> None:
    found = crops.songs_in(songs)
    first, again = (crops.batch(np.random.default_rng(4), found, 3, 44_100, crops.Changes()) for _ in range(2))
    assert first.shape == (3, 4, 2, 44_100)
    assert torch.equal(first, again)
    assert torch.allclose(first.sum(1).std(dim=(1, 2)), torch.ones(3), atol=1e-3)


def test_most_vocals_are_drawn_where_somebody_sings(songs: Path) -> None:
    dice, found = np.random.default_rng(5), crops.songs_in(songs)
    places = [crops.sung_place(dice, found, crops.Changes())[1] for _ in range(400)]
    assert 0.02 < sum(place >= 0.5 for place in places) / len(places) < 0.25
    anywhere = [crops.sung_place(dice, found, crops.Changes(sung=0))[1] for _ in range(400)]
    assert 0.4 < sum(place >= 0.5 for place in anywhere) / len(anywhere) < 0.6


def test_the_rate_rises_and_ends_at_nothing(songs: Path) -> None:
    asked = course(songs, Path("unused"), 1000)
    rates = [loop.rate(asked, loop.Progress(step=step)) for step in (0, 39, 500, 999)]
    assert rates[0] < rates[1]
    assert rates[1] == pytest.approx(asked.rate, rel=0.01)
    assert rates[2] == pytest.approx(asked.rate / 2)
    assert rates[3] < 1e-7


def test_a_course_in_minutes_ends_by_the_clock(songs: Path) -> None:
    asked = replace(course(songs, Path("unused"), 1000), minutes=90.0)
    assert loop.Progress(step=10, minutes=45.0).part(asked) == 0.5
    assert loop.Progress(step=10, minutes=91.0).part(asked) == 1


def test_training_killed_and_resumed_ends_where_an_unbroken_one_ends(
    songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken, broken = tmp_path / "unbroken.ckpt", tmp_path / "broken.ckpt"
    loop.train(course(songs, unbroken, 4), quiet)
    real = loop.step

    def killed(*facts: Any) -> None:
        if facts[4].step == 2:
            raise KeyboardInterrupt
        real(*facts)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "step", killed)
        with pytest.raises(KeyboardInterrupt):
            loop.train(replace(course(songs, broken, 4), save_every=0.0), quiet)
    assert loop.load(broken)["progress"]["step"] == 2
    progress = loop.train(course(songs, broken, 4), quiet)
    assert progress.step == 4
    assert not math.isnan(progress.loss)
    ends = [loop.load(path)["network"] for path in (unbroken, broken)]
    assert all(torch.allclose(ends[0][name], ends[1][name], atol=1e-5) for name in ends[0])


def test_a_course_begins_with_another_ones_weights_and_names_those_that_do_not_fit(songs: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.ckpt", tmp_path / "second.ckpt"
    loop.train(course(songs, first, 2), quiet)
    learnt = loop.load(first)
    learnt["average"].pop("freq_emb.embedding.weight")
    torch.save(learnt, first)
    loop.train(replace(course(songs, second, 1), start=first, rate=0.0), quiet)
    taken = loop.load(second)["network"]
    assert all(torch.equal(taken[name], value) for name, value in learnt["average"].items())
    wider = replace(course(songs, tmp_path / "third.ckpt", 1), start=first, shape=replace(TINY, channels=16))
    with pytest.raises(ValueError, match=r"first\.ckpt is of another network \(encoder\.0\.conv\.weight"):
        loop.train(wider, quiet)
    (tmp_path / "wrong.ckpt").write_bytes(b"RIFF, and no checkpoint")
    with pytest.raises(ValueError, match=r"wrong\.ckpt is no checkpoint"):
        loop.train(replace(wider, start=tmp_path / "wrong.ckpt"), quiet)
    shutil.copy(first, wider.checkpoint)
    with pytest.raises(ValueError, match=r"third\.ckpt is of another network \(encoder\.0\.conv\.weight"):
        loop.train(replace(wider, start=None), quiet)


def test_an_exported_model_is_found_and_loaded_by_demucs(songs: Path, tmp_path: Path) -> None:
    checkpoint, folder = tmp_path / "tiny.ckpt", tmp_path / "models"
    loop.train(course(songs, checkpoint, 2), quiet)
    average = loop.load(checkpoint)["average"]
    first = network.export(TINY, {name: value * 0.5 for name, value in average.items()}, {}, folder)
    path = network.export(TINY, average, {"steps": 2}, folder)
    assert not first.exists()
    with torch.serialization.safe_globals([HTDemucs, Fraction]):
        assert torch.load(path, weights_only=True)["kwargs"] == TINY.settings()
    model = LocalRepo(folder).get_model(network.SIGNATURE)
    for name, value in model.state_dict().items():
        assert torch.equal(value, average[name].half().float())


def test_figures_know_a_perfect_and_a_silent_estimate() -> None:
    sound = torch.sin(torch.arange(44_100.0)).expand(2, -1)
    assert figures.sdr(sound, sound) > 100
    assert figures.sdr(sound, torch.zeros_like(sound)) == pytest.approx(0, abs=1e-6)
    assert figures.sdr(sound, sound * 0.9) == pytest.approx(20, abs=1e-3)
    assert figures.rms_db(sound * 0.1, sound) == pytest.approx(-20, abs=1e-3)


def test_a_measured_song_has_figures_for_every_stem(songs: Path) -> None:
    torch.manual_seed(0)
    measured = figures.measure(TINY.build().eval(), songs / "00001")
    assert set(measured.sdr) == {"drums", "bass", "other", "vocals", "no_vocals"}
    table = figures.summary([measured])
    assert table["songs"] == 1
    assert table["ideal"] == pytest.approx(measured.ideal, abs=0.01)


def test_the_ideal_mask_parts_what_does_not_overlap_and_halves_what_is_the_same() -> None:
    time = torch.arange(44_100) / 44_100
    low, high = (torch.sin(2 * math.pi * hertz * time).expand(2, -1) for hertz in (300, 3_000))
    assert figures.sdr(low, figures.ideal_vocals(low, high)) > 35
    assert torch.allclose(figures.ideal_vocals(low, low), low, atol=1e-4)


def test_a_song_without_singing_has_no_ideal(songs: Path, tmp_path: Path) -> None:
    silent = tmp_path / "00009"
    shutil.copytree(songs / "00001", silent)
    drums, rate = soundfile.read(silent / "drums.wav", dtype="float32")
    soundfile.write(silent / "vocals.wav", 0 * drums, rate, subtype="FLOAT")
    soundfile.write(silent / "mixture.wav", drums, rate, subtype="FLOAT")
    measured = figures.measure(TINY.build().eval(), silent)
    assert measured.ideal == {}
    assert figures.summary([measured])["ideal"] == {}
