"""The second look on real files, and as a stage of a real daemon whose networks are fakes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import singing
import soundfile
from workers import FlaggingWorkers

from stemd.config import load
from stemd.errors import EnvironmentFault, OutOfMemory, Stopping, WorkerFault
from stemd.ledger import jobs, open_for_asking
from stemd.model import Status
from stemd.quality import Request, measure
from stemd.quality.suspects import CONTEXT, PLACES, SOUND
from stemd.service.daemon import Service

RATE = 44100


# -- on real files


@pytest.fixture(scope="module")
def leaky(tmp_path_factory) -> tuple[Request, np.ndarray]:
    """Twenty seconds in which the vocal bleeds from 8 s to 12 s, and the leak."""
    folder = tmp_path_factory.mktemp("leaky")
    voice, band = singing.voice(20.0, rate=RATE), singing.band(20.0, rate=RATE)
    leak = np.zeros_like(voice)
    leak[8 * RATE : 12 * RATE] = 0.3 * voice[8 * RATE : 12 * RATE]
    for name, sound in {"mix": voice + band, "vocals": voice, "no_vocals": band + leak}.items():
        soundfile.write(folder / f"{name}.wav", sound, RATE, "FLOAT")
    stems = {name: str(folder / f"{name}.wav") for name in ("vocals", "no_vocals")}
    return Request(stems, str(folder / "mix.wav")), leak


def looked_at(request: Request, folder: Path, **more: Any) -> dict[str, Any]:
    told: dict[str, Any] = measure(Request(**_facts(request), **more)).as_json()
    return told


def _facts(request: Request) -> dict[str, Any]:
    return {
        "stems": request.stems,
        "mix": request.mix,
        "ignore": frozenset({"null"}),
    }  # the leak is too much of the mix


def test_only_the_flagged_seconds_are_cut_out_with_their_surroundings(leaky, tmp_path):
    request, _ = leaky
    told = looked_at(request, tmp_path, suspects=str(tmp_path))
    flags = [flag for flag in told["flags"] if flag["metric"] == "bleed"]
    assert told["suspects"] == len(flags) == 1
    assert flags[0]["start"] == pytest.approx(8, abs=2)
    cut, rate = soundfile.read(tmp_path / SOUND, dtype="float32", always_2d=True)
    assert rate == RATE
    assert len(cut) / rate == pytest.approx(flags[0]["end"] - flags[0]["start"] + 2 * CONTEXT, abs=0.01)
    whole, _ = soundfile.read(request.stems["no_vocals"], dtype="float32", always_2d=True)
    first = round((flags[0]["start"] - CONTEXT) * RATE)
    middle = slice(RATE, len(cut) - RATE)
    np.testing.assert_array_equal(cut[middle], whole[first : first + len(cut)][middle])
    assert not cut[0].any()
    assert begun(tmp_path) == flags[0]["start"] - CONTEXT


def begun(folder: Path) -> float:
    """From which second on the suspect sound was cut out."""
    told = json.loads((folder / PLACES).read_text())
    assert len(told["ranges"]) == 1
    return float(told["spans"][0][0])


@pytest.mark.parametrize("share, confirmed", [(1.0, True), (0.01, False)])
def test_what_the_network_finds_there_is_told(leaky, tmp_path, share, confirmed):
    request, leak = leaky
    looked_at(request, tmp_path, suspects=str(tmp_path))
    first = round(begun(tmp_path) * RATE)
    length = soundfile.info(tmp_path / SOUND).frames
    taken = 0.1 * singing.band(20.0, rate=RATE) + share * leak  # the network takes some of the band for a voice
    soundfile.write(tmp_path / "vocals.wav", taken[first : first + length], RATE, "FLOAT")
    told = looked_at(request, tmp_path, second_look=str(tmp_path), picture=str(tmp_path / "look.png"))
    assert told["verdict"] == "flagged"
    (found,) = told["second_look"]["ranges"]
    if confirmed:
        assert found["found_db"] == pytest.approx(-10.5, abs=2)
    assert found["confirmed"] is confirmed
    assert ("heard again by the second look" in told["flags"][0]["text"]) is confirmed
    assert (tmp_path / "look.png").stat().st_size > 10_000


def test_an_accompaniment_that_is_no_file_is_made(leaky, tmp_path):
    request, _ = leaky
    whole, _ = soundfile.read(request.stems["no_vocals"], dtype="float32", always_2d=True)
    for name, share in {"drums": 0.5, "bass": 0.25, "other": 0.25}.items():
        soundfile.write(tmp_path / f"{name}.wav", share * whole, RATE, "FLOAT")
    stems = {"vocals": request.stems["vocals"]} | {n: str(tmp_path / f"{n}.wav") for n in ("drums", "bass", "other")}
    measure(Request(stems, request.mix, suspects=str(tmp_path)))
    cut, _ = soundfile.read(tmp_path / SOUND, dtype="float32", always_2d=True)
    first = round(begun(tmp_path) * RATE) + RATE
    np.testing.assert_allclose(cut[RATE : 2 * RATE], whole[first : first + RATE], atol=1e-6)


# -- as a stage


@pytest.fixture
def studio(tmp_path):
    """Run a job through a daemon; tell its state and story, and what the review folder and the outbox hold."""
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in/a.wav", singing.band(2.0, rate=RATE), RATE)

    def run(pool: Any, quality: str = "second_look = true") -> SimpleNamespace:
        (tmp_path / "config.toml").write_text(
            '[daemon]\nstate_dir = "state"\nrescan = 1\n[resources]\ndevice = "cpu"\nram_reserve_gb = 0\n[[rule]]\n'
            'name = "r"\ninbox = "in"\noutbox = "out"\nmodel = "htdemucs"\nstems = ["vocals", "no_vocals"]\n'
            f"settle = 0.1\n[rule.quality]\n{quality}\n"
        )
        Service(load(tmp_path / "config.toml"), once=True, pool=pool).run()
        ledger = open_for_asking(tmp_path / "state")
        (job,) = jobs.select(ledger)
        story = [event.text for event in jobs.events(ledger, job.id)]
        ledger.close()
        review, out = tmp_path / "in/_review/a", tmp_path / "out/a"
        manifest = next(folder / "manifest.json" for folder in (review, out) if folder.exists())
        report = json.loads(manifest.read_text())["quality"]
        return SimpleNamespace(job=job, story=story, report=report, delivered=out.exists(), pool=pool)

    return run


def workers(fault: Exception | None = None, times: int = 99):
    """Fake workers that flag a vocal, and find it again or cannot look for it."""

    class Doubting(FlaggingWorkers):
        looks = 0

        def separate(self, request, work, stall=0.0):
            if Path(request["mix"]).name != SOUND:
                return super().separate(request, work)
            self.looks += 1
            if fault is not None and self.looks <= times:
                raise fault
            assert request["stems"] == ["vocals"]
            shutil.copyfile(request["mix"], Path(request["out"]) / "vocals.wav")
            return {}

        def measure(self, request, work):
            told = super().measure(request, work)
            if "suspects" in request:
                shutil.copyfile(request["mix"], Path(request["suspects"]) / SOUND)
                return told | {"suspects": 1}
            if "second_look" not in request:
                return told
            assert (Path(request["second_look"]) / "vocals.wav").exists()
            return told | {"second_look": {"text": "the second look agrees", "ranges": []}}

    return Doubting()


def test_what_was_looked_at_twice_is_reviewed(studio):
    told = studio(workers())
    assert (told.job.status, told.delivered) == (Status.HELD, False)
    assert told.report["second_look"]["text"] == "the second look agrees"
    assert any(text.startswith("a second look is taken: vocal audible") for text in told.story)


def test_or_delivered_as_the_rule_says(studio):
    told = studio(workers(), 'second_look = true\non_flag = "deliver"')
    assert (told.job.status, told.delivered, told.pool.looks) == (Status.DONE, True, 1)
    assert told.report["second_look"]["text"] == "the second look agrees"


def test_without_the_key_nobody_looks_twice(studio):
    told = studio(workers(), "")
    assert (told.job.status, told.pool.looks) == (Status.HELD, 0)


@pytest.mark.parametrize(
    "fault, looks",
    [
        (EnvironmentFault("model-missing", "the model is gone", "fetch it"), 1),
        (WorkerFault("crashed", "the engine crashed", "again"), 3),
    ],
)
def test_a_second_look_that_cannot_be_taken_leaves_the_verdict(studio, fault, looks):
    told = studio(workers(fault=fault))
    assert (told.job.status, told.delivered) == (Status.HELD, False)
    assert told.report["second_look"]["failed"] == fault.code
    assert fault.message in told.report["second_look"]["text"]
    assert [flag["metric"] for flag in told.report["flags"]] == ["bleed"]
    assert told.pool.looks == looks


def test_out_of_memory_goes_down_the_ladder_and_the_look_is_taken(studio):
    fault = OutOfMemory("out-of-memory", "memory ran out", "less")
    told = studio(workers(fault, times=1))
    assert (told.report["second_look"].get("failed"), told.pool.looks) == (None, 2)


def test_an_interruption_repeats_it(studio):
    told = studio(workers(Stopping(), times=1))
    assert (told.report["second_look"].get("failed"), told.pool.looks) == (None, 2)
