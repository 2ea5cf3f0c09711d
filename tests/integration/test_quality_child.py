"""The quality child as the daemon sees it: JSON lines in, JSON lines out, real files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import singing
import soundfile

from stemd.children import Worker
from stemd.errors import StemdError, Stopping

RATE = 22050
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "daemon")}


class Song:
    """A folder with a mix and its stems."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.voice = singing.voice(8.0, rate=RATE)
        self.band = singing.band(8.0, rate=RATE)
        self.mix = self.put("mix.wav", self.voice + self.band)
        self.vocals = self.put("vocals.wav", self.voice)
        self.clean = self.put("no_vocals.wav", self.band)

    def put(self, name: str, sound: np.ndarray, rate: int = RATE, subtype: str | None = "FLOAT") -> str:
        path = self.folder / name
        soundfile.write(os.fsencode(path), sound, rate, subtype=subtype, format=path.suffix[1:].upper())
        return str(path)

    def request(self, **different: Any) -> dict[str, Any]:
        stems = {"vocals": self.vocals, "no_vocals": self.clean}
        return {"do": "measure", "mix": self.mix, "stems": stems, **different}


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Song:
    return Song(tmp_path_factory.mktemp("song"))


@pytest.fixture(scope="module")
def ask():
    worker = Worker("stemd.quality", "quality check")

    def asked(
        question: dict[str, Any], on_progress: Callable[[dict[str, Any]], None] = lambda _: None
    ) -> dict[str, Any]:
        answer = worker.ask(question, stop=threading.Event(), on_progress=on_progress)
        return json.loads(json.dumps(answer, allow_nan=False))

    yield asked
    worker.kill()


def failure(ask, question: dict[str, Any]) -> str:
    with pytest.raises(StemdError) as error:
        ask(question)
    assert error.value.hint
    return error.value.code


def metrics(report: dict[str, Any]) -> set[str]:
    return {flag["metric"] for flag in report["flags"]}


def test_clean_stems_pass(song, ask) -> None:
    fractions = []
    report = ask(song.request(title="song"), lambda message: fractions.append(message["progress"]))
    assert report["verdict"] == "pass"
    assert report["score"] < -25
    assert report["null_db"] is None
    assert report["stems"]["vocals"]["rms_db"] == pytest.approx(20 * np.log10(singing.rms(song.voice)), abs=0.01)
    assert report["accompaniment_from"] == "file"
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


def test_bleed_is_flagged_with_range_figure_threshold_and_sentence(song, ask) -> None:
    leaky = song.put("leaky.wav", song.band + singing.at(song.voice, song.voice, -12))
    report = ask(song.request(stems={"vocals": song.vocals, "no_vocals": leaky}))
    assert report["verdict"] == "flagged"
    assert report["bleed_db"] == pytest.approx(-12, abs=2)
    (flag, *_) = [flag for flag in report["flags"] if flag["metric"] == "bleed"]
    assert flag["text"].startswith("vocal audible in no_vocals at 0:0")
    assert (flag["value"], flag["threshold"]) == (pytest.approx(-12, abs=4), -20.0)
    assert 0 <= flag["start"] < flag["end"] <= 8.0


def test_the_rules_threshold_decides(song, ask) -> None:
    leaky = song.put("leaky2.wav", song.band + singing.at(song.voice, song.voice, -12))
    request = song.request(stems={"vocals": song.vocals, "no_vocals": leaky}, thresholds={"bleed_db": -5.0})
    assert ask(request)["verdict"] == "pass"


def test_four_stems_tell_the_vocal_in_each_of_the_others(song, ask) -> None:
    drums, bass = song.band * np.float32(0.3), song.band * np.float32(0.2)
    other = song.band * np.float32(0.5)
    stems = {
        "drums": song.put("drums.wav", drums), "bass": song.put("bass.wav", bass), "vocals": song.vocals,
        "other": song.put("other.wav", other + singing.at(song.voice, song.voice, -10)),
    }  # fmt: skip
    report = ask(song.request(stems=stems))
    assert report["accompaniment_from"] == "sum of drums, bass, other"
    assert report["bleed"]["other"]["score"] > -13
    assert report["bleed"]["drums"]["score"] < -25
    assert report["bleed_db"] == pytest.approx(-10, abs=2)


def test_a_vocal_alone_is_held_against_the_rest_of_the_mix(song, ask) -> None:
    report = ask(song.request(stems={"vocals": song.vocals}))
    assert report["accompaniment_from"] == "mix minus vocals"
    assert report["score"] < -25
    assert report["verdict"] == "pass"


def test_stems_alone_without_a_mix(song, ask) -> None:
    report = ask(song.request(mix=None))
    assert report["mix"] is None
    assert report["null_db"] is None
    assert report["stems"]["vocals"]["missing_frames"] is None


@pytest.mark.parametrize("which", ["instrumental", "a cappella", "both silent"])
def test_silent_stems_pass(song, ask, which) -> None:
    nothing = song.put("nothing.wav", np.zeros_like(song.band))
    stems = {"vocals": song.vocals, "no_vocals": song.clean}
    stems |= {"vocals": nothing} if which != "a cappella" else {}
    stems |= {"no_vocals": nothing} if which != "instrumental" else {}
    mix = {"instrumental": song.clean, "a cappella": song.vocals, "both silent": nothing}[which]
    report = ask(song.request(mix=mix, stems=stems))
    assert report["verdict"] == "pass"
    assert report["score"] <= -60
    if which != "a cappella":
        assert report["bleed_db"] is None


def test_faults_are_flagged(song, ask) -> None:
    broken = song.band.copy()
    broken[1000:1010] = np.nan
    broken[30000:60000] = np.clip(broken[30000:60000] * 30, -1, 1)
    broken = (broken + 0.05)[:-4000]
    report = ask(song.request(stems={"vocals": song.vocals, "no_vocals": song.put("broken.wav", broken)}))
    assert {"nan", "length", "dc", "null"} <= metrics(report)
    found = report["stems"]["no_vocals"]
    assert (found["nan_samples"], found["missing_frames"]) == (20, 4000)
    clipped = song.put("clipped.wav", np.clip(song.band * 8, -1, 1))
    again = ask(song.request(mix=None, stems={"vocals": song.vocals, "no_vocals": clipped}))
    assert "clipping" in metrics(again)
    assert again["stems"]["no_vocals"]["clipped_samples"] > 100


def test_missing_stretches_show_in_the_null_test(song, ask) -> None:
    holed = song.band.copy()
    holed[3 * RATE : 5 * RATE] = 0
    report = ask(song.request(stems={"vocals": song.vocals, "no_vocals": song.put("holed.wav", holed)}))
    (flag, *_) = [flag for flag in report["flags"] if flag["metric"] == "null"]
    assert (flag["start"], flag["end"]) == (pytest.approx(3, abs=0.6), pytest.approx(5, abs=0.6))


def test_a_click_at_a_segments_border_is_flagged(song, ask) -> None:
    clicked = song.band.copy()
    border = int(0.75 * int(2.2 * RATE)) * 2
    clicked[border:] += 0.4
    stems = {"vocals": song.vocals, "no_vocals": song.put("clicked.wav", clicked)}
    assert "seam" in metrics(ask(song.request(stems=stems, segment=2.2, overlap=0.25)))
    assert "seam" not in metrics(ask(song.request(segment=2.2, overlap=0.25)))


@pytest.mark.parametrize(
    "name, subtype", [("x.flac", "PCM_16"), ("x.wav", "PCM_24"), ("x.mp3", None), ("x.rf64", "FLOAT")]
)
def test_every_format_is_read(song, ask, name, subtype) -> None:
    report = ask(song.request(mix=None, stems={"vocals": song.put(name, song.voice, subtype=subtype)}))
    assert report["stems"]["vocals"]["rms_db"] == pytest.approx(20 * np.log10(singing.rms(song.voice)), abs=0.1)


@pytest.mark.parametrize("frames", [0, 1, 2, 777])
@pytest.mark.parametrize("channels", [1, 2])
def test_short_and_mono_files_have_an_answer(song, ask, frames, channels) -> None:
    path = song.put(f"short{frames}{channels}.wav", np.full((frames, channels), 0.1, dtype=np.float32))
    report = ask(song.request(mix=path, stems={"vocals": path, "no_vocals": path}))
    assert report["stems"]["vocals"]["frames"] == frames


def test_a_mono_stem_beside_a_stereo_mix(song, ask) -> None:
    mono = song.put("mono.wav", song.voice.mean(axis=1))
    assert ask(song.request(stems={"vocals": mono, "no_vocals": song.clean}))["stems"]["vocals"]["channels"] == 1


def test_a_mix_of_another_rate_or_of_six_channels_is_measured_beside_the_stems(song, ask) -> None:
    resampled = song.put("48.wav", (song.voice + song.band)[: 22050 * 8 // 2 * 2], rate=22051)
    surround = song.put("6.wav", np.repeat(song.voice + song.band, 3, axis=1))
    for mix in (resampled, surround):
        report = ask(song.request(mix=mix))
        assert report["verdict"] == "pass"
        assert report["null_of"] == []
        assert report["bleed_db"] == pytest.approx(ask(song.request())["bleed_db"], abs=0.01)


def test_names_that_are_not_utf_8(song, ask) -> None:
    path = song.put(os.fsdecode(b"v\xff\xfe.wav"), song.voice)
    assert ask(song.request(stems={"vocals": path, "no_vocals": song.clean}))["verdict"] == "pass"


def test_what_cannot_be_measured_is_said_with_a_hint(song, ask) -> None:
    text = song.folder / "text.wav"
    text.write_text("no sound")
    other_rate = song.put("rate.wav", song.voice, rate=16000)
    nan = {"do": "measure", "stems": {"vocals": song.vocals}, "thresholds": {"loudness": 3}}
    assert failure(ask, song.request(stems={})) == "bad-request"
    assert failure(ask, song.request(stems={"vocals": "/no/such/file.wav"})) == "no-file"
    assert failure(ask, song.request(stems={"vocals": str(song.folder)})) == "no-file"
    assert failure(ask, song.request(stems={"vocals": str(text)})) == "unreadable-audio"
    assert failure(ask, song.request(stems={"vocals": other_rate, "no_vocals": song.clean})) == "rates-differ"
    assert failure(ask, song.request(vocals="voice")) == "bad-request"
    assert failure(ask, nan) == "bad-request"
    assert failure(ask, {"do": "sing"}) == "bad-request"
    assert failure(ask, song.request(report="/proc/nothing/here")) == "report-unwritable"
    assert ask(song.request())["verdict"] == "pass"


def test_the_reports_files(song, ask, tmp_path) -> None:
    report = ask(song.request(report=str(tmp_path / "report"), title="Lied über Bäche"))
    written = json.loads((tmp_path / "report" / "quality.json").read_text())
    assert written == report
    assert (tmp_path / "report" / "quality.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert len(list((tmp_path / "report").iterdir())) == 2


def test_cancel_ends_a_measurement_and_the_child_lives_on(song) -> None:
    long = song.folder / "long.wav"
    with soundfile.SoundFile(long, "w", RATE, 2, "FLOAT") as file:
        for _ in range(60):
            file.write(song.voice)
    stop, worker = threading.Event(), Worker("stemd.quality", "quality check")
    try:
        with pytest.raises(Stopping):
            worker.ask({"do": "measure", "stems": {"vocals": str(long), "no_vocals": str(long)}},
                       stop=stop, on_progress=lambda _: stop.set())  # fmt: skip
        pid = worker.pid
        assert worker.ask(song.request(), stop=threading.Event())["verdict"] == "pass"
        assert worker.pid == pid
    finally:
        worker.kill()


def conversation(*lines: str) -> tuple[list[dict[str, Any]], int]:
    done = subprocess.run([sys.executable, "-m", "stemd.quality"], input="".join(f"{line}\n" for line in lines),
                          capture_output=True, text=True, env=ENVIRONMENT, check=False)  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()], done.returncode


def test_lines_that_are_no_request_are_answered_and_the_end_of_input_ends_it(song) -> None:
    said, status = conversation("not json", "[1]", json.dumps(song.request()))
    assert [message["failed"]["code"] for message in said[:2]] == ["bad-request", "bad-request"]
    assert said[-1]["done"]["verdict"] == "pass"
    assert status == 0


def test_a_cancel_that_finds_nothing_under_way_leaves_the_next_request_alone(song) -> None:
    said, _ = conversation('{"do": "cancel"}', json.dumps(song.request()))
    assert "failed" not in said[-1]
    assert said[-1]["done"]["verdict"] == "pass"


def test_a_cancel_is_heard_before_its_request_is_taken_up(song) -> None:
    said, _ = conversation(json.dumps(song.request()), '{"do": "cancel"}')
    assert said[-1]["failed"]["code"] == "cancelled"


def test_sigint_is_the_parents_and_sigterm_ends_it() -> None:
    child = subprocess.Popen([sys.executable, "-m", "stemd.quality"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             text=True, env=ENVIRONMENT)  # fmt: skip
    with child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write('{"do": "sing"}\n')
        child.stdin.flush()
        assert "bad-request" in child.stdout.readline()
        child.send_signal(signal.SIGINT)
        child.stdin.write('{"do": "sing"}\n')
        child.stdin.flush()
        assert "bad-request" in child.stdout.readline()
        child.send_signal(signal.SIGTERM)
        assert child.wait(30) == 143
