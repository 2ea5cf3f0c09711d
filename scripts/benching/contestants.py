"""The two sides: the stock `demucs` command, and stemd as a command and as a warm engine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

BIN = Path(sys.executable).parent


def stock(
    models: Path,
    model: str,
    songs: Sequence[Path],
    out: Path,
    *,
    two: bool = False,
    device: str = "cpu",
    shifts: int = 1,
) -> dict[str, float]:
    """Run `demucs` once over all songs. Returns seconds and peak_ram_bytes."""
    command = [str(BIN / "demucs"), "--repo", str(models), "-n", model, "-o", str(out), "-d", device, "--float32"]
    command += ["--shifts", str(shifts), *(["--two-stems", "vocals"] if two else []), *map(str, songs)]
    return _timed(command, out)


def cold(models: Path, model: str, song: Path, out: Path, **options: Any) -> dict[str, float]:
    """Start an engine, separate one song and end it: from nothing to the stems, as stock does. Returns as `stock`."""
    begun = time.monotonic()
    engine = Engine(models)
    done = engine.separate(model, song, out, **options)
    engine.close()
    return {"seconds": time.monotonic() - begun, "peak_ram_bytes": done["peak_ram_bytes"], "work": done["seconds"]}


def _timed(argv: Sequence[str], out: Path) -> dict[str, float]:
    begun = time.monotonic()
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:  # noqa: S603 - built above
        errors = process.stderr.read() if process.stderr else b""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - begun
    shutil.rmtree(out, ignore_errors=True)
    if process.returncode:
        sys.exit(f"{' '.join(argv)}\nended with {process.returncode}: {errors.decode(errors='replace')[-2000:]}")
    return {"seconds": seconds, "peak_ram_bytes": usage.ru_maxrss * 1024}


class Engine:
    """A warm engine process. It speaks the daemon's protocol."""

    def __init__(self, models: Path) -> None:
        self._models = str(models)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "stemd.engine"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def separate(self, model: str, song: Path, out: Path, **options: Any) -> dict[str, Any]:
        """Separate one song; returns what the engine says of it."""
        request = {"do": "separate", "model": model, "models": self._models, "mix": str(song), "out": str(out)}
        request |= {"stems": ["all"], "shifts": 1, "overlap": 0.25, "segment": None, "batch": 1, "device": "cpu"}
        request |= {"precision": "auto", "seed": 0, "residual": "minus", **options}
        assert self._process.stdin  # noqa: S101 - both are pipes
        assert self._process.stdout  # noqa: S101
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            answer = json.loads(line)
            if "failed" in answer:
                sys.exit(f"the engine: {answer['failed']}")
            if "done" in answer:
                shutil.rmtree(out, ignore_errors=True)
                return dict(answer["done"])
        sys.exit("the engine died")

    def close(self) -> None:
        """End it."""
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait()
