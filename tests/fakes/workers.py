"""Workers that honour the real contract (stages.work.Children) without torch: each stem is the mix, at once."""

import hashlib
import shutil
import time
from pathlib import Path

from stemd.errors import EnvironmentFault, Stopping
from stemd.model import ModelCard

SOURCES = ("drums", "bass", "other", "vocals")


class FakeWorkers:
    """`seconds`: how long a separation takes, in ten steps with progress. missing: models that `check` refuses."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.processes: dict[str, int] = {}
        self.missing: set[str] = set()

    def describe(self, model):
        return self.card(model)

    def card(self, model):
        digest = hashlib.sha256(model.encode()).hexdigest()
        return ModelCard(model, digest, SOURCES, 44100, 2, 1.0, dict.fromkeys(SOURCES, (0,)), "htdemucs", 1_000_000)

    def check(self, model):
        if model in self.missing:
            raise EnvironmentFault("model-missing", f"model {model} is not on this machine yet", "fetch it")

    def separate(self, request, work, stall=0.0):
        for step in range(10):
            if work.stop.is_set():
                raise Stopping
            work.progress(step / 10, {"eta": self.seconds * (10 - step) / 10})
            time.sleep(self.seconds / 10)
        out = Path(request["out"])
        for stem in request["stems"]:
            shutil.copyfile(request["mix"], out / f"{stem}.wav")
        return {
            "files": {stem: f"{stem}.wav" for stem in request["stems"]}, "frames": 1, "sample_rate": 44100,
            "device": request["device"], "precision": "float32", "batch": 1, "segment": 1.0, "seconds": 0.1,
            "x_realtime": 10.0, "peak_ram_bytes": 1, "peak_vram_bytes": 0, "reruns_float32": 0, "silent_segments": 0,
        }  # fmt: skip

    def measure(self, request, work):
        stems = {name: {"rms_db": -20.0, "peak_db": -1.0} for name in request["stems"]}
        return {"verdict": "pass", "bleed_db": -40.0, "score": -40.0, "stems": stems, "flags": []}

    def unload(self, device):
        pass

    def drop_idle(self, seconds):
        pass

    def close(self):
        pass


class FlaggingWorkers(FakeWorkers):
    """Finds the vocal from 5 s to 6 s of whatever it is given, at a second look too; the stems are the mix."""

    def measure(self, request, work):
        told = super().measure(request, work)
        flag = {"metric": "bleed", "start": 5.0, "end": 6.0, "value": -14.2, "threshold": -20.0,
                "text": "vocal audible in no_vocals at 0:05 to 0:06, about -14 dB"}  # fmt: skip
        curves = {"step": 0.5} | {name: [-20.0 - n % 5 for n in range(16)] for name in request["stems"]}
        looked = {"text": "the second look found the vocal too", "ranges": []}
        return told | {"verdict": "flagged", "bleed_db": -14.2, "null_db": -90.0, "flags": [flag], "curves": curves,
                       "second_look": looked}  # fmt: skip
