"""The checkout's own Python, for scripts that are started with another one."""

import importlib.util
import os
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_VENV = _ROOT / ".venv"
_PYTHON = _VENV / "bin/python"


def go_on() -> None:
    """Go on with .venv's Python, if it is there and this is another one."""
    if _PYTHON.exists() and Path(sys.prefix) != _VENV:
        os.execv(_PYTHON, [str(_PYTHON), *sys.argv])  # noqa: S606 - itself, with the checkout's packages


def require(*packages: str) -> None:
    """Go on with .venv's Python where this one lacks a package; where that lacks it too, end with what to install."""
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        go_on()
        install = "scripts/setup, then .venv/bin/pip install -c requirements.lock -e '.[training]'"
        sys.exit(f"not installed: {', '.join(missing)}\nin {_ROOT} run: {install}")
