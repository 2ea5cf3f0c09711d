"""format = "stem.m4a": one file that DJ players open, read back by ffprobe and by a reader of its own."""

from __future__ import annotations

import json
import os
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stemd.errors import EnvironmentFault
from stemd.model import Finished, ModelCard
from stemd.stages import deliver, separate

Make = Callable[..., Path]
Studio = Any  # conftest.Studio: a conftest cannot be imported

GAINS = {"vocals": 0.4, "drums": 0.3, "other": 0.2, "bass": 0.1}
TRACKS = ["mix", "drums", "bass", "other", "vocals"]


@pytest.fixture
def made_of(studio: Studio) -> Callable[..., dict[str, Path]]:
    """Runs DELIVER; the files by their names."""

    def deliver_it(source: Path, gains: dict[str, float] = GAINS, **keys: Any) -> dict[str, Path]:
        outcome = deliver.run(studio.separated(source, gains, format="stem.m4a", **keys))
        assert isinstance(outcome, Finished)
        assert outcome.artifacts is not None
        return {Path(os.fsdecode(each.path)).name: Path(os.fsdecode(each.path)) for each in outcome.artifacts}

    return deliver_it


def probe(path: Path) -> dict[str, Any]:
    show = ["-show_format", "-show_streams", "-of", "json"]
    return dict(
        json.loads(subprocess.run(["ffprobe", "-v", "error", *show, path], capture_output=True, check=True).stdout)
    )


def samples(path: Path, track: int) -> np.ndarray:
    argv = ["ffmpeg", "-v", "error", "-i", path, "-map", f"0:a:{track}", "-ac", "2", "-f", "f32le", "-"]
    raw = subprocess.run(argv, capture_output=True, check=True).stdout
    return np.frombuffer(raw, "<f4").reshape(-1, 2).T


def inside(content: bytes, *names: bytes) -> list[bytes]:
    """The contents of all boxes on a path, by the letter of ISO 14496-12: 32-bit sizes are all that occurs here."""
    found, at = [], 0
    while at < len(content):
        size, name = struct.unpack_from(">I4s", content, at)
        assert size >= 8
        if name == names[0]:
            body = content[at + 8 : at + size]
            found += inside(body, *names[1:]) if names[1:] else [body]
        at += size
    assert at == len(content)
    return found


def test_it_holds_the_mix_and_four_stems_in_step(made_of: Any, made: Make, noise: np.ndarray) -> None:
    files = made_of(made("a.wav", "-c:a", "pcm_f32le"))
    assert set(files) == {"stems.stem.m4a", "manifest.json"}
    streams = probe(files["stems.stem.m4a"])["streams"]
    assert [(each["codec_name"], each["channels"]) for each in streams] == [("aac", 2)] * 5
    assert [each["tags"]["handler_name"] for each in streams] == TRACKS
    assert [each["disposition"]["default"] for each in streams] == [1, 0, 0, 0, 0]
    loudest = samples(files["stems.stem.m4a"], 0)
    for track, name in enumerate(TRACKS):
        found = samples(files["stems.stem.m4a"], track)[:, : noise.shape[1]]
        assert found.shape == noise.shape
        size = 2 * noise.shape[1]
        correlation = np.fft.irfft(np.fft.rfft(found[0], size) * np.conj(np.fft.rfft(noise[0], size)))
        assert int(np.argmax(correlation)) == 0
        assert found.std() / loudest.std() == pytest.approx(GAINS.get(name, 1.0), rel=0.02)
    told = json.loads(files["manifest.json"].read_bytes())["files"]
    assert [(file["stem"], file["tracks"]) for file in told] == [("stems", TRACKS)]


def test_players_find_names_and_colours_in_its_user_data(made_of: Any, made: Make) -> None:
    content = made_of(made("a.wav", "-c:a", "pcm_f32le"))["stems.stem.m4a"].read_bytes()
    (atom,) = inside(content, b"moov", b"udta", b"stem")
    told = json.loads(atom)
    assert told["version"] == 1
    assert [stem["name"] for stem in told["stems"]] == ["Drums", "Bass", "Other", "Vocals"]
    assert all(len(stem["color"]) == 7 and stem["color"].startswith("#") for stem in told["stems"])
    assert (told["mastering_dsp"]["compressor"]["enabled"], told["mastering_dsp"]["limiter"]["enabled"]) == (False,) * 2
    enabled = [head[3] & 1 for head in inside(content, b"moov", b"trak", b"tkhd")]
    assert enabled == [1, 0, 0, 0, 0]  # other players play the mix alone


def test_tags_and_cover_of_the_source_are_in_it(made_of: Any, made: Make, ffmpeg: Any, tmp_path: Path) -> None:
    ffmpeg("-f", "lavfi", "-i", "testsrc=s=32x32:d=1", "-frames:v", "1", tmp_path / "cover.png")
    source = tmp_path / "song.flac"
    ffmpeg("-i", made("a.wav", "-c:a", "pcm_f32le"), "-i", tmp_path / "cover.png", "-map", "0", "-map", "1",
           "-disposition:v", "attached_pic", "-metadata", "title=Warm", "-metadata", "artist=Air", source)  # fmt: skip
    files = made_of(source, names="{track}.{ext}")
    assert set(files) == {"song.stem.m4a", "song (manifest).json"}
    told = probe(files["song.stem.m4a"])
    assert (told["format"]["tags"]["title"], told["format"]["tags"]["artist"]) == ("Warm", "Air")
    assert [each["disposition"]["attached_pic"] for each in told["streams"]] == [0, 0, 0, 0, 0, 1]
    again = made_of(made("mono.flac", "-ac", "1"), names="{track}.{ext}")  # the same track's name once more
    assert probe(next(iter(again.values())))["streams"][0]["channels"] == 2


def test_a_second_one_keeps_its_double_extension(studio: Studio, made_of: Any, made: Make) -> None:
    source = made("a.wav", "-c:a", "pcm_f32le")
    made_of(source, names="{track}.{ext}")
    (studio.folder / "outbox.json").unlink()
    assert "song (2).stem.m4a" in made_of(source, names="{track}.{ext}")


def test_a_model_with_other_stems_is_refused_before_it_computes(studio: Studio) -> None:
    card = ModelCard("six", "d", ("drums", "bass", "other", "vocals", "guitar", "piano"), 44100, 2, 2.0)
    with pytest.raises(EnvironmentFault, match="six makes") as caught:
        separate.resolve(studio.work(format="stem.m4a").rule, card)
    assert caught.value.code == "unknown-stem"
