"""Binding: encoded tracks become one STEM file. Knows no rule and no job."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stemd.codec.encode import check, weighed
from stemd.codec.pipe import Ffmpeg
from stemd.files import faults_in
from stemd.formats import boxes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def bind(question: Mapping[str, Any], progress: Callable[[float], None]) -> dict[str, Any]:
    """Put files into one and describe it there.

    question: argv, an ffmpeg command that writes target; atom, the text of its `stem` box.
    Returns sha256 and size. Raises EnvironmentFault("state-full", ..), WorkerFault("encoder-failed").
    """
    target = Path(question["target"])
    with faults_in("state", target.parent):
        with Ffmpeg(question["argv"], feed=False) as ffmpeg:
            check(ffmpeg, target.parent)
        boxes.add_user_data(target, b"stem", question["atom"].encode())
        return weighed(target, partial(progress, 0.5))
