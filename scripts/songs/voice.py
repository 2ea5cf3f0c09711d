"""Voices: who speaks, and one spoken word as WORLD sees it (pitch, spectrum, breath). Sings nothing.

WORLD: M. Morise, F. Yokomori, K. Ozawa, "WORLD: a vocoder-based high-quality speech synthesis
system for real-time applications", IEICE Transactions E99-D (2016).
"""

import tempfile
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyworld
import soundfile
from numpy.typing import NDArray
from scipy import signal

from songs import tools
from songs.room import RATE, Sound
from songs.seeds import Purpose

FRAME = 0.005
BINS = 1025

TRAINING_LANGUAGES = (
    *("en-us", "en-us", "en-us", "de", "es", "it", "fr-fr", "en-gb-x-rp", "sv", "fi", "pl", "pt-br"),
    *("ro", "cs", "hu", "da", "el", "tr", "id", "sw", "hr", "ru", "la", "eo", "bg", "uk"),
)
HELD_OUT_LANGUAGES = ("en-gb-scotland", "en-gb-x-gbclan", "en-029", "nb", "nl", "sk", "es-419", "ca")
TRAINING_VARIANTS = (
    *("f1", "f2", "f4", "f5", "m1", "m2", "m3", "m5", "m6", "m7", "m8", "klatt", "klatt2", "klatt3"),
    *("adam", "Alicia", "Andrea", "anika", "antonio", "aunty", "belinda", "boris", "caleb", "Denis"),
    *("Diogo", "ed", "edward", "Gene", "grandma", "Hugo", "iven", "iven2", "john", "linda", "marcelo"),
    *("max", "michel", "miguel", "norbert", "pablo", "pedro", "rob", "sandro", "shelby", "steph"),
    *("travis", "victor", "zac", "Mario", "Michael", "Marco", "Nguyen"),
)
HELD_OUT_VARIANTS = (
    *("f3", "m4", "klatt4", "Annie", "benjamin", "david", "edward2", "Gene2", "gustave", "Henrique"),
    *("iven4", "Jacky", "Lee", "paul", "quincy", "robert", "steph3", "Alex", "Andy"),
)
TRAINING_FLITE, HELD_OUT_FLITE = ("rms", "awb", "kal16"), ("slt",)


@dataclass(frozen=True)
class Voice:
    """A speaker and how it sings.

    `formant` scales the vocal tract's resonances (above 1: smaller head), `breath` (0 to 1) mixes
    noise in, `vibrato` is (Hz, cents), `glide` the seconds from one note to the next, `drift` the
    deviation of the pitch in cents, `tilt` decibels per octave above 1 kHz.
    """

    program: str
    name: str
    formant: float
    breath: float
    vibrato: tuple[float, float]
    glide: float
    drift: float
    tilt: float

    @property
    def language(self) -> str:
        """Return the two letters of the language this voice speaks."""
        return "en" if self.program == "flite" else self.name[:2]

    def as_json(self) -> dict[str, object]:
        """Return the voice for song.json."""
        return asdict(self)


class Spoken(NamedTuple):
    """A word in frames of 5 ms: Hz (0: unvoiced), power spectra and aperiodicity (frames, 1025)."""

    pitch: Sound
    spectrum: NDArray[np.float64]
    breath: NDArray[np.float64]


def draw_voice(dice: np.random.Generator, purpose: Purpose) -> Voice:
    """Draw a voice of the purpose's palette."""
    training = purpose is Purpose.TRAINING
    if dice.random() < 0.4:
        program = "flite"
        name = str(dice.choice(TRAINING_FLITE if training else HELD_OUT_FLITE))
    else:
        program = "espeak-ng"
        language = str(dice.choice(TRAINING_LANGUAGES if training else HELD_OUT_LANGUAGES))
        name = f"{language}+{dice.choice(TRAINING_VARIANTS if training else HELD_OUT_VARIANTS)}"
    return Voice(
        program=program,
        name=name,
        formant=float(np.exp(dice.normal(0, 0.09))),
        breath=float(dice.beta(1.2, 6)),
        vibrato=(float(dice.uniform(4.3, 6.8)), float(dice.choice([0, 15, 30, 50, 80]))),
        glide=float(np.exp(dice.uniform(np.log(0.02), np.log(0.16)))),
        drift=float(dice.uniform(3, 22)),
        tilt=float(dice.normal(0, 2)),
    )


@lru_cache(maxsize=64)
def speak(voice: Voice, text: str) -> Spoken:
    """Return a spoken word, trimmed of silence, with this voice's formants, breath and tilt."""
    sound, rate = record(voice, text)
    limit = rate / 2 * 0.92
    sound = np.asarray(signal.resample_poly(sound, RATE, rate))
    sound += 1e-5 * np.random.default_rng(len(sound)).standard_normal(len(sound))
    pitch, times = pyworld.dio(sound, RATE, f0_floor=60, f0_ceil=500, frame_period=1000 * FRAME)
    pitch = pyworld.stonemask(sound, pitch, times, RATE)
    spectrum = pyworld.cheaptrick(sound, pitch, times, RATE, fft_size=2 * (BINS - 1))
    breath = pyworld.d4c(sound, pitch, times, RATE, fft_size=2 * (BINS - 1))
    spectrum, breath = extend_band(spectrum, breath, limit)
    return shape(voice, trim(Spoken(pitch, spectrum, breath)))


def record(voice: Voice, text: str) -> tuple[Sound, int]:
    """Return what the speech synthesiser says, (frames,), and its rate in Hz."""
    with tempfile.TemporaryDirectory(prefix="voice-") as folder:
        wav = Path(folder, "word.wav")
        if voice.program == "flite":
            tools.call(["flite", "-voice", voice.name, "-t", text, "-o", str(wav)])
        else:
            tools.call(["espeak-ng", "-v", voice.name, "-s", "130", "-w", str(wav), "--", text])
        sound, rate = soundfile.read(wav, dtype="float64")
    if len(sound) < rate // 20:
        sound = np.pad(sound, (0, rate // 5))
    return np.asarray(sound), int(rate)


def extend_band(
    spectrum: NDArray[np.float64], breath: NDArray[np.float64], limit: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Continue the spectrum above the synthesiser's band (8 or 11 kHz), falling 3 dB a kHz, as air."""
    hertz = np.arange(BINS) * RATE / 2 / (BINS - 1)
    edge = int(np.searchsorted(hertz, limit))
    below = spectrum[:, edge - 60 : edge].mean(axis=1, keepdims=True)
    fall = 10 ** (-0.3 * (hertz[edge:] - limit) / 1000)
    spectrum, breath = spectrum.copy(), breath.copy()
    spectrum[:, edge:] = below * fall
    breath[:, edge:] = np.maximum(breath[:, edge - 1 : edge], 0.9)
    return spectrum, breath


def trim(spoken: Spoken) -> Spoken:
    """Cut silence (35 dB below the loudest frame) from both ends."""
    power = spoken.spectrum.sum(axis=1)
    heard = np.flatnonzero(power > power.max() * 10**-3.5)
    window = slice(int(heard[0]), int(heard[-1]) + 1)
    return Spoken(spoken.pitch[window], spoken.spectrum[window], spoken.breath[window])


def shape(voice: Voice, spoken: Spoken) -> Spoken:
    """Move formants, tilt the spectrum, and mix breath in."""
    bins = np.arange(BINS)
    source = np.clip(bins / voice.formant, 0, BINS - 1)
    low = source.astype(int)
    high, part = np.minimum(low + 1, BINS - 1), source - source.astype(int)
    logs = np.log(np.maximum(spoken.spectrum, 1e-14))
    moved = logs[:, low] * (1 - part) + logs[:, high] * part
    octaves = np.maximum(np.log2(np.maximum(bins, 1) / 46), 0)
    spectrum = np.exp(moved + voice.tilt * octaves / 10 * np.log(10))
    spectrum /= spectrum.sum(axis=1).max()
    airy = voice.breath * np.minimum(bins / 300, 1)
    return Spoken(spoken.pitch, spectrum, np.maximum(spoken.breath, airy))


def speaking_pitch(voice: Voice) -> int:
    """Return the MIDI pitch at which this voice speaks, moved as its formants are."""
    pitch = speak(voice, "la la la").pitch
    voiced = pitch[pitch > 0]
    hertz = float(np.median(voiced)) if len(voiced) else 150.0
    return round(float(69 + 12 * np.log2(hertz * voice.formant**1.5 / 440)))
