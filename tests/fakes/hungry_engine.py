"""An engine that separates nothing: every stem is the mix. It takes $HUNGER MiB for each second of segment."""

import json
import os
import shutil
import sys
from pathlib import Path

SOURCES = ["drums", "bass", "other", "vocals"]
SEGMENT = 4.0
STEP = 16  # MiB
CARD = {
    "digest": "0" * 64, "sources": SOURCES, "sample_rate": 44100, "channels": 2, "segment": SEGMENT, "parameters": 1,
    "family": "htdemucs", "members": [{}], "needs": {source: [0] for source in SOURCES},
}  # fmt: skip


def say(**message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def separate(ask):
    segment = ask["segment"] or SEGMENT
    steps = int(int(os.environ["HUNGER"]) * segment / STEP)
    held = []
    for step in range(steps):
        held.append(bytearray(b"x") * (STEP << 20))
        say(progress=step / steps, eta=1.0)
    for stem in ask["stems"]:
        shutil.copyfile(ask["mix"], Path(ask["out"]) / f"{stem}.wav")
    return {
        "files": {stem: f"{stem}.wav" for stem in ask["stems"]}, "frames": 1, "sample_rate": 44100, "device": "cpu",
        "precision": "float32", "batch": 1, "segment": segment, "seconds": 0.1, "x_realtime": 10.0,
        "peak_ram_bytes": len(held) * STEP << 20, "peak_vram_bytes": 0, "reruns_float32": 0, "silent_segments": 0,
    }  # fmt: skip


if __name__ == "__main__":
    for line in sys.stdin:
        ask = json.loads(line)
        say(done=CARD if ask["do"] == "describe" else separate(ask))
