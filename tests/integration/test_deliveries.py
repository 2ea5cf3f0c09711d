"""One separation, many deliveries: the whole daemon with a network that counts how often it is asked."""

from __future__ import annotations

import json
import subprocess
import sys
import wave
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fakes"))

from workers import FakeWorkers

from stemd.config import load
from stemd.ledger import jobs, open_for_asking
from stemd.service.daemon import Service

TOP = """
[daemon]
state_dir = "state"
rescan = 0.3
[resources]
device = "cpu"
ram_reserve_gb = 0
[defaults]
model = "fake"
settle = 0.1
"""


class Counting(FakeWorkers):
    """Notes what the network is asked for."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def separate(self, request, work, stall=0.0):
        self.asked.append(tuple(request["stems"]))
        return super().separate(request, work, stall)


class House:
    """Rules, each with an inbox and an outbox of its name, and a daemon that works until nothing is left."""

    def __init__(self, home):
        self.home = home
        self.network = Counting()

    def rules(self, top="", **rules):
        text = TOP + top
        for name, keys in rules.items():
            text += f'[[rule]]\nname = "{name}"\ninbox = "{name}/in"\noutbox = "{name}/out"\n{keys}\n'
            (self.home / name / "in").mkdir(parents=True, exist_ok=True)
        (self.home / "config.toml").write_text(text)

    def record(self, *rules, name="song.wav"):
        for rule in rules:
            with wave.open(str(self.home / rule / "in" / name), "wb") as out:
                out.setnchannels(2)
                out.setsampwidth(2)
                out.setframerate(44100)
                out.writeframes(bytes(range(256)) * 70)

    def work(self, code=0):
        assert Service(load(self.home / "config.toml"), once=True, pool=self.network).run() == code

    def files(self, rule):
        root = self.home / rule / "out"
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())

    def story(self, job):
        ledger = open_for_asking(self.home / "state")
        try:
            return [event.text for event in jobs.events(ledger, job)]
        finally:
            ledger.close()

    def kept(self):
        return [folder for folder in (self.home / "state/results").iterdir() if folder.is_dir()]


@pytest.fixture
def house(tmp_path):
    return House(tmp_path)


def test_two_rules_at_the_same_time_compute_once(house):
    house.rules(karaoke='stems = ["vocals", "no_vocals"]', asr='stems = ["vocals"]\nformat = "flac"')
    house.record("karaoke", "asr")
    house.work()
    assert len(house.network.asked) == 1
    assert house.files("karaoke") == ["song/manifest.json", "song/no_vocals.wav", "song/vocals.wav"]
    assert house.files("asr") == ["song/manifest.json", "song/vocals.flac"]
    assert len(house.kept()) == 1


def test_a_retagged_recording_costs_only_its_delivery(house):
    house.rules(r='stems = ["vocals"]\nformat = "flac"')
    house.record("r")
    first = house.home / "r/in/song.wav"
    tagged = house.home / "tagged.flac"
    subprocess.run(["ffmpeg", "-v", "error", "-i", first, "-metadata", "title=New", tagged], check=True)
    house.work()
    tagged.rename(house.home / "r/in/other.flac")
    house.work()
    assert house.network.asked == [("vocals",)]
    assert house.files("r") == ["other/manifest.json", "other/vocals.flac", "song/manifest.json", "song/vocals.flac"]
    manifests = [json.loads((house.home / f"r/out/{name}/manifest.json").read_text()) for name in ("song", "other")]
    assert manifests[0]["source"]["sha256"] != manifests[1]["source"]["sha256"]
    assert any("the stems were there already" in text for text in house.story(2))


def test_no_more_is_kept_than_was_asked_for(house):
    house.rules("", r='stems = ["vocals"]')
    config = house.home / "config.toml"
    config.write_text(config.read_text().replace("rescan = 0.3", "rescan = 0.3\nresults_gb = 0"))
    house.record("r")
    house.work()
    assert house.files("r") == ["song/manifest.json", "song/vocals.wav"]
    assert house.kept() == []
