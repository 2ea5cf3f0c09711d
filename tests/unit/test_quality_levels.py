"""Levels and faults of one stem, whatever the blocks it comes in."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemd.quality.levels import LevelMeter
from stemd.quality.report import Levels
from stemd.quality.truepeak import _PHASES, TruePeak

RATE = 8000


def measured(sound: np.ndarray, blocks: int = 1000, rate: int = RATE, source: int | None = None) -> Levels:
    sound = np.asarray(sound, dtype=np.float32)
    sound = sound[:, None] if sound.ndim == 1 else sound
    meter = LevelMeter("stem", rate, sound.shape[1], len(sound))
    for start in range(0, len(sound), blocks):
        meter.feed(sound[start : start + blocks])
    return meter.finish(source)


def sine(frames: int, amplitude: float = 0.5, hertz: float = 440.0) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * hertz * np.arange(frames) / RATE)


def test_a_sine_of_half_scale_is_nine_decibels_below_full_scale() -> None:
    found = measured(sine(RATE * 2))
    assert found.rms_db == pytest.approx(-9.03, abs=0.01)
    assert found.peak_db == pytest.approx(-6.02, abs=0.01)
    assert found.clipped == 0
    assert not found.silent


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_blocks_do_not_matter(frames: int, blocks: int, seed: int) -> None:
    dice = np.random.default_rng(seed)
    about = ("rms_db", "true_peak_db", "dc", "dc_db")
    sound = np.clip(dice.standard_normal((frames, 2)), -1, 1).astype(np.float32)
    sound[dice.random(frames) < 0.01] = np.nan
    one, many = measured(sound, 4000).as_json(), measured(sound, blocks).as_json()
    assert {key: many[key] for key in many if key not in about} == {key: one[key] for key in one if key not in about}
    assert [many[key] for key in about] == [pytest.approx(one[key], abs=0.011) for key in about]


def test_clipping_counts_flat_tops_and_tells_where() -> None:
    found = measured(np.clip(sine(RATE * 2, 3.0, 100.0), -1, 1) * (np.arange(RATE * 2) >= RATE))
    assert found.clipping[0][0] == pytest.approx(1.0, abs=0.02)
    assert found.clipping[-1][1] == pytest.approx(2.0, abs=0.02)
    assert found.clipped == pytest.approx(RATE * (1 - 2 * math.asin(1 / 3) / math.pi), rel=0.02)


@pytest.mark.parametrize("run, clipped", [(1, 0), (2, 0), (3, 3), (7, 7)])
@pytest.mark.parametrize("blocks", [1, 2, 3, 5, 50])
def test_three_samples_at_full_scale_are_clipping_two_are_not(run: int, clipped: int, blocks: int) -> None:
    sound = np.zeros(100)
    sound[40 : 40 + run] = -1.0
    assert measured(sound, blocks).clipped == clipped


def test_float_overs_that_are_not_flat_are_no_clipping() -> None:
    found = measured(sine(RATE, 1.5, 50.0))
    assert found.over_full_scale > 0
    assert found.clipped == 0
    assert found.peak_db == pytest.approx(3.52, abs=0.01)


def test_dc_of_the_worst_channel() -> None:
    sound = np.stack([sine(RATE), sine(RATE) - 0.1], axis=1)
    assert measured(sound).dc == pytest.approx(-0.1, abs=1e-4)


def test_numbers_that_are_none_are_counted_located_and_left_out() -> None:
    sound = sine(RATE * 2)
    sound[4000:4100] = np.nan
    sound[12000] = np.inf
    sound[15000] = 1e30
    found = measured(sound)
    assert found.not_finite == 102
    assert [round(start, 2) for start, _ in found.not_finite_at] == [0.5, 1.5, 1.88]
    assert found.rms_db == pytest.approx(-9.03, abs=0.1)


def test_silence_is_told_in_ranges() -> None:
    sound = sine(RATE * 6)
    sound[RATE * 2 : RATE * 4] = 0
    (start, end), *others = measured(sound).silence
    assert (start, end) == (pytest.approx(2, abs=0.51), pytest.approx(4, abs=0.51))
    assert not others


@pytest.mark.parametrize("sound", [np.zeros(0), np.zeros(1), np.ones(1), np.full(5, np.nan), np.full(3, 3e38)])
def test_files_of_nearly_nothing_give_figures(sound: np.ndarray) -> None:
    found = measured(sound).as_json()
    assert found["frames"] == len(sound)
    assert all(not isinstance(value, float) or math.isfinite(value) for value in found.values())


def test_quiet_sound_is_measured_far_below_silence() -> None:
    found = measured(sine(RATE, 1e-7))
    assert found.rms_db == pytest.approx(-143.0, abs=0.1)
    assert found.silent


def test_missing_frames_are_the_sources_less_ones_own() -> None:
    assert measured(sine(100), source=120).missing_frames == 20
    assert measured(sine(100), source=90).missing_frames == -10


def test_true_peak_of_the_standard_case_lies_between_the_samples() -> None:
    """EBU Tech 3341, case 15 and after: a sine at a quarter of the rate, sampled off its peaks."""
    sound = 0.5 * np.sin(np.pi / 2 * np.arange(48000) + np.pi / 4)
    found = measured(sound, rate=48000)
    assert found.peak_db == pytest.approx(-9.03, abs=0.01)
    assert found.true_peak_db == pytest.approx(-6.0, abs=0.2)


@given(st.integers(0, 2**32 - 1), st.integers(1, 4000), st.integers(1, 900))
@settings(max_examples=15, deadline=None)
def test_true_peak_skips_nothing_that_matters(seed: int, frames: int, blocks: int) -> None:
    dice = np.random.default_rng(seed)
    sound = (dice.standard_normal((frames, 2)) * dice.random((frames, 1)) ** 4).astype(np.float32)
    peak = TruePeak(2)
    for start in range(0, frames, blocks):
        peak.feed(sound[start : start + blocks])
    peak.finish()
    whole = max(np.abs(np.convolve(sound[:, channel], phase)).max() for channel in (0, 1) for phase in _PHASES)
    assert peak.value == pytest.approx(max(whole, np.abs(sound).max()), rel=1e-5)
