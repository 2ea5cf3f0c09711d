"""What is flagged waits for a listener, and every decision holds, however often the daemon is killed meanwhile."""

import json
import signal
import subprocess
import time
from pathlib import Path
from shutil import copytree

import pytest

from stemd.demo import SONG
from stemd.engine.names import DEMO_FOLDER

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(400)]

FLAG_ALL = "[rule.quality]\nbleed_db = -90"


@pytest.fixture
def song(stemd):
    """Six seconds of the built-in song in the inbox of a rule that flags everything."""
    stemd.configure(FLAG_ALL)
    placed = stemd.home / "in/song.flac"
    subprocess.run(["ffmpeg", "-v", "error", "-ss", "8", "-t", "6", "-i", SONG, placed], check=True)
    return placed


@pytest.fixture
def flagged(stemd, song):
    """The same, for what does not depend on the networks and the check's own ear."""
    stemd.do_without_networks("--flagging")


def hold(stemd):
    stemd("run", "--once", check=3)
    (job,) = stemd.json("jobs", "--status", "held")
    return job


def story(stemd):
    return [event["text"] for event in stemd.json("jobs")[0]["events"]]


def test_a_flagged_result_waits_in_the_review_folder_and_approval_publishes_it(stemd, song):
    job = hold(stemd)
    assert stemd.tree("out") == []
    held = {"manifest.json", "no_vocals.wav", "quality.json", "quality.png", "vocals.wav"}
    assert set(stemd.tree("in/_review/song")) == held
    assert "bleed" in job["reason"] or "audible" in job["reason"]
    assert f"{job['job']}" in stemd("review", "list").stdout
    shown = stemd("review", "show", str(job["job"])).stdout
    assert str(stemd.home / "in/_review/song/vocals.wav") in shown
    stemd.start()
    stemd.wait_until(lambda: stemd.json("status")["daemon"]["running"])
    assert "approved" in stemd("review", "approve", str(stemd.home / "in/_review/song/vocals.wav")).stdout
    stemd.wait_until(lambda: stemd.json("jobs", "--status", "done"))
    assert set(stemd.tree("out/song")) == held - {"quality.json", "quality.png"}
    assert stemd.tree("in") == ["_done/song.flac"]
    assert json.loads((stemd.home / "out/song/manifest.json").read_text())["approved"] is True
    (done,) = stemd.json("jobs")
    assert {Path(file["path"]).parent for file in done["artifacts"]} == {stemd.home / "out/song"}
    (decision,) = [event for event in done["events"] if event["text"].startswith("approved by ")]
    assert time.time() - decision["at"] < 120
    late = stemd("review", "reject", str(done["job"]), check=1)
    assert "does not wait for a review; it is done" in late.stderr


def test_a_second_look_goes_through_the_same_engine_and_stands_in_the_report(stemd, song):
    stemd.configure(f"{FLAG_ALL}\nsecond_look = true")
    stemd("run", "--once", check=None)
    assert any(text.startswith("a second look is taken: vocal audible") for text in story(stemd))
    (place,) = [folder for folder in ("in/_review/song", "out/song") if (stemd.home / folder).exists()]
    looked = json.loads((stemd.home / place / "manifest.json").read_text())["quality"]["second_look"]
    assert looked["ranges"]
    assert "failed" not in looked


def test_a_rejected_recording_is_put_aside_with_the_reviewers_words(stemd, flagged):
    hold(stemd)
    asked = stemd("review", "reject", "1", "--reason", "hiss at 0:03").stdout
    assert "noted" in asked
    assert "has asked to reject job 1 already" in stemd("review", "approve", "1", check=1).stderr
    stemd("run", "--once", check=3)
    assert stemd.tree("out") == []
    assert stemd.tree("in") == ["_failed/song.flac", "_failed/song.flac.error.txt"]
    note = (stemd.home / "in/_failed/song.flac.error.txt").read_text()
    assert "hiss at 0:03" in note
    assert "rejected by " in note
    (job,) = stemd.json("jobs", "--status", "failed")
    assert (job["code"], job["artifacts"]) == ("rejected", [])


def test_a_copy_that_somebody_worked_on_is_never_taken_away(stemd, flagged):
    hold(stemd)
    mine = stemd.home / "in/_review/song/my notes.txt"
    mine.write_text("take two")
    stemd("review", "approve", "1")
    stemd("run", "--once")
    assert mine.read_text() == "take two"
    assert "vocals.wav" in stemd.tree("in/_review/song")
    assert "vocals.wav" in stemd.tree("out/song")
    assert any("was changed and stays" in text for text in story(stemd))


def test_killed_again_and_again_an_approval_publishes_once(stemd, flagged):
    hold(stemd)
    stemd("review", "approve", "1")
    for pause in (0.6, 0.9, 1.1, 1.3, 1.6):
        stemd.start()
        time.sleep(pause)
        stemd.stop(signal.SIGKILL)
        inside = {"vocals.wav", "no_vocals.wav", "manifest.json"}
        assert inside <= set(stemd.tree("out/song")) or inside <= set(stemd.tree("in/_review/song"))
    stemd("run", "--once")
    assert stemd.tree("out") == ["song/manifest.json", "song/no_vocals.wav", "song/vocals.wav"]
    assert stemd.tree("in") == ["_done/song.flac"]


def test_a_second_result_lies_beside_the_first_until_one_is_approved(stemd, song):
    job = hold(stemd)
    refused = stemd("review", "rerun", "--preset", "best", "1", check=1)
    assert "htdemucs_ft is not on this machine" in refused.stderr
    assert "separated once more" in stemd_answer(stemd, "review", "rerun", "--preset", "draft", "--model", "demo", "1")
    again = hold(stemd)
    folders = {path.parent.name for path in (stemd.home / "in/_review").rglob("vocals.wav")}
    assert folders == {"song", "song (draft, demo)"}
    assert stemd.tree("out") == []
    assert [result["number"] for result in again["others"]] == [1]
    assert (again["result"], again["preset"]) == (2, "draft")
    assert again["key"] != job["key"]
    made = [json.loads(path.read_text()) for path in sorted((stemd.home / "in/_review").rglob("manifest.json"))]
    assert [manifest["recipe"]["shifts"] for manifest in made] == [0, 1]
    shown = stemd("review", "show", "1").stdout
    assert "result 1, as the rule says" in shown
    assert "result 2, preset draft with demo" in shown
    same = stemd_answer(stemd, "review", "rerun", "--preset", "draft", "--model", "demo", "1", check=1)
    assert "was made in just this way" in same
    first = (stemd.home / "in/_review/song/vocals.wav").read_bytes()
    stemd("review", "approve", "--result", "1", "1")
    stemd("run", "--once")
    assert (stemd.home / "out/song/vocals.wav").read_bytes() == first
    assert stemd.tree("out") == ["song/manifest.json", "song/no_vocals.wav", "song/vocals.wav"]
    assert stemd.tree("in") == ["_done/song.flac"]


def stemd_answer(stemd, *words, check=0):
    """Ask a running daemon."""
    stemd.start()
    stemd.wait_until(lambda: stemd.json("status")["daemon"]["running"])
    done = stemd(*words, check=check)
    stemd.stop()
    return done.stdout + done.stderr


def test_a_result_that_cannot_be_made_leaves_the_listener_the_first(stemd, song):
    hold(stemd)
    copytree(DEMO_FOLDER, stemd.home / "models")
    (stemd.home / "models/demo.yaml").rename(stemd.home / "models/own.yaml")
    config = (stemd.home / "config.toml").read_text()
    for before, after in (
        ("[daemon]", '[daemon]\nmodels = "models"'),
        ('"demo"', '"own"'),
        ('"no_vocals"]', '"no_vocals", "kazoo"]'),
    ):
        config = config.replace(before, after)
    (stemd.home / "config.toml").write_text(config)
    stemd("review", "rerun", "--preset", "draft", "--model", "demo", "1")
    held = hold(stemd)
    assert (held["result"], held["others"]) == (1, [])
    assert any("no result 2 (preset draft with demo)" in text and "kazoo" in text for text in story(stemd))
    assert "vocals.wav" in stemd.tree("in/_review/song")


def test_another_try_of_a_held_job_takes_its_copy_back_first(stemd, flagged):
    hold(stemd)
    stemd("retry", "1")
    hold(stemd)
    assert {path.split("/")[1] for path in stemd.tree("in") if path.startswith("_review")} == {"song"}
