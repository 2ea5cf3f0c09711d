"""Which resampler this machine's ffmpeg has: SoX's, or else its own with a long filter. Asked once."""

from __future__ import annotations

from functools import cache
from typing import Final

from stemd.tools import run

SOXR: Final = "resampler=soxr:precision=28:osf=fltp"
SWR: Final = "resampler=swr:filter_size=256:phase_shift=14:cutoff=0.97:osf=fltp"
_SECONDS: Final = 60.0


@cache
def resampler() -> str:
    """Give the options for ffmpeg's aresample filter. Raises EnvironmentFault("tool-missing")."""
    silence = ("-f", "lavfi", "-i", "anullsrc=d=0.01", "-af", f"aresample=8000:{SOXR}", "-f", "null", "-")
    done = run(("ffmpeg", "-hide_banner", "-nostdin", "-v", "error", *silence), timeout=_SECONDS)
    return SOXR if done.returncode == 0 else SWR
