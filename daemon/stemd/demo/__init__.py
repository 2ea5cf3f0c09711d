"""The embedded model and song, so that a first run, a test and an offline machine separate something real.

The model card is README.md in this folder. Neither is for production: use htdemucs there.
"""

from pathlib import Path

FOLDER = Path(__file__).resolve().parent
"""A local repository in Demucs's format: `demucs.api.Separator(model=MODEL, repo=FOLDER)` loads the model."""

MODEL = "demo"
"""The model's name in that repository."""

SONG = FOLDER / "song.opus"
"""Twenty seconds of a computed song, stereo Opus: drums, bass, guitar and whistle, and sung words with gaps."""
