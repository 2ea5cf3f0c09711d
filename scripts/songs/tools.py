"""The programs and sound fonts that render songs: where they are, and what to do if one is missing."""

import shutil
import subprocess
from pathlib import Path

FONTS = Path("/usr/share/sounds")
PACKAGES = {
    "sf2/FluidR3_GM.sf2": "fluid-soundfont-gm",
    "sf3/MuseScore_General_Full.sf3": "musescore-general-soundfont",
    "sf2/OPL-3_FM_128M.sf2": "opl3-soundfont",
    "sf2/TimGM6mb.sf2": "timgm6mb-soundfont",
    "sf2/sf_GMbank.sf2": "csound-soundfont",
    "sf2/Red_Zeppelin_4_LV2.sf2": "avldrums.lv2-soundfont",
    "sf2/Black_Pearl_4_LV2.sf2": "avldrums.lv2-soundfont",
    "fluidsynth": "fluidsynth",
    "espeak-ng": "espeak-ng",
    "flite": "flite",
}


class ToolMissingError(Exception):
    """Something that renders songs is not installed; the message says what to install."""


def font(name: str) -> Path:
    """Return the path of a sound font, `sf2/TimGM6mb.sf2` say."""
    return FONTS / name


def require_all() -> None:
    """Raise ToolMissingError, naming everything at once, unless all can be rendered here."""
    missing = [name for name in PACKAGES if not shutil.which(name) and not font(name).is_file()]
    if missing:
        packages = " ".join(sorted({PACKAGES[name] for name in missing}))
        message = f"not installed: {', '.join(missing)}\nrun: apt-get install {packages}"
        raise ToolMissingError(message)


def call(argv: list[str]) -> None:
    """Run a program quietly; what it says on stderr becomes the error if it fails."""
    done = subprocess.run(argv, capture_output=True, check=False)  # noqa: S603 - our own argv
    if done.returncode:
        message = f"{argv[0]} failed ({done.returncode}): {done.stderr.decode(errors='replace')}"
        raise RuntimeError(message)
