"""How well a network separates songs whose stems are known: SDR, improvement, ideal, sum, silence. Trains nothing.

SDR is 10 log10(|reference|^2 / |reference - estimate|^2) over a whole song and both channels;
improvement is SDR less what the mixture itself, taken as the estimate, would get.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import soundfile
import torch
from demucs.apply import apply_model
from demucs.htdemucs import HTDemucs
from torch import Tensor

from training.network import SOURCES


@dataclass(frozen=True)
class Figures:
    """One song's figures in dB. A stem that is silent in the song has none.

    ideal: the improvement that an ideal ratio mask would reach, for vocals and no_vocals; empty where nobody sings.
    """

    song: str
    sdr: dict[str, float]
    improvement: dict[str, float]
    ideal: dict[str, float]
    sum_error: float
    silence: float


def sdr(reference: Tensor, estimate: Tensor) -> float:
    """Return the signal-to-distortion ratio in dB."""
    power = reference.square().sum().item() + 1e-12
    return float(10 * np.log10(power / ((reference - estimate).square().sum().item() + 1e-12)))


def rms_db(sound: Tensor, reference: Tensor) -> float:
    """Return a sound's RMS level below another's, in dB."""
    return float(10 * np.log10((sound.square().mean().item() + 1e-14) / (reference.square().mean().item() + 1e-14)))


def separate(network: HTDemucs, mixture: Tensor) -> dict[str, Tensor]:
    """Separate a mixture, (2, frames), as `demucs.api` does without shifts: stems and no_vocals, each (2, frames).

    no_vocals is what remains of the mixture without the vocals, stemd's own way.
    """
    mono = mixture.mean(0)
    mean, deviation = mono.mean(), mono.std() + 1e-8
    with torch.inference_mode():
        stems = apply_model(network, (mixture - mean)[None] / deviation, shifts=0, overlap=0.25)[0] * deviation + mean
    named = dict(zip(SOURCES, stems, strict=True))
    return {**named, "no_vocals": mixture - named["vocals"]}


def ideal_vocals(vocals: Tensor, rest: Tensor) -> Tensor:
    """Return vocals by the ideal ratio mask, each bin's true share of the magnitude: about the best that masks can do.

    A. Narayanan, D. Wang, "Ideal ratio mask estimation using deep neural networks for robust speech recognition",
    ICASSP 2013, here of magnitudes and with windows of 4,096 frames.
    """
    window = torch.hann_window(4096)
    own, other = (torch.stft(sound, 4096, 1024, window=window, return_complex=True) for sound in (vocals, rest))
    share = own.abs() / (own.abs() + other.abs() + 1e-9)
    return torch.istft(share * (own + other), 4096, 1024, window=window, length=vocals.shape[-1])


def improvement(reference: Tensor, estimate: Tensor, mixture: Tensor) -> float:
    """Return how much better than the mixture an estimate is, in dB."""
    return sdr(reference, estimate) - sdr(reference, mixture)


def load(song: Path) -> dict[str, Tensor]:
    """Return a song's true stems, its mixture and no_vocals, each (2, frames)."""
    names = (*SOURCES, "mixture")
    sounds = {name: soundfile.read(song / f"{name}.wav", dtype="float32", always_2d=True)[0] for name in names}
    stems = {name: torch.from_numpy(np.ascontiguousarray(sound.T)) for name, sound in sounds.items()}
    return {**stems, "no_vocals": stems["mixture"] - stems["vocals"]}


def measure(network: HTDemucs, song: Path) -> Figures:
    """Separate a song, and once more without its singing, and compare with its true stems."""
    true = load(song)
    mixture = true.pop("mixture")
    found = separate(network, mixture)
    heard = {name: sound for name, sound in true.items() if rms_db(sound, mixture) > -40}
    sung = "vocals" in heard
    gains = {name: improvement(sound, found[name], mixture) for name, sound in heard.items()}
    ideal = ideal_vocals(true["vocals"], true["no_vocals"])
    best = {"vocals": ideal, "no_vocals": mixture - ideal} if sung else {}
    total = torch.stack([found[source] for source in SOURCES]).sum(0)
    silent = separate(network, true["no_vocals"])["vocals"]
    return Figures(
        song=song.name,
        sdr={name: sdr(sound, found[name]) for name, sound in heard.items()},
        improvement={name: gain for name, gain in gains.items() if sung or "vocals" not in name},
        ideal={name: improvement(true[name], sound, mixture) for name, sound in best.items()},
        sum_error=rms_db(total - mixture, mixture),
        silence=rms_db(silent, true["no_vocals"]),
    )


def summary(songs: list[Figures]) -> dict[str, object]:
    """Return the medians over songs, and how many songs each is over."""
    table: dict[str, object] = {}
    for name in (*SOURCES, "no_vocals"):
        pairs = [(one.sdr[name], one.improvement[name]) for one in songs if name in one.improvement]
        if pairs:
            ratios, gains = zip(*pairs, strict=True)
            table[name] = {"songs": len(pairs), "sdr": round(median(ratios), 2), "improvement": round(median(gains), 2)}
    sung = [one.ideal for one in songs if one.ideal]
    table["ideal"] = {name: round(median(one[name] for one in sung), 2) for name in sung[0]} if sung else {}
    table["sum_error"] = round(median(one.sum_error for one in songs), 2)
    table["silence"] = round(median(one.silence for one in songs), 2)
    table["songs"] = len(songs)
    return table


def report(songs: list[Figures]) -> str:
    """Return the figures as JSON: the medians, then every song."""
    rows = [one.__dict__ for one in songs]
    return json.dumps({"median": summary(songs), "songs": rows}, indent=1)
