"""Bleed at known levels: found, located and told apart from what is none."""

from __future__ import annotations

import numpy as np
import pytest
import singing

from stemd.quality import decibel
from stemd.quality.bleed import BANDS, Fits, coherent, fitted, joined
from stemd.quality.compare import Comparison
from stemd.quality.estimate import (
    Estimate,
    coherence,
    envelope_correlation,
    estimate,
    reverse_share,
    steady,
    with_heavy,
)
from stemd.quality.pairing import pair
from stemd.quality.spectra import Spectra, size
from stemd.quality.windows import length

RATE = 22050
SECONDS = 10.0


@pytest.fixture(scope="module")
def voice() -> np.ndarray:
    return singing.voice(SECONDS, rate=RATE)


@pytest.fixture(scope="module")
def band() -> np.ndarray:
    return singing.band(SECONDS, rate=RATE)


def compared(voice: np.ndarray, other: np.ndarray, lag: int = 0, blocks: int = 44100) -> Comparison:
    pairing = pair(("vocals", "no_vocals"), None, None, with_mix=False)
    comparison = Comparison(RATE, voice.shape[1], pairing, ["no_vocals"], lag)
    for start in range(0, len(voice), blocks):
        part = slice(start, start + blocks)
        comparison.feed({"vocals": voice[part], "no_vocals": other[part]}, None)
    comparison.finish()
    return comparison


def found(voice: np.ndarray, other: np.ndarray) -> Estimate:
    return estimate(compared(voice, other).fits(0))


def test_clean_stems_score_low_with_and_without_the_band_in_the_vocal(voice, band) -> None:
    assert found(voice, band).score < -28
    assert found(voice + singing.at(band, band, -15), band).score < -28


@pytest.mark.parametrize("level", [-6.0, -12.0, -16.0])
def test_a_leak_is_measured_within_two_decibels(voice, band, level) -> None:
    assert found(voice, band + singing.at(voice, voice, level)).level == pytest.approx(level, abs=2.0)
    reversed_too = voice + singing.at(band, band, -20)
    assert found(reversed_too, band + singing.at(voice, voice, level)).level == pytest.approx(level, abs=2.0)


@pytest.mark.parametrize("level", [-3.0, -6.0, -9.0])
def test_a_heavy_leak_is_told_by_what_is_in_phase_under_the_vocal(voice, band, level) -> None:
    lift = compared(voice, band + singing.at(voice, voice, level)).lift
    assert lift.db == pytest.approx(level, abs=1.5)
    assert 10 * np.log10(np.mean(10 ** (lift.windows / 10))) == pytest.approx(lift.db, abs=0.1)


def test_ten_seconds_of_leak_in_three_minutes_are_found(voice, band) -> None:
    clean = compared(voice, band).fits(0)
    leaky = compared(voice, band + singing.at(voice, voice, -14)).fits(0)
    told = estimate(joined([*[clean] * 9, leaky, *[clean] * 9]))
    assert told.score == pytest.approx(-14, abs=2.5)
    assert told.level < -22
    assert estimate(joined([clean] * 19)).score < -28


def test_a_faint_leak_is_left_to_the_fits_that_tell_it_better(voice) -> None:
    assert compared(voice, singing.at(voice, voice, -13)).lift.db == pytest.approx(-13, abs=0.5)
    assert compared(voice, singing.at(voice, voice, -17)).lift.db is None


def test_stems_that_smear_into_each_other_are_heavy_bleed_where_fits_tell_nothing(voice, band) -> None:
    """As a weak network leaves them: everywhere some of both, more where either is the louder."""
    mix = voice + band
    smeared = 0.35 * mix + 0.3 * voice
    looked = compared(smeared, mix - smeared)
    told = with_heavy(estimate(looked.fits(0)), looked.lift.db, looked.lift.windows)
    assert told.score is not None
    assert told.score > -12


@pytest.mark.parametrize("reverse", [False, True])
def test_clean_stems_hold_no_heavy_leak(voice, band, reverse) -> None:
    other = singing.at(band, band, -15) if reverse else 0 * band
    assert compared(voice + other, band - other).lift.db is None


def test_an_instrument_on_the_singers_notes_is_none(voice, band) -> None:
    doubled = np.roll(voice, 331, axis=0)
    looked = compared(voice, band + singing.at(doubled, voice, -3)).lift
    assert abs(looked.agreement) < 0.3
    assert looked.db is None


def test_without_a_vocal_there_is_none(band) -> None:
    assert compared(0 * band, band).lift.db is None
    assert compared(singing.at(band, band, -20), band).lift.db is None


def test_more_leak_scores_higher_down_to_thirty_decibels_under_the_vocal(voice, band) -> None:
    scores = [found(voice, band + singing.at(voice, voice, level)).score for level in (-30, -25, -20, -15, -10)]
    assert scores == sorted(scores)
    assert scores[0] > found(voice, band).score + 6


def test_a_filtered_leak_is_found(voice, band) -> None:
    spectrum = np.fft.rfft(voice, axis=0)
    hertz = np.fft.rfftfreq(len(voice), 1 / RATE)[:, None]
    low = np.fft.irfft(spectrum * (hertz < 900), len(voice), axis=0).astype(np.float32)
    assert found(voice, band + singing.at(low, voice, -15)).score > -19


def test_a_leak_in_parts_is_located(voice, band) -> None:
    leak = singing.at(voice, voice, -10) * (np.arange(len(voice)) < len(voice) // 2)[:, None]
    curve = found(voice, band + leak.astype(np.float32)).curve
    half = len(curve) // 2
    assert (curve[:half] > -20).mean() > 0.5
    assert (curve[half + 1 :] > -20).mean() < 0.1


def test_a_late_leak_is_found_where_it_is(voice, band) -> None:
    lag = 301
    late = np.concatenate([np.zeros((lag, 2), dtype=np.float32), singing.at(voice, voice, -15)[:-lag]])
    assert compared(voice, band + late).lag == lag
    again = compared(voice, band + late, lag)
    assert again.lag == 0
    assert estimate(again.fits(0)).level == pytest.approx(-15, abs=2.0)
    assert compared(voice, band).lag == 0


@pytest.mark.parametrize("share", [0.3, 0.4, 0.5, 0.6])
def test_a_split_of_the_mix_has_no_lag_and_one_half_is_the_other_in_full(voice, band, share) -> None:
    """No bin of the vocal stem is much louder than the other's: nothing tells a lag."""
    mix = voice + band
    looked = compared((share * mix).astype(np.float32), ((1 - share) * mix).astype(np.float32))
    assert looked.lag == 0
    assert looked.apart.db == pytest.approx(decibel.of_amplitude(abs(2 - 1 / share)), abs=0.01)
    if share < 0.5:
        assert reverse_share(looked.fits(0)) == pytest.approx(1.0, abs=0.01)
    else:
        assert looked.lift.db == pytest.approx(decibel.of_amplitude(1 / share - 1), abs=0.01)


def test_stems_without_a_sound_in_common_are_apart(voice, band) -> None:
    assert compared(voice, band).apart.db > -1
    assert compared(voice + singing.at(band, band, -15), band + singing.at(voice, voice, -15)).apart.db > -3
    assert compared(voice, 0 * band).apart.db == pytest.approx(0.0, abs=0.01)
    assert compared(0 * voice, band).apart.db is None


def test_only_the_band_in_the_vocal_stem_is_no_bleed(band) -> None:
    assert found(singing.at(band, band, -40), band).score < -60


def test_only_noise_beside_the_voice_is_no_bleed(voice) -> None:
    noise = np.random.default_rng(1).standard_normal(voice.shape).astype(np.float32)
    assert found(voice, singing.at(noise, voice, -60)).score < -40


def test_neither_level_nor_blocks_matter(voice, band) -> None:
    other = band + singing.at(voice, voice, -15)
    whole = found(voice, other).level
    assert found(voice * np.float32(1e-3), other * np.float32(1e-3)).level == pytest.approx(whole, abs=0.05)
    assert estimate(compared(voice, other, blocks=7777).fits(0)).level == pytest.approx(whole, abs=0.05)


@pytest.mark.parametrize("frames", [1, 2, 100, 12000])
def test_short_and_silent_stems_give_an_answer(frames) -> None:
    nothing = np.zeros((frames, 1), dtype=np.float32)
    assert found(nothing, nothing).score is None
    tone = np.ones((frames, 1), dtype=np.float32)
    assert found(tone, nothing).score < -60
    assert found(nothing, tone).score is None


def test_the_fit_follows_the_quiet_bins_not_the_loud_ones() -> None:
    dice = np.random.default_rng(2)
    vocal = (dice.standard_normal((1, 200)) + 1j * dice.standard_normal((1, 200))).astype(np.complex64)
    other = 0.1 * vocal
    other[0, :60] += 5 * (dice.standard_normal(60) + 1j * dice.standard_normal(60))
    gain, evidence = fitted(vocal, np.abs(vocal) ** 2, other)
    assert gain[0] == pytest.approx(0.1, abs=0.01)
    assert evidence[0] > 0.2
    squares = abs((other * vocal.conj()).sum() / (np.abs(vocal) ** 2).sum())
    assert abs(squares - 0.1) > 0.05


def test_coherence_is_the_share_of_power_that_one_gain_explains() -> None:
    dice = np.random.default_rng(3)
    vocal, band = (
        (dice.standard_normal((1, 20_000)) + 1j * dice.standard_normal((1, 20_000))).astype(np.complex64)
        for _ in range(2)
    )
    power = np.abs(vocal) ** 2
    assert coherent(vocal, power, 0.3j * vocal)[0] == pytest.approx(1.0, abs=1e-4)
    assert coherent(vocal, power, vocal + 2 * band)[0] == pytest.approx(0.2, abs=0.02)
    assert coherent(vocal, power, band)[0] < 0.001
    assert coherent(vocal, power, 0 * band)[0] == 0


def test_coherence_of_a_song_counts_where_the_vocal_is_loud() -> None:
    voice, table = np.zeros((4, BANDS), dtype=np.float32), np.zeros((4, BANDS), dtype=np.float32)
    assert coherence(Fits(voice, table, table, table)) is None
    voice[0], voice[1] = 3.0, 1.0
    table[0] = 0.8
    assert coherence(Fits(voice, table, table, table)) == pytest.approx(0.6)


def test_a_single_block_does_not_pass_its_neighbours() -> None:
    gain = np.full((20, BANDS), 0.01, dtype=np.float32)
    gain[7, 3] = 0.5
    fits = Fits(np.ones_like(gain), gain, np.ones_like(gain), gain)
    assert steady(fits).max() == pytest.approx(2e-4, rel=1e-3)


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000, 96000])
def test_windows_hold_the_same_seconds_at_every_rate(rate) -> None:
    assert length(rate) / rate == pytest.approx(0.5, rel=0.02)
    assert size(rate) / rate == pytest.approx(0.093, rel=0.45)
    spectra = Spectra(rate, 1, 1)
    tone = np.sin(2 * np.pi * 1000 * np.arange(rate * 2) / rate).astype(np.float32)[:, None]
    batches = [batch for (batch,) in [*spectra.feed([tone]), *spectra.finish()]]
    assert sum(len(batch) for batch in batches) == -(-len(tone) // length(rate))
    assert np.abs(batches[0][1, 10, 0]).argmax() == pytest.approx(1000 * size(rate) / rate, abs=1)


def test_envelope_correlation_needs_enough_windows() -> None:
    curve = np.linspace(-40, -20, 20)
    assert envelope_correlation(curve, curve) == pytest.approx(1.0)
    assert envelope_correlation(curve, -60 - curve) == pytest.approx(-1.0)
    assert envelope_correlation(curve[:7], curve[:7]) is None
    assert envelope_correlation(curve, np.full(20, -30.0)) is None


def test_where_a_vocal_is_and_nothing_of_it_is_found_the_score_is_a_floor(voice) -> None:
    assert found(voice, np.zeros_like(voice)).score == found(voice, np.zeros_like(voice)).level == -80.0
