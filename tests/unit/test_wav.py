"""WAV and RF64: read and written in blocks, opened by everybody, the same bytes for the same audio."""

from __future__ import annotations

import os
import struct

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from stemd import wav
from stemd.errors import StemdError


def noise(channels: int, frames: int) -> np.ndarray:
    return np.random.default_rng(frames).standard_normal((channels, frames)).astype(np.float32)


def written(path, audio, blocks=(), rate=44100):
    with wav.Writer(path, rate, len(audio)) as writer:
        for part in np.split(audio, blocks, axis=1):
            writer.write(part)
    return path


@settings(max_examples=25, deadline=None)
@given(channels=st.integers(1, 6), frames=st.integers(0, 3000), cuts=st.lists(st.integers(0, 3000), max_size=4))
def test_what_is_written_in_blocks_is_read_back_by_us_and_by_libsndfile(tmp_path_factory, channels, frames, cuts):
    audio = noise(channels, frames)
    path = written(tmp_path_factory.mktemp("wav") / "a.wav", audio, sorted(min(cut, frames) for cut in cuts))
    with wav.Reader(path) as reader:
        assert (reader.sample_rate, reader.channels, reader.frames) == (44100, channels, frames)
        np.testing.assert_array_equal(reader.read(0, frames), audio)
        np.testing.assert_array_equal(reader.read(frames // 3, frames // 2), audio[:, frames // 3 : frames // 2])
    if frames:
        theirs, rate = soundfile.read(path, dtype="float32", always_2d=True)
        np.testing.assert_array_equal(theirs.T, audio)
        assert rate == 44100


def test_equal_audio_gives_equal_bytes_whatever_the_blocks(tmp_path):
    audio = noise(2, 5000)
    one = written(tmp_path / "one.wav", audio).read_bytes()
    assert one == written(tmp_path / "other.wav", audio, [1, 17, 4000]).read_bytes()
    assert one[:4] == b"RIFF"
    assert b"PEAK" not in one[:200]


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("container", ["WAV", "WAVEX", "RF64"])
def test_every_usual_format_is_read_as_libsndfile_reads_it(tmp_path, subtype, container):
    audio = np.clip(noise(2, 1001) * 0.2, -1, 1)
    soundfile.write(tmp_path / "a.wav", audio.T, 48000, subtype=subtype, format=container)
    with wav.Reader(tmp_path / "a.wav") as reader:
        got = reader.read(0, reader.frames)
    theirs, _ = soundfile.read(tmp_path / "a.wav", dtype="float32", always_2d=True)
    np.testing.assert_allclose(got, theirs.T, atol=1e-7)


def test_past_four_gib_it_is_rf64_and_whole(tmp_path, monkeypatch):
    """The file is sparse: 4.5 GB of silence between two sounds cost no disk."""
    path, audio = tmp_path / "long.wav", noise(2, 1000)
    frames = 4_500_000_000 // 8
    with wav.Writer(path, 44100, 2) as writer:
        writer.write(audio)
        gap = frames - 2000
        os.lseek(writer._fd, gap * 8, os.SEEK_CUR)
        writer.frames += gap
        writer.write(audio)
    with path.open("rb") as opened:
        head = opened.read(100)
    assert head[:4] == b"RF64"
    assert head[12:16] == b"ds64"
    with wav.Reader(path) as reader:
        assert reader.frames == frames
        np.testing.assert_array_equal(reader.read(frames - 1000, frames), audio)
    with soundfile.SoundFile(path) as theirs:
        assert theirs.frames == frames
        theirs.seek(frames - 1000)
        np.testing.assert_array_equal(theirs.read(dtype="float32").T, audio)


def test_the_container_changes_exactly_where_a_wav_is_full():
    assert wav._head(44100, 2, (2**32 - 1 - 100) // 8)[:4] == b"RIFF"
    assert wav._head(44100, 2, 2**32 // 8)[:4] == b"RF64"
    assert len(wav._head(44100, 2, 0)) == len(wav._head(44100, 2, 2**32))


def test_a_streamed_header_without_a_length_means_all_there_is(tmp_path):
    path = written(tmp_path / "a.wav", noise(2, 100))
    raw = bytearray(path.read_bytes())
    place = raw.index(b"data") + 4
    for size in (0xFFFFFFFF, 0):
        raw[place : place + 4] = struct.pack("<I", size)
        path.write_bytes(raw)
        with wav.Reader(path) as reader:
            assert reader.frames == 100
    os.truncate(path, place + 4 + 2**32 + 800)
    with wav.Reader(path) as reader:
        assert reader.frames == 2**29 + 100


@pytest.mark.parametrize("content", [b"", b"RIFF", b"hello, this is text and no sound at all", b"RIFF\0\0\0\0WAVEfmt "])
def test_what_is_no_wav_is_refused(tmp_path, content):
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(StemdError) as caught:
        wav.Reader(tmp_path / "a.wav")
    assert caught.value.code == "not-a-wav"


def test_a_file_that_shrinks_while_it_is_read_is_told(tmp_path):
    path = written(tmp_path / "a.wav", noise(2, 1000))
    with wav.Reader(path) as reader:
        os.truncate(path, 2000)
        with pytest.raises(StemdError) as caught:
            reader.read(0, 1000)
    assert caught.value.code == "truncated"


def test_names_need_not_be_utf8(tmp_path):
    path = written(tmp_path / os.fsdecode(b"caf\xe9.wav"), noise(1, 10))
    with wav.Reader(path) as reader:
        assert reader.frames == 10


def test_an_existing_file_is_never_overwritten(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        wav.Writer(tmp_path / "a.wav", 44100, 2)
    assert (tmp_path / "a.wav").read_bytes() == b"mine"
