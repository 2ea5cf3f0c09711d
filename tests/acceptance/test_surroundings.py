"""Inboxes that go and come back, a configuration that changes, hours that end: the daemon goes on."""

import os
import shutil
import signal
import subprocess
from datetime import datetime, timedelta

import pytest
from hanging import hanging

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(400)]


def inbox_state(stemd):
    return {inbox["rule"]: inbox["state"] for inbox in stemd.json("status")["inboxes"]}


def test_an_inbox_that_vanishes_is_offline_and_picked_up_again(quick, tone):
    quick.start()
    quick.wait_until(lambda: "works by" in quick.log)
    quick.wait_until(lambda: inbox_state(quick) == {"r": "online"})
    (quick.home / "in").rename(quick.home / "away")
    quick.wait_until(lambda: inbox_state(quick) == {"r": "offline"})
    tone(quick.home / "away/a.wav", 1)
    (quick.home / "away").rename(quick.home / "in")
    quick.wait_until(lambda: quick.json("jobs", "--status", "done"))
    quick.wait_until(lambda: inbox_state(quick) == {"r": "online"})


def test_an_unmounted_inbox_is_offline_and_its_files_are_not_forgotten(quick, tone):
    inbox = quick.home / "in"
    mount = ["mount", "-t", "tmpfs", "stemd-test", str(inbox)]
    mounted = subprocess.run(mount, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"cannot mount here: {mounted.stderr.decode().strip()}")
    try:
        quick.start()
        quick.wait_until(lambda: "works by" in quick.log)
        quick.wait_until(lambda: inbox_state(quick) == {"r": "online"})
        subprocess.run(["umount", "-l", str(inbox)], check=True)
        quick.wait_until(lambda: inbox_state(quick) == {"r": "offline"})
        subprocess.run(mount, check=True)
        tone(inbox / "a.wav", 1)
        quick.wait_until(lambda: quick.json("jobs", "--status", "done"))
        quick.stop()
    finally:
        subprocess.run(["umount", "-l", str(inbox)], check=False, capture_output=True)


def test_a_share_that_hangs_holds_up_neither_the_commands_nor_the_other_rules(quick, tone):
    (quick.home / "nas").mkdir()
    with (quick.home / "config.toml").open("a") as config:
        config.write('[[rule]]\nname = "far"\ninbox = "nas/in"\noutbox = "away/../nas/out"\nmodel = "demo"\n')
    with hanging(quick.home / "nas"):
        assert 'rule "far": a folder of it does not answer' in quick("config", "check").stdout
        quick.start()
        quick.wait_until(lambda: "works by" in quick.log)
        assert f"{quick.home}/nas/in does not answer" in quick.log
        tone(quick.home / "in/a.wav", 1)
        quick.wait_until(lambda: quick.json("jobs", "--status", "done"))
        quick.daemon.send_signal(signal.SIGHUP)
        quick.wait_until(lambda: "is in force" in quick.log)
        assert quick.stop() == 0
    quick.start()
    quick.wait_until(lambda: inbox_state(quick) == {"r": "online", "far": "online"})
    assert (quick.home / "nas/in").is_dir()


def test_a_valid_configuration_is_taken_in_and_a_wrong_one_is_not(quick, tone):
    quick.start()
    quick.wait_until(lambda: "works by" in quick.log)
    good = (quick.home / "config.toml").read_text()
    (quick.home / "config.toml").write_text(good.replace('"demo"', '"demo"\nshiftz = 3'))
    quick.daemon.send_signal(signal.SIGHUP)
    quick.wait_until(lambda: "is not used" in quick.log)
    assert "shifts" in quick.log  # did you mean
    more = '\n[[rule]]\nname = "second"\ninbox = "in2"\noutbox = "out2"\nmodel = "demo"\nsettle = 0.3\n'
    more += '[rule.quality]\non_flag = "deliver"\n'
    (quick.home / "config.toml").write_text(good + more)
    quick.daemon.send_signal(signal.SIGHUP)
    quick.wait_until(lambda: "is in force" in quick.log)
    tone(quick.home / "in2/b.wav", 1)
    quick.wait_until(lambda: quick.json("jobs", "--status", "done"))
    assert "b/vocals.wav" in quick.tree("out2")


def test_a_symbolic_link_is_reported_and_not_followed(stemd, tone):
    real = tone(stemd.home / "elsewhere.wav", 1)
    (stemd.home / "in/link.wav").symlink_to(real)
    stemd("run", "--once")
    assert stemd.json("jobs") == []
    done = stemd("run", "--once")
    assert "symbolic link, not followed" in done.stderr
    assert real.exists()


def test_a_name_that_is_not_utf8_comes_back_under_it(quick, tone):
    tone(quick.home / "x.wav", 1).rename(os.fsdecode(os.fsencode(quick.home) + b"/in/caf\xe9.wav"))
    quick("run", "--once")
    assert any(name.startswith("caf\udce9/vocals") for name in quick.tree("out"))
    assert "\\xe9" in quick("jobs").stdout
    assert quick.json("jobs")[0]["status"] == "done"


@pytest.mark.parametrize("at_end", ["finish", "pause"])
def test_hours_keep_work_back_and_end_as_chosen(stemd, tone, at_end):
    now = datetime.now().astimezone()
    if now.hour == 23 and now.minute > 50:
        pytest.skip("the hours would span midnight in the middle of the test")
    later = (now + timedelta(hours=2)).strftime("%H:%M"), (now + timedelta(hours=3)).strftime("%H:%M")
    outside = f'[schedule]\nactive = ["{later[0]}-{later[1]}"]\nat_end = "{at_end}"'
    stemd.configure(top=outside.replace(f"{later[0]}-{later[1]}", "00:00-24:00"), shifts=8)
    tone(stemd.home / "in/a.wav", 12)
    stemd.start()
    stemd.wait_until(lambda: "works by" in stemd.log)
    stemd.wait_until(lambda: any(job["stage"] == "separate" for job in stemd.json("status")["running"]))
    stemd.configure(top=outside, shifts=8)
    stemd.daemon.send_signal(signal.SIGHUP)
    if at_end == "finish":
        stemd.wait_until(lambda: stemd.json("jobs")[0]["stage"] not in {"take", "normalise", "separate"})
        tone(stemd.home / "in/b.wav", 1, 300)
    stemd.wait_until(lambda: [job for job in stemd.json("status")["waiting"] if later[0] in (job["reason"] or "")])
    if at_end == "finish":
        stemd.wait_until(lambda: stemd.json("jobs", "--status", "done"))
    else:
        assert stemd.json("jobs")[0]["status"] == "waiting"
    stemd.wait_until(lambda: stemd.json("status")["running"] == [])


def test_without_ffmpeg_jobs_wait_and_go_on_when_it_is_installed(quick, tone):
    tools = quick.home / "bin"
    tools.mkdir()
    path, quick.env["PATH"] = quick.env["PATH"], str(tools)
    tone(quick.home / "in/a.wav", 1)
    quick.start()
    quick.wait_until(lambda: "works by" in quick.log)
    quick.wait_until(lambda: [job for job in quick.json("status")["waiting"] if job["code"] == "tool-missing"])
    assert "install it" in quick("why", "1").stdout
    for name in ("ffmpeg", "ffprobe"):
        (tools / name).symlink_to(shutil.which(name, path=path))
    quick.wait_until(lambda: quick.json("jobs", "--status", "done"))


def test_a_model_that_is_not_there_is_waited_for(stemd, tone):
    config = (stemd.home / "config.toml").read_text().replace('"demo"', '"nosuchmodel"')
    (stemd.home / "config.toml").write_text(config)
    tone(stemd.home / "in/a.wav", 1)
    assert stemd("run", "--once", check=3)
    (job,) = stemd.json("jobs")
    assert (job["status"], job["stage"]) == ("waiting", "take")
    assert job["code"] in {"unknown-model", "model-missing"}
    assert (stemd.home / "in/a.wav").exists()


def test_submit_copies_a_file_into_an_inbox_whole(stemd, tone):
    song = tone(stemd.home / "my song.wav", 1)
    stemd("submit", str(song), "--rule", "r")
    stemd("submit", str(song), "--rule", "r")
    assert stemd.tree("in") == ["my song (2).wav", "my song.wav"]
    assert 'no rule "x"' in stemd("submit", str(song), "--rule", "x", check=2).stderr
    assert "cannot be read" in stemd("submit", "nothing.wav", "--rule", "r", check=1).stderr
