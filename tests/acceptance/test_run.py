"""The installed `stemd run` with the embedded model: saved files come back, kills and stops lose nothing."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import pytest

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(400)]


def digest(path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def manifests(stemd):
    return [json.loads(path.read_text()) for path in (stemd.home / "out").rglob("manifest.json")]


def test_killed_at_random_moments_everything_is_delivered_once(stemd, tone):
    dice = random.Random(8)
    wanted = set()
    for number in range(3):
        path = tone(stemd.home / "in" / f"album {number}" / "song.wav", 1.5, 200 + 30 * number)
        wanted.add(digest(path))
    for _ in range(5):
        stemd.start()
        time.sleep(dice.uniform(0.3, 6))
        stemd.stop(signal.SIGKILL)
        assert not [path for path in stemd.tree("out") if "/." not in f"/{path}" and "manifest" not in path
                    and not (stemd.home / "out" / path).parent.joinpath("manifest.json").exists()]  # fmt: skip
    stemd("run", "--once")
    delivered = [manifest["source"]["sha256"] for manifest in manifests(stemd)]
    assert sorted(delivered) == sorted(wanted), stemd.log
    assert stemd.tree("in") == [f"_done/album {number}/song.wav" for number in range(3)]
    assert not list(stemd.home.rglob(".stemd-*"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stops_within_ten_seconds_and_carries_on(stemd, number, tone):
    stemd.configure(shifts=20)
    tone(stemd.home / "in" / "long.wav", 12)
    stemd.start()
    stemd.wait_until((stemd.home / "state/ledger.sqlite3").exists)
    stemd.wait_until(lambda: any(job["progress"] > 0 for job in separating(stemd)))
    assert stemd.stop(number) == 0
    assert stemd.tree("out") == []
    (job,) = stemd.json("jobs")
    assert (job["stage"], job["status"]) == ("separate", "waiting")
    stemd.configure()
    stemd("run", "--once")
    assert "long/manifest.json" in stemd.tree("out")


def separating(stemd):
    return [job for job in stemd.json("status")["running"] if job["stage"] == "separate"]


def test_bad_files_are_put_aside_with_their_reason_and_good_ones_go_on(stemd, tone):
    inbox = stemd.home / "in"
    (inbox / "empty.wav").touch()
    (inbox / "text.mp3").write_text("this is no music\n" * 99)
    whole = tone(stemd.home / "whole.wav", 3)
    (inbox / "truncated.wav").write_bytes(whole.read_bytes()[:200_000])
    subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=d=1", str(inbox / "silent film.mp4")], check=True
    )
    good = tone(inbox / "good.wav", 1)
    assert stemd("run", "--once", check=3)
    aside = [name for name in stemd.tree("in/_failed") if not name.endswith(".error.txt")]
    assert aside == ["empty.wav", "silent film.mp4", "text.mp3", "truncated.wav"]
    for name in aside:
        note = (inbox / "_failed" / f"{name}.error.txt").read_text()
        assert "What to do:" in note
        story = stemd.json("why", str(inbox / name))
        assert story["status"] == "failed"
        assert story["code"] in note
        assert story["hint"]
    assert {json["code"] for json in stemd.json("jobs", "--status", "failed")} >= {"empty-file", "truncated"}
    assert not good.exists()
    assert "good/vocals.wav" in stemd.tree("out")


def test_the_daemon_imports_neither_torch_nor_numpy_and_is_small(stemd):
    stemd.start()
    stemd.wait_until(lambda: "works by" in stemd.log)
    time.sleep(2)
    maps = Path(f"/proc/{stemd.daemon.pid}/maps").read_text()
    assert "torch" not in maps
    assert "numpy" not in maps
    resident = int(Path(f"/proc/{stemd.daemon.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    assert resident < 80e6
    told = subprocess.run(
        ["python3", "-X", "importtime", "-m", "stemd", "status"], cwd=stemd.home, capture_output=True, text=True,
        env=stemd.env | {"PATH": f"{Path(sys.executable).parent}:{stemd.env['PATH']}"}, check=False,
    ).stderr  # fmt: skip
    assert not {"torch", "numpy", "demucs"} & {line.rpartition("|")[2].strip() for line in told.splitlines()}


def test_a_second_daemon_is_refused(stemd):
    stemd.start()
    stemd.wait_until(lambda: "works by" in stemd.log)
    second = stemd("run", check=75)
    assert f"pid {stemd.daemon.pid}" in second.stderr


def test_pause_cancel_retry_and_resume(quick, tone):
    quick.start()
    quick.wait_until(lambda: "works by" in quick.log)
    assert "paused" in quick("pause").stdout
    tone(quick.home / "in/a.wav", 1)
    job = quick.wait_until(lambda: quick.json("jobs"))[0]["job"]
    quick.wait_until(lambda: quick.json("status")["waiting"][0]["reason"] == "paused")
    assert "cancelled" in quick("cancel", str(job)).stdout
    assert "cancelled already" in quick("cancel", str(job), check=1).stderr
    assert (quick.home / "in/a.wav").exists()
    quick("retry", str(quick.home / "in/a.wav"))
    quick("resume")
    quick.wait_until(lambda: quick.json("jobs", "--status", "done"))
    assert "a/vocals.wav" in quick.tree("out")


def test_the_same_recording_again_is_answered_from_its_job(quick, tone):
    first = tone(quick.home / "in/a.wav", 1).read_bytes()
    quick("run", "--once")
    (quick.home / "in/b.wav").write_bytes(first)
    began = time.monotonic()
    quick("run", "--once")
    assert time.monotonic() - began < 30
    assert [path for path in quick.tree("out") if path.startswith("b")] == []
    assert "same recording as job 1" in quick("why", str(quick.home / "in/b.wav")).stdout
    assert quick.tree("in") == ["_done/a.wav", "_done/b.wav"]


def test_a_full_outbox_waits_and_resumes_by_itself(quick, tone):
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "stemd-test", str(quick.home / "out")],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount here: {mounted.stderr.decode().strip()}")
    try:
        tone(quick.home / "in/a.wav", 2)
        quick.start()
        quick.wait_until(lambda: [job for job in quick.json("status")["waiting"] if "free" in job["reason"]
                                  or job["code"].startswith("outbox")] if "arrived" in quick.log else None)  # fmt: skip
        subprocess.run(["mount", "-o", "remount,size=64m", str(quick.home / "out")], check=True)
        quick.wait_until(lambda: quick.json("jobs", "--status", "done"))
        assert "a/vocals.wav" in quick.tree("out")
        assert quick.stop() == 0
    finally:
        subprocess.run(["umount", str(quick.home / "out")], check=False)
