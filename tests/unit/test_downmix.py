"""Every layout that ffmpeg knows becomes stereo and mono without losing a voice."""

from __future__ import annotations

import subprocess

import pytest

from stemd.formats import gains, pan
from stemd.formats.downmix import _LAYOUTS


def known_layouts() -> dict[str, list[str]]:
    """As this machine's ffmpeg lists them."""
    text = subprocess.run(["ffmpeg", "-hide_banner", "-layouts"], capture_output=True, text=True, check=True).stdout
    table = text.split("Standard channel layouts:")[1].splitlines()[2:]
    rows = [line.split() for line in table if line.strip()]
    return {name: speakers.split("+") for name, speakers in rows}


def test_the_table_agrees_with_ffmpegs() -> None:
    for name, speakers in known_layouts().items():
        assert _LAYOUTS[name].split() == speakers, name


@pytest.mark.parametrize("layout", sorted(_LAYOUTS))
def test_no_voice_is_lost(layout: str) -> None:
    speakers = _LAYOUTS[layout].split()
    mix = gains(layout, len(speakers), 2)
    if len(speakers) == 2:
        assert mix is None
        return
    assert mix is not None
    left, right = mix
    for speaker, a, b in zip(speakers, left, right, strict=True):
        if speaker.startswith("LFE"):
            assert (a, b) == (0, 0)
        else:
            assert a**2 + b**2 >= 0.49, speaker
        if speaker.endswith("L"):
            assert a >= b
        if speaker.endswith("R"):
            assert b >= a
    mono = gains(layout, len(speakers), 1)
    assert mono is None or all(gain > 0 for s, gain in zip(speakers, mono[0], strict=True) if "LFE" not in s)


@pytest.mark.parametrize("channels", [3, 4, 5, 6, 7, 8, 9, 10, 16, 24, 33])
@pytest.mark.parametrize("layout", ["", "unknown", "channels"])
def test_unlabelled_channels_are_all_heard_but_the_usual_place_of_low_frequencies(channels: int, layout: str) -> None:
    mix = gains(layout, channels, 2)
    assert mix is not None
    silent = [at for at in range(channels) if not mix[0][at] and not mix[1][at]]
    assert silent == ([3] if channels in {6, 7, 8} else [])


def test_mono_is_doubled_and_stereo_averaged() -> None:
    assert gains("mono", 1, 2) == [(1,), (1,)]
    assert gains("stereo", 2, 1) == [(0.5, 0.5)]
    assert gains("2 channels", 2, 2) is None


def test_ambisonics_face_left_and_right() -> None:
    mix = gains("ambisonic 1", 4, 2)
    assert mix == [(0.5, 0.5, 0.0, 0.0), (0.5, -0.5, 0.0, 0.0)]
    assert pan(mix) == "pan=stereo|c0=0.500000000*c0+0.500000000*c1|c1=0.500000000*c0-0.500000000*c1"


def test_lone_low_frequencies_are_heard() -> None:
    assert gains("LFE", 1, 2) == [(1,), (1,)]


def test_a_list_of_speakers_is_understood() -> None:
    assert gains("3 channels (FL+FR+LFE)", 3, 2) == gains("2.1", 3, 2)
