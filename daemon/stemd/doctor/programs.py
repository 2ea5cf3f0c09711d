"""ffmpeg and ffprobe: whether they are there and can do what the rules ask for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from stemd import tools
from stemd.doctor.finding import Finding, ok, problem, warning
from stemd.errors import StemdError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_INSTALL = "install ffmpeg from your system's packages (Debian, Ubuntu: apt-get install ffmpeg)"
_ENCODERS = {
    "mp3": "libmp3lame",
    "m4a": "aac",
    "stem.m4a": "aac",
    "opus": "libopus",
    "flac": "flac",
    "wav": "pcm_s24le",
    "webm": "libvorbis",
}
_OLDEST = 5


def check(formats: Collection[str]) -> Iterator[Finding]:
    """Ask the programs themselves. formats: those that rules deliver, films among them."""
    for name in ("ffmpeg", "ffprobe"):
        try:
            told = _ask(name, "-version")
        except StemdError as error:
            yield problem(name, error.message, _INSTALL)
            continue
        yield judge_version(name, told)
        if name == "ffmpeg":
            yield from judge_ffmpeg(_ask(name, "-buildconf"), _ask(name, "-encoders"), formats)


def _ask(*argv: str) -> str:
    done = tools.run([argv[0], "-hide_banner", *argv[1:]], timeout=20)
    if done.returncode != 0:
        message = f"{argv[0]} does not run: {done.last_words or f'exit status {done.returncode}'}"
        raise StemdError("tool-broken", message, _INSTALL)
    return done.stdout.decode(errors="replace")


def judge_version(name: str, told: str) -> Finding:
    """Read the first line of `-version`."""
    found = re.match(rf"{name} version (\S+)", told)
    version = found[1] if found else "of unknown version"
    number = re.match(r"n?(\d+)\.", version)
    if number and int(number[1]) < _OLDEST:
        return warning(name, f"{version} is old", f"take version {_OLDEST} or newer")
    return ok(name, version)


def judge_ffmpeg(buildconf: str, encoders: str, formats: Collection[str]) -> Iterator[Finding]:
    """Compare what ffmpeg was built with, with what is asked of it."""
    if "--enable-libsoxr" not in buildconf:
        yield problem("ffmpeg", "was built without the resampler soxr", "install a build with libsoxr, as Debian's is")
    present = set(re.findall(r"^ [A-Z.]{6} (\S+)", encoders, re.MULTILINE))
    missing = [name for name, encoder in _ENCODERS.items() if encoder not in present]
    for name in missing:
        told = problem if name in formats else warning
        yield told(
            "ffmpeg", f"cannot write {name} ({_ENCODERS[name]} is missing)", f"install a build with {_ENCODERS[name]}"
        )
    if not missing:
        yield ok("ffmpeg", f"writes {', '.join(_ENCODERS)}")
