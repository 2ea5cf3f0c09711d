"""One step of an installation, and the ways in which steps are done."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


@dataclass(frozen=True)
class Step:
    """One thing to do, and the words for it. Each may be done again. amends: done when it or a later step fails."""

    text: str
    do: Callable[[], object]
    amends: Callable[[], object] = lambda: None


class CannotGoOn(Exception):  # noqa: N818 - a sentence for the person who installs
    """What is in the way, and what to do."""


def run(*argv: str | Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program without input; its status is the caller's to judge. Raises CannotGoOn when it is not there."""
    try:
        return subprocess.run(  # noqa: S603 - argument lists of our own
            argv, check=False, stdin=subprocess.DEVNULL, text=True, cwd="/", env=env
        )
    except FileNotFoundError:
        message = f"{argv[0]} is not there"
        raise CannotGoOn(message) from None


def answer(*argv: str | Path) -> str | None:
    """Run a program for what it prints; None if it fails or is not there."""
    try:
        done = subprocess.run(  # noqa: S603 - as in run
            argv, check=False, stdin=subprocess.DEVNULL, text=True, cwd="/", capture_output=True
        )
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def must(*argv: str | Path) -> None:
    """Run a program that has to succeed."""
    status = run(*argv).returncode
    if status != 0:
        message = f"{' '.join(map(str, argv))} failed with status {status}; its words stand above"
        raise CannotGoOn(message)


def command(text: str, *argv: str | Path) -> Step:
    """A step that is a program which has to succeed."""
    return Step(f"{text}: {' '.join(map(str, argv))}", partial(must, *argv))


def write(path: Path, content: str) -> None:
    """Write a file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(content, encoding="utf-8")
    fresh.chmod(0o644)
    fresh.replace(path)


def put(path: Path, content: str) -> Step:
    """A step that writes a file."""
    return Step(f"write {path}", partial(write, path, content))


def remove(path: Path) -> None:
    """Remove a file or a folder of ours."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
