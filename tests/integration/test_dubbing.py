"""remux = true: a film with its picture untouched, the accompaniment as its first sound, the original as its second."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stemd.config import ConfigError, load
from stemd.errors import StemdError
from stemd.files import read_fact
from stemd.formats.film import film
from stemd.inbox import stat_of
from stemd.model import Finished, Mix, Retry, Stage
from stemd.stages import deliver, retire

Make = Callable[..., Path]
Studio = Any  # conftest.Studio: a conftest cannot be imported
GAINS = {"vocals": 0.5, "no_vocals": 0.5}
RATE = 48_000


def probe(path: Path, *what: str) -> dict[str, Any]:
    argv = [
        "ffprobe",
        "-v",
        "error",
        *(what or ("-show_format", "-show_streams", "-show_chapters")),
        "-of",
        "json",
        path,
    ]
    return dict(json.loads(subprocess.run(argv, capture_output=True, check=True).stdout))


def picture(path: Path) -> list[str]:
    """A checksum of each packet of the picture, as it lies in the container."""
    argv = ["ffmpeg", "-v", "error", "-i", path, "-map", "0:v:0", "-c", "copy", "-f", "framemd5", "-"]
    lines = subprocess.run(argv, capture_output=True, check=True, text=True).stdout.splitlines()
    return [line.rpartition(",")[2].strip() for line in lines if not line.startswith("#")]


def beginning(path: Path) -> float:
    """Seconds from the film's beginning to its first picture."""
    told = probe(path)
    (start,) = (each["start_time"] for each in told["streams"] if each["codec_type"] == "video")
    return float(start) - float(told["format"]["start_time"])


def sound(path: Path, track: int) -> np.ndarray:
    """A track's first channel from the film's beginning on, silence where it has none."""
    argv = [
        "ffmpeg", "-v", "error", "-i", path, "-map", f"0:a:{track}",
        "-af", "aresample=async=1:first_pts=0,pan=mono|c0=c0", "-ar", str(RATE), "-f", "f32le", "-",
    ]  # fmt: skip
    return np.frombuffer(subprocess.run(argv, capture_output=True, check=True).stdout, "<f4")


def lag(late: np.ndarray, early: np.ndarray) -> int:
    """By how many samples the first comes after the second."""
    size = len(late) + len(early)
    found = int(np.argmax(np.fft.irfft(np.fft.rfft(late, size) * np.conj(np.fft.rfft(early, size)), size)))
    return found - size if found > size // 2 else found


@pytest.fixture(scope="session")
def films(made: Make, ffmpeg: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a film of 3.2 s whose sound, 3 s of noise, begins after `late` seconds."""
    folder = tmp_path_factory.mktemp("films")

    def make(name: str, *options: str, late: float = 0.0, inputs: tuple[str | Path, ...] = ()) -> Path:
        target = folder / name
        if not target.exists():
            tail = ("-map", "0:v", "-map", "1:a", *(["-map", "2"] if inputs else []))
            ffmpeg("-f", "lavfi", "-i", "testsrc2=s=160x120:r=25:d=3.2", "-itsoffset", str(late), "-i",
                   made("a.wav", "-c:a", "pcm_f32le"), *inputs, *tail, *options, target)  # fmt: skip
        return target

    return make


@pytest.fixture
def dubbed(studio: Studio) -> Callable[..., Path]:
    """Delivers a film by a rule with remux; the path of what came of it."""

    def deliver_it(source: Path, *, narration: Path | None = None, **keys: Any) -> Path:
        work = studio.separated(source, GAINS, remux=True, settle=0.01, **keys)
        work = replace(work, job=replace(work.job, name=b"film" + os.fsencode(source.suffix)))
        if narration is not None:
            (studio.root / "in/film.narration.wav").write_bytes(narration.read_bytes())
            assert isinstance(deliver.run(work), Retry)
            work.stop.wait(0.05)
        outcome = deliver.run(work)
        assert isinstance(outcome, Finished)
        (video,) = (studio.outbox / "film").glob("video.*")
        assert os.fsencode(video) in {artifact.path for artifact in outcome.artifacts or ()}
        return video

    return deliver_it


X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "2")
VP8 = ("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8")


@pytest.mark.parametrize(
    "name, options, late, kind, codecs, off",
    [
        ("a.mp4", (*X264, "-c:a", "aac"), 0.0, "mp4", ["aac", "aac"], 1),
        ("b.mp4", (*X264, "-c:a", "aac"), 0.52, "mp4", ["aac", "aac"], 60),  # the muxer counts in milliseconds
        ("c.mov", ("-c:v", "mpeg4", "-c:a", "pcm_s16le"), 0.0, "mov", ["aac", "pcm_s16le"], 1),
        ("d.mkv", (*X264, "-c:a", "aac"), 0.52, "mkv", ["flac", "aac"], 60),
        ("e.webm", (*VP8, "-c:a", "libopus"), 0.0, "webm", ["vorbis", "vorbis"], 60),
        ("f.avi", ("-c:v", "mpeg4", "-c:a", "mp3"), 0.0, "mkv", ["flac", "mp3"], 60),
        ("g.ts", (*X264, "-c:a", "mp2"), 0.0, "mkv", ["flac", "mp2"], 60),
        ("h.flv", ("-c:v", "flv1", "-c:a", "nellymoser", "-ar", "22050", "-ac", "1"), 0.0, "mkv", ["flac", "flac"], 60),
    ],
)
def test_picture_and_sounds_stay_in_step(  # noqa: PLR0917 - a table's columns
    dubbed: Any, films: Any, name: str, options: tuple[str, ...], late: float, kind: str, codecs: list[str], off: int
) -> None:
    source = films(name, *options, late=late)
    video = dubbed(source)
    assert video.name == f"video.{kind}"
    told = probe(video)
    sounds = [stream for stream in told["streams"] if stream["codec_type"] == "audio"]
    assert [stream["codec_name"] for stream in sounds] == codecs
    assert [stream["disposition"]["default"] for stream in sounds] == [1, 0]
    assert float(told["format"]["duration"]) == pytest.approx(float(probe(source)["format"]["duration"]), abs=0.06)
    assert len(picture(video)) == 80
    if name != "g.ts":  # a transport stream frames each picture anew
        assert picture(video) == picture(source)
    first, second, before = sound(video, 0), sound(video, 1), sound(source, 0)
    assert abs(lag(first, second)) <= off
    shift = lag(second, before)
    assert abs(lag(first, before) - shift) <= off
    assert shift / RATE == pytest.approx(beginning(video) - beginning(source), abs=0.002)  # the picture moved along
    inner = slice(int((late + 0.2) * RATE), int((late + 2.8) * RATE))
    assert first[inner].std() / second[inner].std() == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_what_follows_a_gap_in_the_sound_stays_in_step(dubbed: Any, films: Any, studio: Studio, rate: int) -> None:
    gap = ("-af", "aselect='not(between(t,1,1.5))'", "-ar", str(rate))
    source = films(f"gap{rate}.mkv", *X264, *gap, "-c:a", "pcm_s16le")
    video = dubbed(source)
    mix = read_fact(studio.folder / "mix.json", Mix)
    assert "could not be decoded and are silent now" in mix.damage
    assert mix.seconds == pytest.approx(3, abs=0.002)
    first, second = sound(video, 0), sound(video, 1)
    for start in (0.1, 1.7):
        part = slice(int(start * RATE), int((start + 0.8) * RATE))
        assert abs(lag(first[part], second[part])) <= 60
    assert np.abs(first[int(1.1 * RATE) : int(1.4 * RATE)]).max() < 1e-3


@pytest.mark.parametrize("name, kind", [("s.mp4", "mov_text"), ("s.mkv", "ass"), ("s.webm", "webvtt")])
def test_subtitles_chapters_and_tags_are_kept(dubbed: Any, films: Any, tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / "s.srt").write_text("1\n00:00:00,500 --> 00:00:01,500\nHello\n")
    (tmp_path / "c.txt").write_text(
        ";FFMETADATA1\ntitle=Warm\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=1500\ntitle=One\n"
        "[CHAPTER]\nTIMEBASE=1/1000\nSTART=1500\nEND=3200\ntitle=Two\n"
    )
    inputs = ("-i", tmp_path / "s.srt", "-i", tmp_path / "c.txt")
    coded = (*VP8, "-c:a", "libvorbis") if kind == "webvtt" else (*X264, "-c:a", "aac")
    told = probe(dubbed(films(name, *coded, "-c:s", kind, "-map_metadata", "3", inputs=inputs)))
    assert told["streams"][3]["codec_name"] == kind
    assert [stream["codec_type"] for stream in told["streams"]][:4] == ["video", "audio", "audio", "subtitle"]
    assert [chapter["tags"]["title"] for chapter in told["chapters"]] == ["One", "Two"]
    assert told["format"]["tags"]["title"] == "Warm"


@pytest.mark.parametrize("late", [0.0, 0.8])
def test_the_manifest_tells_where_in_the_film_the_stems_begin(
    studio: Studio, dubbed: Any, films: Any, late: float
) -> None:
    source = films(f"lead{late}.mp4", *X264, "-c:a", "aac", late=late)
    stems = dubbed(source, format="flac", sample_rate=RATE).parent
    lead = json.loads((stems / "manifest.json").read_bytes())["source"]["lead"]
    assert lag(sound(source, 0), sound(stems / "vocals.flac", 0)) == pytest.approx(lead * RATE, abs=1)
    assert lead == pytest.approx(late, abs=0.03)


def test_it_stands_in_the_manifest_beside_the_stems(studio: Studio, dubbed: Any, films: Any) -> None:
    video = dubbed(films("a.mp4", *X264, "-c:a", "aac"), format="flac", sample_rate=16000, channels=1)
    files = json.loads((video.parent / "manifest.json").read_bytes())["files"]
    assert [(file.get("stem"), file.get("kind"), file["name"]) for file in files] == [
        ("vocals", None, "vocals.flac"), ("no_vocals", None, "no_vocals.flac"), (None, "video", "video.mp4"),
    ]  # fmt: skip
    assert files[2]["tracks"] == ["accompaniment", "original"]
    assert files[2]["size"] == video.stat().st_size
    sounds = [stream for stream in probe(video)["streams"] if stream["codec_type"] == "audio"]
    assert (sounds[0]["sample_rate"], sounds[0]["channels"]) == ("44100", 2)  # the film's own, not the stems'
    before = video.stat()
    (studio.folder / "outbox.json").unlink()
    assert isinstance(
        deliver.run(studio.work(name=b"film.mp4", remux=True, format="flac", sample_rate=16000, channels=1)), Finished
    )
    assert (studio.outbox / "film (2)/video.mp4").stat().st_size == before.st_size  # kept, not made again


@pytest.fixture
def speech(ffmpeg: Any, tmp_path: Path) -> Path:
    """Speaks from 1.0 s to 2.0 s of 4 s, mono at 22,050 Hz: a tone at -20 dBFS (RMS)."""
    target = tmp_path / "speech.wav"
    tone = "sine=f=3000:r=22050:d=4,volume='0.8*8/5.656854*gte(t,1)*lt(t,2)':eval=frame"
    ffmpeg("-f", "lavfi", "-i", tone, target)
    return target


def level(samples: np.ndarray, start: float, end: float) -> float:
    return float(20 * np.log10(samples[int(start * RATE) : int(end * RATE)].std()))


def test_a_narrator_speaks_over_music_that_steps_back(dubbed: Any, films: Any, speech: Path, studio: Studio) -> None:
    video = dubbed(films("a.mp4", *X264, "-c:a", "aac"), narration=speech, bitrate=512)
    found, music = sound(video, 0), sound(video, 1) * 0.5
    spectrum = np.fft.rfft(found[int(1.3 * RATE) : int(1.8 * RATE)])
    frequency = np.fft.rfftfreq(int(0.5 * RATE), 1 / RATE)
    tone = np.abs(frequency - 3000) < 30
    spoken = 20 * np.log10(np.sqrt(2 * (np.abs(spectrum[tone]) ** 2).sum()) / (0.5 * RATE))
    assert spoken == pytest.approx(-20, abs=1.0)
    below = np.fft.irfft(np.where(tone, 0, spectrum))
    ducked = 20 * np.log10(below.std()) - level(music, 1.3, 1.8)
    assert ducked == pytest.approx(-14, abs=1.0)
    assert level(found, 0.2, 0.9) == pytest.approx(level(music, 0.2, 0.9), abs=0.3)
    assert level(found, 2.6, 2.9) == pytest.approx(level(music, 2.6, 2.9), abs=0.6)  # it has come back
    told = json.loads((video.parent / "manifest.json").read_bytes())["files"][-1]
    assert told["tracks"] == ["accompaniment and narration", "original"]
    assert len(found) / RATE == pytest.approx(3.2, abs=0.03)  # the narrator may speak to the film's end, not beyond
    assert not list((studio.outbox / "film").glob("*narration*"))


def test_a_narration_goes_with_its_film_and_is_no_recording(
    studio: Studio, dubbed: Any, films: Any, speech: Path
) -> None:
    source = films("a.mp4", *X264, "-c:a", "aac")
    dubbed(source, narration=speech)
    saved = studio.root / "in/film.mp4"
    saved.write_bytes(source.read_bytes())
    facts = {"stat": stat_of(saved.lstat()), "sha256": "", "stage": Stage.RETIRE}
    assert isinstance(retire.run(studio.work(name=b"film.mp4", job=facts, remux=True)), Finished)
    assert {path.name for path in (studio.root / "in/_done").iterdir()} == {"film.mp4", "film.narration.wav"}


def test_a_narration_that_is_no_sound_is_named(dubbed: Any, films: Any, tmp_path: Path) -> None:
    (tmp_path / "n.wav").write_bytes(b"no sound at all" * 99)
    with pytest.raises(StemdError, match=r"the narration of film\.mp4"):
        dubbed(films("a.mp4", *X264, "-c:a", "aac"), narration=tmp_path / "n.wav")


@pytest.mark.parametrize("coding", ["pcm_s16le", "flac"])
def test_a_narration_that_is_cut_off_is_not_mixed_in(
    dubbed: Any, films: Any, speech: Path, ffmpeg: Any, tmp_path: Path, studio: Studio, coding: str
) -> None:
    whole = tmp_path / "whole.mka"
    ffmpeg("-i", speech, "-c:a", coding, "-f", "flac" if coding == "flac" else "wav", whole)
    cut = tmp_path / "cut.wav"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(StemdError, match=r"the narration of film\.mp4 is cut off: .* of 4\.0 s are there") as caught:
        dubbed(films("a.mp4", *X264, "-c:a", "aac"), narration=cut)
    assert caught.value.code == "truncated"
    assert not list(studio.outbox.iterdir())


def test_a_recording_without_picture_gives_stems_only(studio: Studio, made: Make) -> None:
    outcome = deliver.run(studio.separated(made("a.wav", "-c:a", "pcm_f32le"), GAINS, remux=True))
    assert isinstance(outcome, Finished)
    assert "no picture" in outcome.note
    assert {path.name for path in (studio.outbox / "song").iterdir()} == {
        "vocals.wav", "no_vocals.wav", "manifest.json",
    }  # fmt: skip


def test_what_a_container_cannot_hold_goes_to_matroska(films: Any, ffmpeg: Any, tmp_path: Path) -> None:
    source = films("a.mp4", *X264, "-c:a", "aac")
    odd = tmp_path / "odd.mp4"
    ffmpeg("-i", source, "-c:v", "copy", "-c:a", "libvorbis", "-strict", "-2", odd)
    seen = film(odd, 0)
    assert seen is not None
    assert (seen.container, seen.coding) == ("mkv", "flac")


def test_a_film_needs_its_accompaniment(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        '[[rule]]\nname = "a"\ninbox = "in"\noutbox = "out"\nstems = ["vocals"]\nremux = true\n'
    )
    with pytest.raises(ConfigError, match='add "no_vocals" to stems'):
        load(tmp_path / "config.toml")
