"""The embedded model separates the built-in song, through Demucs's own API and through stemd's engine."""

import hashlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from demucs.api import Separator
from demucs.htdemucs import HTDemucs
from numpy.typing import NDArray

from stemd import demo, engine

TRUE = Path(__file__).resolve().parents[1] / "fixtures" / "demo-song"
RATE = 44_100
GAP = slice(8 * RATE, 15 * RATE)
"""Nobody sings from 7.53 s to 15.02 s; the first half second belongs to the reverberation."""

LEAST = {"vocals": 6.2, "no_vocals": 9.3}
"""SDR in dB on the downmix to one channel: what was measured, less 1 dB. The mixture itself has -3.1 and 3.1."""
MOST_SUM_ERROR, MOST_IN_GAP = -22.4, -19.8
"""dB below the mixture: what was measured, plus 1 dB."""

Sound = NDArray[np.float32]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Compute in one thread, so that a busy machine changes nothing."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def separated() -> tuple[Sound, dict[str, Sound]]:
    """The song and its four stems as Demucs separates them, (2, frames)."""
    mixture, stems = Separator(model=demo.MODEL, repo=demo.FOLDER, shifts=0, device="cpu").separate_audio_file(
        demo.SONG
    )
    return mixture.numpy(), {name: stem.numpy() for name, stem in stems.items()}


def true_vocals() -> Sound:
    """Return the true vocals, (frames,)."""
    return soundfile.read(TRUE / "vocals.flac", dtype="float32")[0]


def sdr(reference: Sound, estimate: Sound) -> float:
    """Return the signal-to-distortion ratio in dB."""
    wide, other = reference.astype(np.float64), estimate.astype(np.float64)
    return float(10 * np.log10(np.square(wide).sum() / np.square(wide - other).sum()))


def level(sound: Sound, reference: Sound) -> float:
    """Return a sound's RMS relative to another's in dB."""
    return float(
        10 * np.log10(np.square(sound, dtype=np.float64).mean() / np.square(reference, dtype=np.float64).mean())
    )


def check(mixture: Sound, vocals: Sound) -> None:
    """Compare stereo vocals, and what remains without them, with the true ones."""
    true, mono = true_vocals(), mixture.mean(0)
    assert sdr(true, vocals.mean(0)) >= LEAST["vocals"]
    assert sdr(mono - true, mono - vocals.mean(0)) >= LEAST["no_vocals"]


def test_demucs_separates_the_song_as_well_as_stated(separated: tuple[Sound, dict[str, Sound]]) -> None:
    mixture, stems = separated
    assert set(stems) == {"drums", "bass", "other", "vocals"}
    check(mixture, stems["vocals"])


def test_the_stems_add_up_to_the_song(separated: tuple[Sound, dict[str, Sound]]) -> None:
    mixture, stems = separated
    assert level(sum(stems.values()) - mixture, mixture) <= MOST_SUM_ERROR


def test_where_nobody_sings_the_vocals_are_quiet(separated: tuple[Sound, dict[str, Sound]]) -> None:
    mixture, stems = separated
    assert level(stems["vocals"][:, GAP], mixture[:, GAP]) <= MOST_IN_GAP


def test_the_engine_separates_the_song_alike(separated: tuple[Sound, dict[str, Sound]]) -> None:
    mixture, stems = separated
    separator = engine.Separator(demo.MODEL, device="cpu", precision="float32")
    found = separator.separate_array(mixture, stems=["vocals", "no_vocals"], shifts=0)
    again = separator.separate_array(mixture, stems=["vocals", "no_vocals"], shifts=0)
    check(mixture, found["vocals"])
    assert np.array_equal(found["vocals"], again["vocals"])
    # Above 20 kHz Opus leaves nothing, and the network, which keeps the mixture's phase, meets the phase of rounding
    # errors there. Exactness is test_engine_exact's business.
    assert np.abs(found["vocals"] - stems["vocals"]).max() < 2e-3
    assert level(found["vocals"] - stems["vocals"], mixture) < -50
    assert np.abs(found["no_vocals"] - (mixture - found["vocals"])).max() < 1e-5


def test_the_model_file_is_small_and_named_after_its_content() -> None:
    (path,) = demo.FOLDER.glob("*.th")
    content = path.read_bytes()
    assert len(content) <= 6_000_000
    assert path.stem.rpartition("-")[2] == hashlib.sha256(content).hexdigest()[:8]


def test_the_model_file_holds_nothing_but_what_is_allowed() -> None:
    (path,) = demo.FOLDER.glob("*.th")
    with torch.serialization.safe_globals([HTDemucs, Fraction]):
        package = torch.load(path, weights_only=True)
    assert package["klass"] is HTDemucs
    assert package["training_args"]["figures"]["songs"] >= 14
    assert all(value.dtype == torch.float16 for value in package["state"].values() if value.is_floating_point())


def test_the_song_is_small() -> None:
    assert demo.SONG.stat().st_size < 700_000
