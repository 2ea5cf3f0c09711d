"""One separation, many deliveries: the whole daemon with a network that counts how often it is asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from surroundings import TOP, noise, record
from workers import FakeWorkers, FlaggingWorkers

from stemd.config import load
from stemd.errors import OutOfMemory
from stemd.flow import cancelled
from stemd.inbox import stat_of
from stemd.ledger import LedgerFull, jobs, open_for_asking, open_for_writing, requests
from stemd.model import Arrival, Stage, Status
from stemd.results import bring_back
from stemd.service import answers, daemon, runner
from stemd.service.daemon import Service

DEFAULTS = '[defaults]\nmodel = "fake"\nsettle = 0.1\n'


class Counting(FakeWorkers):
    """Notes what the network is asked for."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def separate(self, request, work, stall=0.0):
        self.asked.append(tuple(request["stems"]))
        return super().separate(request, work, stall)


class Starving(FakeWorkers):
    """Memory runs out on every rung."""

    def separate(self, request, work, stall=0.0):
        raise OutOfMemory("out-of-memory", "memory ran out", "less is tried")


class House:
    """Rules, each with an inbox and an outbox of its name, and a daemon that works until nothing is left."""

    def __init__(self, home):
        self.home = home
        self.network = Counting()

    def rules(self, top="", **rules):
        text = TOP + DEFAULTS + top
        for name, keys in rules.items():
            text += f'[[rule]]\nname = "{name}"\ninbox = "{name}/in"\noutbox = "{name}/out"\n{keys}\n'
            (self.home / name / "in").mkdir(parents=True, exist_ok=True)
        (self.home / "config.toml").write_text(text)

    def record(self, *rules, name="song.wav"):
        for rule in rules:
            record(self.home / rule / "in" / name)

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

    def ask(self, verb, job, code=0, **details):
        """Leave a request, let the daemon work, and give its answer."""
        ledger = open_for_asking(self.home / "state")
        number = requests.ask(ledger, verb, who="ann", now=1.0, job=job, details=details)
        ledger.close()
        self.work(code)
        ledger = open_for_asking(self.home / "state")
        try:
            return requests.find(ledger, number)
        finally:
            ledger.close()

    def job(self, number):
        ledger = open_for_asking(self.home / "state")
        try:
            return jobs.get(ledger, number)
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


def test_rules_that_ask_for_different_stems_share_one_run_whichever_comes_first(house):
    house.rules(karaoke='stems = ["vocals", "no_vocals"]', practice='stems = ["drums", "no_bass"]', other="shifts = 0")
    house.record("karaoke")
    house.work()
    house.record("practice")
    house.work()
    assert [set(asked) for asked in house.network.asked] == [{"vocals", "no_vocals", "drums", "bass"}]
    assert house.files("karaoke") == ["song/manifest.json", "song/no_vocals.wav", "song/vocals.wav"]
    assert house.files("practice") == ["song/drums.wav", "song/manifest.json", "song/no_bass.wav"]


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


def delivered(house, more='stems = ["vocals", "no_vocals"]'):
    house.rules(r=more)
    house.record("r")
    house.work()
    return house


def test_files_are_made_once_more_in_another_format_and_under_other_names(house):
    delivered(house)
    before = {path: (house.home / "r/out" / path).read_bytes() for path in house.files("r")}
    house.rules(r='stems = ["vocals", "no_vocals"]\nformat = "flac"\nnames = "{track} - {stem}.{ext}"')
    answer = house.ask("redeliver", 1)
    assert answer.ok, answer.answer
    assert len(house.network.asked) == 1
    new = set(house.files("r")) - set(before)
    assert new == {"song - manifest.json", "song - no_vocals.flac", "song - vocals.flac"}
    assert {path: (house.home / "r/out" / path).read_bytes() for path in before} == before
    assert (house.job(1).status, house.job(1).again) == (Status.DONE, False)
    assert [path.name for path in (house.home / "r/in").rglob("*") if path.is_file()] == ["song.wav"]
    assert any("ann asked for its files once more" in text for text in house.story(1))
    assert not list((house.home / "state/work").iterdir())
    assert house.ask("redeliver", 1).ok
    assert "song - vocals (2).flac" in house.files("r")


def test_the_source_need_not_be_there_any_more(house):
    """Nor does a daemon's death between the two steps of a redelivery's beginning matter."""
    delivered(house, 'stems = ["vocals"]\nsource = "delete"')
    bring_back(house.kept()[0], house.home / "state/work/1")
    assert house.ask("redeliver", 1).ok
    assert house.files("r")[:2] == ["song (2)/manifest.json", "song (2)/vocals.wav"]


def test_a_result_that_is_gone_is_said_with_what_to_do_and_that_helps(house):
    delivered(house)
    for folder in house.kept():
        (folder / "vocals.wav").unlink()
    answer = house.ask("redeliver", 1)
    assert not answer.ok
    assert "the stems of job 1 are not kept any more; take its files out of the outbox, then put" in answer.answer
    assert "r/in/_done/song.wav into" in answer.answer
    assert house.job(1).status is Status.DONE
    (house.home / "r/out/song").rename(house.home / "elsewhere")
    (house.home / "r/in/_done/song.wav").rename(house.home / "r/in/song.wav")
    house.work()
    assert house.files("r") == ["song/manifest.json", "song/no_vocals.wav", "song/vocals.wav"]
    assert house.network.asked[1:] == [("vocals",)]


def test_a_rule_that_asks_for_another_separation_now_is_no_redelivery(house):
    delivered(house)
    house.rules(r='stems = ["drums"]')
    answer = house.ask("redeliver", 1)
    assert not answer.ok
    assert "asks for another separation now" in answer.answer
    assert house.files("r") == ["song/manifest.json", "song/no_vocals.wav", "song/vocals.wav"]


def test_a_redelivery_that_could_not_be_written_down_at_once_is_made(house, monkeypatch):
    """The disk of the ledger was full for a moment, after the job's folder had been brought back."""
    delivered(house)
    full = [LedgerFull("database or disk is full")]
    really = jobs.apply_within

    def apply(ledger, job, change, now):
        if change.again and full:
            raise full.pop()
        return really(ledger, job, change, now)

    monkeypatch.setattr(jobs, "apply_within", apply)
    monkeypatch.setattr(daemon, "_FULL", 0.1)
    assert house.ask("redeliver", 1).ok
    assert not full
    assert house.job(1).status is Status.DONE


def test_only_what_was_delivered_is_delivered_again(house):
    delivered(house)
    house.record("r", name="twin.wav")
    house.work()
    answer = house.ask("redeliver", 2)
    assert (answer.ok, answer.answer.rpartition("; ")[2]) == (False, "stemd redeliver 1")


def test_a_redelivery_that_cannot_be_done_leaves_everything_as_it_was(house):
    """The source stays in the archive and the job is done, with the reason in its story."""
    delivered(house)
    (house.home / "state/results").joinpath(house.job(1).key, "1/mix.json").write_text("{}")
    assert house.ask("redeliver", 1).ok
    assert house.job(1).status is Status.DONE
    (story,) = [text for text in house.story(1) if text.startswith("not delivered again: ")]
    assert story == f"{house.job(1).reason}; {house.job(1).hint}"
    assert [str(path.relative_to(house.home / "r/in")) for path in (house.home / "r/in").rglob("*.wav")] == [
        "_done/song.wav"
    ]
    assert len(house.kept()) == 1


def test_a_rule_that_changed_while_a_listener_was_waited_for_does_not_speak_for_what_waited(house):
    house.network = FlaggingWorkers()
    keys = 'stems = ["vocals", "no_vocals"]\nnames = "{model}/{track}/{stem}.{ext}"\n'
    house.rules(r=keys + "shifts = 2")
    house.record("r")
    house.work(code=3)
    house.rules(r=keys.replace("stems", 'model = "other"\nstems') + "shifts = 5")
    assert house.ask("approve", 1).ok
    manifest = json.loads((house.home / "r/out/fake/song/manifest.json").read_text())
    assert (manifest["model"]["name"], manifest["recipe"]["model"], manifest["recipe"]["shifts"]) == ("fake", "fake", 2)
    assert manifest["recipe"]["digest"] == house.job(1).recipe


def test_the_result_that_a_listener_has_chosen_is_delivered_again(house):
    house.network = FlaggingWorkers()
    house.rules(r='stems = ["vocals", "no_vocals"]')
    house.record("r")
    house.work(code=3)
    assert house.ask("rerun", 1, code=3, preset="draft", model="fake").ok
    assert not house.ask("redeliver", 1, code=3).ok
    assert house.ask("approve", 1, result=2).ok
    assert house.ask("redeliver", 1).ok
    told = [json.loads((house.home / f"r/out/{name}/manifest.json").read_text()) for name in ("song", "song (2)")]
    assert [manifest["result"] for manifest in told] == [{"number": 2, "preset": "draft"}] * 2
    assert told[0]["files"] == told[1]["files"]


def test_every_copy_of_a_recording_that_cannot_be_used_is_put_aside(house):
    house.rules(r="")
    for name in ("a.wav", "b.wav", "c.wav"):
        (house.home / "r/in" / name).write_bytes(b"no sound at all" * 50)
    house.work(code=3)
    assert [house.job(number).status for number in (1, 2, 3)] == [Status.FAILED] * 3
    put_aside = {path.name for path in (house.home / "r/in/_failed").iterdir()}
    assert put_aside == {f"{letter}.wav{end}" for letter in "abc" for end in ("", ".error.txt")}


def test_a_file_that_is_back_after_a_restart_is_taken(house):
    """A share went away before its file was taken, and came back after the machine had been started anew."""
    house.rules(r="")
    house.record("r")
    source = house.home / "r/in/song.wav"
    (house.home / "state").mkdir()
    ledger = open_for_writing(house.home / "state")
    arrival = Arrival("r", os.fsencode(source), stat_of(source.lstat()))
    (job,) = jobs.admit(ledger, [(arrival, b"song.wav")], 1.0)
    jobs.apply(ledger, job, cancelled(job, "song.wav was taken away before it was read", "vanished"), 2.0)
    ledger.close()
    house.work()
    assert house.job(1).status is Status.DONE
    assert "the file is back" in house.story(1)


def test_a_recording_for_which_memory_runs_out_on_every_rung_is_held(house):
    house.network = Starving()
    house.rules(r="")
    house.record("r")
    house.work(code=3)
    job = house.job(1)
    assert (job.status, job.code) == (Status.HELD, "out-of-memory")
    assert "RAM" in job.reason


def test_it_ends_though_a_copy_waits_for_a_recording_that_waits_for_a_listener(house):
    house.network = FlaggingWorkers()
    house.rules(r='stems = ["vocals", "no_vocals"]')
    house.record("r")
    house.work(code=3)
    house.record("r", name="copy.wav")
    house.work(code=3)
    assert [house.job(number).status for number in (1, 2)] == [Status.HELD, Status.WAITING]
    assert house.ask("approve", 1).ok
    assert [house.job(number).status for number in (1, 2)] == [Status.DONE] * 2


def test_it_ends_though_a_copy_waits_for_a_recording_that_cannot_go_on(house, monkeypatch):
    monkeypatch.setattr(runner, "_AGAIN", 0.01)
    house.rules(r='stems = ["guitar"]')
    house.record("r")
    house.record("r", name="copy.wav")
    house.work(code=3)
    assert sorted((house.job(number).status, house.job(number).stage) for number in (1, 2)) == [
        (Status.WAITING, Stage.RETIRE), (Status.WAITING, Stage.SEPARATE),
    ]  # fmt: skip


def test_it_ends_though_a_job_waits_whose_rule_is_gone(house):
    house.network = FlaggingWorkers()
    house.rules(r='stems = ["vocals", "no_vocals"]')
    house.record("r")
    house.work(code=3)
    house.rules(q='stems = ["vocals", "no_vocals"]')
    assert house.ask("retry", 1, code=3).ok
    assert house.job(1).status is Status.WAITING


def test_a_copy_that_comes_while_the_outbox_is_away_is_not_delivered_twice(house, monkeypatch):
    delivered(house)
    house.record("r", name="copy.wav")
    outbox, away = house.home / "r/out", house.home / "away"

    def unmounting(model):
        outbox.exists() and outbox.rename(away)
        return house.network.card(model)

    monkeypatch.setattr(house.network, "describe", unmounting)
    house.work()
    assert (house.job(2).status, house.job(2).twin) == (Status.DONE, 1)
    assert house.job(1).status is Status.DONE


def test_a_daemon_that_dies_before_a_copy_takes_over_what_is_gone_loses_nothing(house, monkeypatch):
    delivered(house)
    (house.home / "r/out/song").rename(house.home / "elsewhere")
    house.record("r", name="copy.wav")
    with monkeypatch.context() as killed:
        killed.setattr(jobs, "supersede", lambda *_: sys.exit("killed"))
        with pytest.raises(SystemExit):
            house.work()
    house.work()
    assert house.files("r") == ["copy/manifest.json", "copy/no_vocals.wav", "copy/vocals.wav"]
    assert (house.job(1).twin, house.job(2).twin) == (2, None)


def test_words_and_names_that_are_no_text_stop_nobody(house):
    house.network = FlaggingWorkers()
    house.rules(r='stems = ["vocals", "no_vocals"]')
    house.record("r", name="caf\udce9.wav")
    house.work(code=3)
    answer = house.ask("reject", 1, code=3, reason="zu laut f\udcfcr uns, \ud800")
    assert answer.ok
    assert house.job(1).reason == "rejected by ann: zu laut f\\udcfcr uns, \\ud800"
    assert (house.home / "r/in/_failed/caf\udce9.wav").exists()


def test_a_mistake_in_an_answer_is_told_to_whoever_asked(house, monkeypatch):
    delivered(house)
    monkeypatch.setitem(answers.VERBS, "redeliver", lambda _asked: 1 / 0)
    answer = house.ask("redeliver", 1)
    assert (answer.ok, answer.answer) == (False, "unexpected ZeroDivisionError: division by zero; see the daemon's log")


def test_many_files_at_once_are_taken_in_part_by_part(house, monkeypatch):
    """The daemon gives signs of life between the parts."""
    monkeypatch.setattr(daemon, "_AT_ONCE", 2)
    house.rules(r="")
    for number in range(5):
        record(house.home / f"r/in/{number}.wav", noise(number))
    house.work()
    assert [house.job(number).status for number in range(1, 6)] == [Status.DONE] * 5


class Noting(FakeWorkers):
    """Notes which folder of models it is told of, and then lets the daemon stop."""

    def __init__(self):
        super().__init__()
        self.told, self.after = [], lambda: None

    def use_models(self, models):
        self.told.append(models)
        self.after()


def test_a_reload_takes_over_where_models_are_and_how_often_to_look(house):
    house.rules(r="")
    config, pool = house.home / "config.toml", Noting()
    service = Service(load(config), pool=pool)
    (house.home / "nets").mkdir()
    config.write_text(config.read_text().replace("rescan = 0.3", 'rescan = 7\nmodels = "nets"'))
    service._reload, pool.after = lambda: load(config), service.stop
    service._on_hangup(1, None)
    assert service.run() == 0
    assert pool.told == [str(house.home / "nets")]
    assert service.inboxes.rescan == 7
