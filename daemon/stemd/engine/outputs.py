"""The stems' files: written beside, and given their names when all are complete and on disk."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from stemd import wav

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from stemd.engine.separation import Write
    from stemd.wav import Block


@contextmanager
def stem_files(folder: Path, names: Sequence[str], sample_rate: int, channels: int) -> Iterator[Write]:
    """Give a function that writes blocks of all stems to `<folder>/<name>.wav`, float32; folder is made if missing.

    Nothing incomplete is left behind when the block ends with an exception.
    """
    folder.mkdir(parents=True, exist_ok=True)
    beside = {name: folder / f".{name}.wav.{os.getpid()}.part" for name in names}
    with ExitStack() as failed:
        for path in beside.values():
            path.unlink(missing_ok=True)
            failed.callback(path.unlink, missing_ok=True)
        with ExitStack() as opened:
            writers = {
                name: opened.enter_context(wav.Writer(path, sample_rate, channels)) for name, path in beside.items()
            }

            def write(blocks: Mapping[str, Block]) -> None:
                for name, block in blocks.items():
                    writers[name].write(block)

            yield write
        for name, path in beside.items():
            path.replace(folder / f"{name}.wav")
        failed.pop_all()
