"""NORMALISE with real files: what it takes stays in place to the sample; what it refuses, it refuses with reasons."""

from __future__ import annotations

import contextlib
import os
import pickle
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stemd import wav
from stemd.errors import EnvironmentFault, StemdError, Stopping
from stemd.formats.resampler import SWR
from stemd.stages import normalise

Make = Callable[..., Path]
Tool = Callable[..., None]
Studio = Any  # conftest.Studio: a conftest cannot be imported

LOSSLESS = {
    "a.wav": ("-c:a", "pcm_f32le"),
    "a24.wav": ("-c:a", "pcm_s24le"),
    "a.flac": ("-sample_fmt", "s32"),
    "a.aiff": ("-c:a", "pcm_s24be"),
    "a.w64": ("-c:a", "pcm_s24le"),
    "a.caf": ("-c:a", "pcm_s24le"),
    "alac.caf": ("-c:a", "alac"),
    "a.wv": (),
    "a.m4a": ("-c:a", "alac"),
    "a.mka": ("-c:a", "flac", "-sample_fmt", "s32"),
}
LOSSY = {
    "b.mp3": ("-b:a", "256k"),
    "vbr.mp3": ("-q:a", "2"),
    "b.m4a": ("-c:a", "aac", "-b:a", "256k"),
    "b.opus": ("-b:a", "192k"),
    "b.ogg": ("-c:a", "libvorbis", "-q:a", "7"),
    "b.webm": ("-c:a", "libopus", "-b:a", "192k"),
}


def lag(found: np.ndarray, wanted: np.ndarray) -> float:
    """By how many samples `found` is late, to a fraction of one."""
    size = 1 << (len(found) + len(wanted)).bit_length()
    spectrum = np.fft.rfft(found, size) * np.conj(np.fft.rfft(wanted, size))
    correlation = np.fft.irfft(spectrum)
    peak = int(np.argmax(correlation))
    before, at, after = (correlation[(peak + step) % size] for step in (-1, 0, 1))
    exact = peak + 0.5 * (before - after) / (before - 2 * at + after)
    return exact - size if exact > size / 2 else exact


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_sources_come_through_unchanged(studio: Studio, made: Make, noise: np.ndarray, name: str) -> None:
    mix = studio.normalised(made(name, *LOSSLESS[name]))
    assert mix.frames == mix.source_frames == noise.shape[1]
    assert mix.source.lossless
    assert mix.damage == ""
    assert np.abs(studio.mix() - noise).max() <= 2**-15  # wavpack keeps 16 bits less one here
    mono = noise.astype(np.float64).mean(axis=0)
    assert mix.mean == pytest.approx(mono.mean(), abs=1e-6)
    assert mix.deviation == pytest.approx(mono.std(ddof=1), rel=1e-4)
    assert mix.peak == pytest.approx(float(np.abs(noise).max()), abs=1e-4)


@pytest.mark.parametrize("name", LOSSY)
def test_lossy_sources_are_not_shifted(studio: Studio, made: Make, noise: np.ndarray, name: str) -> None:
    mix = studio.normalised(made(name, *LOSSY[name]))
    assert mix.frames == noise.shape[1]
    assert mix.source_frames == round(noise.shape[1] * mix.source.sample_rate / 44100)
    assert not mix.source.lossless
    for channel in range(2):
        assert abs(lag(studio.mix()[channel], noise[channel])) < 0.5


@pytest.mark.parametrize("coding", ["adpcm_ms", "adpcm_ima_wav", "adpcm_yamaha", "pcm_alaw"])
@pytest.mark.parametrize("name", ["packed.wav", "packed.w64"])
def test_packed_sound_in_a_wav_is_whole(studio: Studio, made: Make, tmp_path: Path, coding: str, name: str) -> None:
    source = made(f"{coding}-{name}", "-c:a", coding)
    mix = studio.normalised(source)
    assert mix.damage == ""
    assert mix.seconds == pytest.approx(3, abs=0.05)
    content = source.read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) * 2 // 3])
    for path in ("mix.json", "mix.wav"):
        (studio.folder / path).unlink()
    assert refused(studio, tmp_path / name).code == "truncated"


@pytest.mark.parametrize("rate", [8000, 22050, 48000, 96000, 192000])
def test_other_rates_are_resampled_in_place(studio: Studio, made: Make, noise: np.ndarray, rate: int) -> None:
    mix = studio.normalised(made(f"r{rate}.flac", "-ar", str(rate)))
    assert mix.source.sample_rate == rate
    assert mix.source_frames == round(3 * rate)
    assert mix.frames == noise.shape[1]
    found = studio.mix()
    assert abs(lag(found[0], noise[0])) < 0.1
    if rate >= 22050:
        assert np.abs(found - noise)[:, 500:-500].max() < 1e-3


def test_a_stream_that_goes_on_at_another_rate_is_whole(studio: Studio, made: Make, tmp_path: Path) -> None:
    first, second = made("r48000.ogg", "-ar", "48000"), made("b.ogg", *LOSSY["b.ogg"])
    (tmp_path / "chained.ogg").write_bytes(first.read_bytes() + second.read_bytes())
    mix = studio.normalised(tmp_path / "chained.ogg")
    assert mix.source_frames / 48000 == pytest.approx(6, abs=0.01)
    assert mix.seconds == pytest.approx(6, abs=0.01)
    assert np.abs(studio.mix()[:, -4410:-2205]).max() > 0.01


def tones(ffmpeg: Tool, folder: Path, channels: int, *options: str) -> tuple[Path, list[int]]:
    """A file with a tone of its own in each channel."""
    pitches = [400 + 150 * number for number in range(channels)]
    time = np.arange(44100) / 44100
    with wav.Writer(folder / "tones.wav", 44100, channels) as writer:
        writer.write(np.array([0.1 * np.sin(2 * np.pi * pitch * time) for pitch in pitches], dtype=np.float32))
    target = folder / "tones.mka"
    ffmpeg("-i", folder / "tones.wav", *options, "-c:a", "pcm_f32le", target)
    return target, pitches


def heard(mix: np.ndarray, pitches: list[int]) -> list[tuple[float, float]]:
    """How loud each tone is left and right, relative to how it was."""
    spectrum = np.abs(np.fft.rfft(mix, axis=1)) / (44100 / 2) / 0.1
    return [(float(spectrum[0, pitch]), float(spectrum[1, pitch])) for pitch in pitches]


@pytest.mark.parametrize(
    "channels, layout, silent",
    [
        (1, "mono", []),
        (3, "3.0", []),
        (4, "quad", []),
        (6, "5.1", [3]),
        (6, "5.1(side)", [3]),
        (8, "7.1", [3]),
        (7, "6.1", [3]),
    ],
)
def test_all_speakers_are_heard(
    studio: Studio, tmp_path: Path, channels: int, layout: str, silent: list[int], ffmpeg: Tool
) -> None:
    numbers = "|".join(map(str, range(channels)))
    source, pitches = tones(ffmpeg, tmp_path, channels, "-af", f"channelmap={numbers}:{layout}")
    mix = studio.normalised(source)
    assert mix.source.channels == channels
    for number, (left, right) in enumerate(heard(studio.mix(), pitches)):
        assert (max(left, right) < 0.01) == (number in silent)
    left, right = heard(studio.mix(), pitches)[0]
    assert left == pytest.approx(1, abs=0.01)
    assert right == pytest.approx(1 if channels == 1 else 0, abs=0.01)


@pytest.mark.parametrize("channels", [6, 10, 12])
def test_channels_without_labels_are_heard(studio: Studio, tmp_path: Path, channels: int, ffmpeg: Tool) -> None:
    _, pitches = tones(ffmpeg, tmp_path, channels)
    mix = studio.normalised(tmp_path / "tones.wav")  # its mask names no speaker
    assert mix.source.channels == channels
    quiet = [number for number, pair in enumerate(heard(studio.mix(), pitches)) if max(pair) < 0.05]
    assert quiet == ([3] if channels == 6 else [])


def test_a_video_gives_its_first_sound_and_another_if_asked(
    studio: Studio, made: Make, tmp_path: Path, ffmpeg: Tool
) -> None:
    video = tmp_path / "film.mkv"
    ffmpeg(
        "-f", "lavfi", "-i", "testsrc=s=64x64:d=3", "-f", "lavfi", "-i", "sine=f=300:d=3",
        "-f", "lavfi", "-i", "sine=f=900:d=3",
        "-map", "0", "-map", "1", "-map", "2", "-c:v", "mjpeg", "-c:a", "flac", video,
    )  # fmt: skip
    mix = studio.normalised(video)
    assert mix.source.video
    assert not mix.source.cover
    assert np.argmax(np.abs(np.fft.rfft(studio.mix()[0]))) == 900  # 300 Hz in 3 s
    with pytest.raises(StemdError) as caught:
        normalise.inspect(video, "film.mkv", stream=2)
    assert caught.value.code == "no-such-stream"
    assert normalise.inspect(video, "film.mkv", stream=1).stream == 1


@pytest.mark.parametrize("rate, channels", [(44100, 2), (48000, 2), (48000, 1), (96000, 6)])
def test_samples_that_are_no_sound_are_silent_and_counted_before_resampling(
    studio: Studio, tmp_path: Path, rate: int, channels: int
) -> None:
    tone = 0.1 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    faulty = np.stack([tone] * channels).astype(np.float32)
    faulty[0, rate // 4], faulty[-1, rate // 2], faulty[-1, rate // 2 + 9] = np.nan, np.inf, 1e30
    with wav.Writer(tmp_path / "faulty.wav", rate, channels) as writer:
        writer.write(faulty)
    mix = studio.normalised(tmp_path / "faulty.wav")
    assert mix.damage.startswith("3 samples were no sound")
    assert mix.peak < 1
    left = studio.mix()[0]
    wanted = 0.1 * np.sin(2 * np.pi * 440 * np.arange(44100) / 44100)
    wanted *= np.dot(left, wanted) / np.dot(wanted, wanted)  # six channels in two have another level
    assert np.count_nonzero(np.abs(left - wanted)[2000:-2000] > 0.01) < 60


@pytest.mark.parametrize("rate", [44100, 48000])
@pytest.mark.parametrize("scale", [2.0**23, 2.0**31])
@pytest.mark.parametrize("level", [0.5, 0.03])
def test_whole_numbers_written_as_floats_are_no_recording(
    studio: Studio, tmp_path: Path, rate: int, scale: float, level: float
) -> None:
    sound = level * scale * np.random.default_rng(1).standard_normal((2, rate))
    with wav.Writer(tmp_path / "scaled.wav", rate, 2) as writer:
        writer.write(sound.astype(np.float32))
    assert refused(studio, tmp_path / "scaled.wav").code == "damaged"


LATE = {
    "late.mkv": ("-c:v", "mpeg4", "-c:a", "flac"),
    "late.webm": ("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-c:a", "libvorbis"),
    "late.mp4": ("-c:v", "mpeg4", "-c:a", "aac", "-movflags", "+faststart"),
    "late.wmv": ("-c:v", "wmv2", "-c:a", "wmav2"),
}


@pytest.mark.parametrize("name", LATE)
def test_a_film_whose_sound_begins_late_is_whole(
    studio: Studio, made: Make, tmp_path: Path, ffmpeg: Tool, name: str
) -> None:
    film, noise = tmp_path / name, made("a.wav", *LOSSLESS["a.wav"])
    picture = ("-f", "lavfi", "-i", "testsrc=s=64x64:d=9")
    ffmpeg(*picture, "-itsoffset", "5", "-i", noise, *LATE[name], film)
    mix = studio.normalised(film)
    assert mix.damage == ""
    assert mix.seconds == pytest.approx(3, abs=0.06)
    assert mix.source.lead == pytest.approx(5, abs=0.06)
    content = film.read_bytes()
    (tmp_path / f"cut-{name}").write_bytes(content[: len(content) * 3 // 4])
    for path in ("mix.json", "mix.wav"):
        (studio.folder / path).unlink()
    assert refused(studio, tmp_path / f"cut-{name}").code == "truncated"


def test_tags_and_covers_are_seen(studio: Studio, made: Make, tmp_path: Path, ffmpeg: Tool) -> None:
    ffmpeg("-f", "lavfi", "-i", "testsrc=s=32x32:d=1", "-frames:v", "1", tmp_path / "cover.png")
    source = tmp_path / "tagged.mp3"
    ffmpeg(
        "-i", made("b.mp3", *LOSSY["b.mp3"]), "-i", tmp_path / "cover.png", "-map", "0", "-map", "1", "-c", "copy",
        "-disposition:v", "attached_pic", "-metadata", "title=Für Élise; a=b", "-metadata", "ARTIST=Ludwig", source,
    )  # fmt: skip
    mix = studio.normalised(source)
    assert mix.source.cover
    assert not mix.source.video
    assert mix.source.tags["title"] == "Für Élise; a=b"
    assert mix.source.tags["artist"] == "Ludwig"
    assert "encoder" not in mix.source.tags


def refused(studio: Studio, source: Path) -> StemdError:
    with pytest.raises(StemdError) as caught:
        normalise.run(studio.work(source, os.fsencode(source.name)))
    assert source.name in caught.value.message
    assert caught.value.hint
    assert not isinstance(caught.value, EnvironmentFault)
    assert sorted(path.name for path in studio.folder.iterdir()) == ["source"]
    return caught.value


def test_what_is_no_recording_is_refused(studio: Studio, tmp_path: Path) -> None:
    wanted = {
        "empty.wav": ("empty-file", b""),
        "text.mp3": ("not-audio", b"this is not music\n" * 50),
        "noise.mp3": ("not-audio", np.random.default_rng(1).bytes(200_000)),
        "zeros.wav": ("damaged", bytes(100_000)),
        "list.m3u8": ("not-audio", b"#EXTM3U\n#EXTINF:5,\n/etc/passwd\n"),
        "list.ffconcat": ("not-audio", b"ffconcat version 1.0\nfile source\n"),
        "page.wav": ("not-audio", b"<html><body>404</body></html>"),
        "head.wav": ("truncated", b"RIFF\xff\x00\x00\x00WAVE"),
    }
    for name, (code, content) in wanted.items():
        (tmp_path / name).write_bytes(content)
        assert refused(studio, tmp_path / name).code == code, name


def test_a_picture_and_a_silent_film_are_refused(studio: Studio, tmp_path: Path, ffmpeg: Tool) -> None:
    ffmpeg("-f", "lavfi", "-i", "testsrc=s=64x64:d=1", "-c:v", "mpeg4", tmp_path / "film.mp4")
    ffmpeg("-f", "lavfi", "-i", "testsrc=s=64x64:d=1", "-frames:v", "1", tmp_path / "picture.png")
    assert refused(studio, tmp_path / "film.mp4").code == "no-audio"
    assert refused(studio, tmp_path / "picture.png").code == "not-audio"


def test_a_track_without_any_sound_is_refused(studio: Studio, tmp_path: Path, ffmpeg: Tool) -> None:
    ffmpeg("-f", "lavfi", "-i", "anullsrc=d=1", "-af", "atrim=end_sample=0", tmp_path / "none.wav")
    assert refused(studio, tmp_path / "none.wav").code in {"no-audio", "truncated"}


CUT = {**LOSSLESS, **{name: LOSSY[name] for name in ("b.mp3", "b.m4a", "b.opus", "b.ogg", "b.webm")}}
CUT |= {"fast.m4a": ("-c:a", "aac", "-movflags", "+faststart"), "b.wma": ("-c:a", "wmav2"), "a.au": ()}


@pytest.mark.parametrize("name", CUT)
def test_a_cut_off_file_is_refused_with_what_is_there(studio: Studio, made: Make, tmp_path: Path, name: str) -> None:
    whole = made(name, *CUT[name]).read_bytes()
    source = tmp_path / f"cut-{name}"
    source.write_bytes(whole[: len(whole) * 2 // 3])
    fault = refused(studio, source)
    assert fault.code == "truncated"
    if name in {"a.wav", "a.flac", "b.mp3"}:
        assert "of the 3.0" in fault.message


def test_a_small_hole_is_told_and_a_large_one_refused(studio: Studio, made: Make, tmp_path: Path) -> None:
    whole = bytearray(made("a.flac", *LOSSLESS["a.flac"]).read_bytes())
    middle = len(whole) // 2
    whole[middle : middle + 2000] = bytes(2000)
    (tmp_path / "hole.flac").write_bytes(whole)
    assert "could not be decoded" in studio.normalised(tmp_path / "hole.flac").damage
    whole[len(whole) // 5 : len(whole) * 4 // 5] = bytes(len(whole) * 4 // 5 - len(whole) // 5)
    (tmp_path / "holes.flac").write_bytes(whole)
    for name in ("mix.json", "mix.wav"):
        (studio.folder / name).unlink()
    assert refused(studio, tmp_path / "holes.flac").code == "damaged"


def test_a_hole_in_an_mp3_is_told_from_a_cut(studio: Studio, made: Make, tmp_path: Path) -> None:
    whole = bytearray(made("b.mp3", *LOSSY["b.mp3"]).read_bytes())
    whole[40_000:45_000] = bytes(5000)
    (tmp_path / "hole.mp3").write_bytes(whole)
    assert "could not be decoded" in studio.normalised(tmp_path / "hole.mp3").damage


def test_a_recorders_unfinished_header_is_no_fault(
    studio: Studio, made: Make, tmp_path: Path, noise: np.ndarray
) -> None:
    for declared in (0, 0xFFFFFFFF):
        content = bytearray(made("a16.wav", "-c:a", "pcm_s16le", "-bitexact").read_bytes())
        at = content.index(b"data")
        content[at + 4 : at + 8] = struct.pack("<I", declared)
        (tmp_path / "live.wav").write_bytes(content)
        assert studio.normalised(tmp_path / "live.wav").frames == noise.shape[1]


def test_a_wav_whose_size_went_round_at_4_gib_is_not_taken_for_its_beginning(
    studio: Studio, made: Make, tmp_path: Path
) -> None:
    long = tmp_path / "long.wav"
    loud = struct.pack("<hhI", 300, -200, 0xFFFFFF00)  # sound that readers take for a chunk which they skip
    long.write_bytes(made("a16.wav", "-c:a", "pcm_s16le", "-bitexact").read_bytes() + loud)
    os.truncate(long, long.stat().st_size + 2**32)
    fault = refused(studio, long)
    assert fault.code == "truncated"
    assert "s are there of the 24" in fault.message


def test_a_variable_mp3_without_a_header_is_no_fault(studio: Studio, made: Make) -> None:
    mix = studio.normalised(made("bare.mp3", "-q:a", "5", "-write_xing", "0"))
    assert mix.source.duration is None
    assert mix.seconds == pytest.approx(3, abs=0.1)


def test_samples_that_are_no_numbers_become_silence(studio: Studio, tmp_path: Path) -> None:
    samples = np.full((2, 44100), 0.25, dtype=np.float32)
    samples[0, 100:110] = np.nan
    samples[1, 200] = np.inf
    with wav.Writer(tmp_path / "odd.wav", 44100, 2) as writer:
        writer.write(samples)
    mix = studio.normalised(tmp_path / "odd.wav")
    assert "11 samples" in mix.damage
    assert mix.peak == 0.25
    assert studio.mix()[0, 105] == 0


def test_silence_is_a_recording(studio: Studio, tmp_path: Path, ffmpeg: Tool) -> None:
    ffmpeg("-f", "lavfi", "-i", "anullsrc=d=1", tmp_path / "silence.wav")
    mix = studio.normalised(tmp_path / "silence.wav")
    assert (mix.mean, mix.deviation, mix.peak, mix.frames) == (0, 0, 0, 44100)


def test_a_single_sample_is_a_recording(studio: Studio, tmp_path: Path) -> None:
    with wav.Writer(tmp_path / "click.wav", 44100, 1) as writer:
        writer.write(np.full((1, 1), 0.5, dtype=np.float32))
    mix = studio.normalised(tmp_path / "click.wav")
    assert (mix.frames, mix.deviation, mix.mean) == (1, 0, 0.5)


def claims(seconds: float) -> bytes:
    """A WAV that promises more than it holds."""
    size = int(seconds * 176_400)
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 2, 44100, 176_400, 4, 16)
    ds64 = struct.pack("<4sIQQQI", b"ds64", 28, size + 100, size, size // 4, 0)
    return b"RF64\xff\xff\xff\xffWAVE" + ds64 + form + b"data\xff\xff\xff\xff" + bytes(200_000)


def test_a_file_that_claims_years_is_refused_before_anything_is_written(studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "years.wav").write_bytes(claims(3e7))
    assert refused(studio, tmp_path / "years.wav").code == "too-long"


def test_what_does_not_fit_now_waits(studio: Studio, made: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(normalise, "free_bytes", lambda _: 1_000_000)
    with pytest.raises(EnvironmentFault) as caught:
        normalise.run(studio.work(made("a.wav", *LOSSLESS["a.wav"])))
    assert caught.value.code == "state-full"


def test_a_bomb_without_a_length_stops_before_the_disk_is_full(
    studio: Studio, made: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(normalise, "_RESERVE", 2**60)
    monkeypatch.setattr(normalise, "_check_room", lambda *_: None)
    with pytest.raises(EnvironmentFault) as caught:
        normalise.run(studio.work(made("b.ogg", *LOSSY["b.ogg"])))
    assert caught.value.code == "state-full"
    assert sorted(path.name for path in studio.folder.iterdir()) == ["source"]


def test_stopping_leaves_nothing(studio: Studio, made: Make) -> None:
    studio.stop.set()
    with pytest.raises(Stopping):
        normalise.run(studio.work(made("a.wav", *LOSSLESS["a.wav"])))
    assert sorted(path.name for path in studio.folder.iterdir()) == ["source"]


def test_a_repeat_replaces_what_a_dead_try_left(studio: Studio, made: Make, noise: np.ndarray) -> None:
    (studio.folder / ".mix.wav.part").write_bytes(b"half")
    (studio.folder / "mix.wav").write_bytes(b"stale")
    for _ in range(2):
        assert studio.normalised(made("a.wav", *LOSSLESS["a.wav"])).frames == noise.shape[1]
    assert sorted(path.name for path in studio.folder.iterdir()) == ["mix.json", "mix.wav", "source"]


def test_a_missing_ffmpeg_is_the_environments_fault(
    studio: Studio, made: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = made("a.wav", *LOSSLESS["a.wav"])
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentFault) as caught:
        normalise.run(studio.work(source))
    assert caught.value.code == "tool-missing"
    (tmp_path / "ffprobe").symlink_to("/usr/bin/ffprobe")
    with pytest.raises(EnvironmentFault) as caught:
        normalise.run(studio.work(source))
    assert caught.value.code == "tool-missing"


@pytest.mark.parametrize("program", ["ffprobe", "ffmpeg"])
def test_a_program_that_the_sandbox_kills_is_no_fault_of_the_file(
    studio: Studio, made: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    killed = tmp_path / "bin" / program
    killed.parent.mkdir()
    killed.write_text("#!/bin/sh\nkill -SYS $$\n")
    killed.chmod(0o755)
    monkeypatch.setenv("PATH", f"{killed.parent}:{os.environ['PATH']}")
    with pytest.raises(EnvironmentFault) as caught:
        studio.normalised(made("sandboxed.flac"))
    assert caught.value.code == "tool-forbidden"


def test_the_daemon_loads_no_numpy_for_this() -> None:
    text = "import sys, stemd.stages.normalise, stemd.stages.deliver; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", text], check=False).returncode == 0


def test_names_that_are_not_utf8_are_shown(studio: Studio, tmp_path: Path) -> None:
    source = tmp_path / os.fsdecode(b"caf\xe9.wav")
    source.write_bytes(b"")
    with pytest.raises(StemdError, match=r"caf\N{REPLACEMENT CHARACTER}[.]wav"):
        normalise.run(studio.work(source, b"caf\xe9.wav"))


def test_copy_protection_is_told(studio: Studio, made: Make, tmp_path: Path) -> None:
    content = made("b.m4a", *LOSSY["b.m4a"]).read_bytes().replace(b"mp4a", b"drms")
    (tmp_path / "bought.m4p").write_bytes(content)
    assert refused(studio, tmp_path / "bought.m4p").code == "drm"


def test_an_absurd_sample_rate_is_no_sound(studio: Studio, tmp_path: Path) -> None:
    for rate in (1, 4_000_000_000):
        form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 2, rate, (rate * 4) % 2**32, 4, 16)
        head = b"RIFF" + struct.pack("<I", 80_036) + b"WAVE" + form + b"data" + struct.pack("<I", 80_000)
        (tmp_path / "odd.wav").write_bytes(head + bytes(80_000))
        assert refused(studio, tmp_path / "odd.wav").code in {"damaged", "not-audio"}


def test_a_file_without_an_end_is_given_up(studio: Studio, made: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(normalise, "_ENDLESS", -1.0)
    source = made("bare.mp3", "-q:a", "5", "-write_xing", "0")
    assert refused(studio, source).code == "too-long"


def test_without_soxr_ffmpegs_own_resampler_stays_in_place(
    studio: Studio, made: Make, noise: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(normalise, "resampler", lambda: SWR)
    studio.normalised(made("r48000.flac", "-ar", "48000"))
    found = studio.mix()
    assert abs(lag(found[0], noise[0])) < 0.1
    assert np.abs(found - noise)[:, 500:-500].max() < 1e-3


KILLED_WHILE_NORMALISING = """
import pickle, sys, threading
from stemd.model import ModelCard
from stemd.formats.resampler import SWR
from stemd.stages import normalise
from stemd.stages.work import Work
class Cards:
    def describe(self, model):
        return ModelCard(model, "d", ("vocals",), 44100, 2, 2.0)
job, rule, folder, results = pickle.loads(bytes.fromhex(sys.argv[1]))
print("ready", flush=True)
normalise.run(Work(job, rule, folder, results, Cards(), threading.Event(), lambda *_: print("at work", flush=True)))
"""


def test_a_killed_daemon_leaves_no_decoder_behind(studio: Studio, tmp_path: Path, ffmpeg: Tool) -> None:
    ffmpeg("-f", "lavfi", "-i", "anullsrc=d=900", "-c:a", "flac", tmp_path / "long.flac")
    work = studio.work(tmp_path / "long.flac")
    question = pickle.dumps((work.job, work.rule, work.folder, work.results)).hex()
    argv = [sys.executable, "-c", KILLED_WHILE_NORMALISING, question]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as daemon:
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == b"ready\n"
        assert daemon.stdout.readline() == b"at work\n"
        assert still_at(studio.folder)
        daemon.kill()
    deadline = time.monotonic() + 30
    while still_at(studio.folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not still_at(studio.folder)
    assert not (studio.folder / "mix.wav").exists()


def still_at(folder: Path) -> list[bytes]:
    """The command lines that name the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                line = (entry / "cmdline").read_bytes()
                if os.fsencode(folder) in line and b"ffmpeg" in line:
                    found.append(line)
    return found
