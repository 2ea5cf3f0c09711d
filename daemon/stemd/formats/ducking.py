"""A narrator over the accompaniment, which steps back while he speaks. Pure: builds the ffmpeg command.

The narration's level steers a compressor on the accompaniment (ffmpeg's sidechaincompress): each dB of voice above
-34 dBFS takes 7/8 dB from the music. Quick to follow and slow to let go, it hears a voice 2 dB above its mean level:
speech at -20 dBFS lowers the music by 14 dB. It steps back within 20 ms and comes back within 400 ms. The narration
itself is not changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stemd.formats.downmix import gains, pan
from stemd.formats.streams import GUARDS

if TYPE_CHECKING:
    from pathlib import Path

    from stemd.formats.outgoing import Shape
    from stemd.model import Mix, Source

DUCKING: Final = {"threshold": 0.02, "ratio": 8, "attack": 20, "release": 400}
"""Threshold linear, times in milliseconds."""


def bed_command(
    bed: Path, mix: Mix, made: Shape, lead: int, resampler: str, narration: tuple[Path, Source] | None
) -> list[str]:
    """Build the command that writes a film's new sound to standard output, raw float32: `made.frames` frames.

    bed: the accompaniment, a WAV like the mix; lead: frames of silence before it. narration: begins with the film.
    resampler: `formats.resampler`'s answer.
    """
    chain = [*_shaped("stereo" if mix.channels > 1 else "mono", mix.channels, mix.sample_rate, made, resampler)]
    chain += [f"adelay=delays={lead}S:all=1"] if lead else []
    inputs, graph = ["-i", str(bed)], f"[0:a:0]{','.join(chain)},apad[bed]"
    if narration is None:
        graph += ";[bed]anull[mixed]"
    else:
        file, source = narration
        inputs += [*GUARDS, "-i", str(file)]
        voice = ",".join(_shaped(source.layout, source.channels, source.sample_rate, made, resampler))
        duck = ":".join(f"{key}={value}" for key, value in DUCKING.items())
        graph += (
            f";[1:a:0]{voice},apad,asplit=2[voice][key];[bed][key]sidechaincompress={duck}[low]"
            ";[low][voice]amix=inputs=2:duration=longest:normalize=0[mixed]"
        )
    graph += f";[mixed]atrim=end_sample={made.frames}[out]"
    return [
        "ffmpeg", "-hide_banner", "-nostdin", "-nostats", "-v", "repeat+level+error", "-threads", "1", *inputs,
        "-filter_complex", graph, "-map", "[out]", "-ar", str(made.rate), "-ac", str(made.channels),
        "-f", "f32le", "pipe:1",
    ]  # fmt: skip


def _shaped(layout: str, channels: int, rate: int, made: Shape, resampler: str) -> list[str]:
    """Filters that bring a sound to the rate and the channels of what is made."""
    filters = ["aformat=sample_fmts=fltp"]
    mixed = gains(layout, channels, made.channels)
    if mixed is not None:
        filters.append(pan(mixed))
    if rate != made.rate:
        filters.append(f"aresample={made.rate}:{resampler}")
    return filters
