"""`stemd status --watch`: what a person sees, drawn from the very facts that `stemd status --json` prints."""

from __future__ import annotations

import io
import time
from typing import Any

import pytest
from rich.console import Console

from stemd import live
from stemd.commands import watch
from stemd.commands.show import _status_lines as status_lines
from stemd.ledger import Lock, jobs, open_for_writing
from stemd.model import Arrival, Disk, Gpu, Headroom, Stat
from stemd.service.live import headroom as described
from stemd.status import reason, status

GIB = 1 << 30


def drawn(facts: dict[str, Any], width: int = 110) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(watch.picture(facts))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(len(line) <= width for line in text.splitlines())
    return str(text)


@pytest.fixture
def ledger(tmp_path):
    ledger = open_for_writing(tmp_path)
    yield ledger
    ledger.close()


@pytest.fixture
def facts(tmp_path, ledger):
    """A daemon at work, as it tells itself: two jobs, one of which runs."""
    admitted = jobs.admit(
        ledger,
        [(Arrival("karaoke", name, Stat(1, 2, 3)), name) for name in (b"one [red]bold[/red].wav", b"n\xffn.flac")],
        time.time(),
    )
    headroom = Headroom(
        time.time(), 5 * GIB, 30 * GIB, (Gpu(0, "u", "NVIDIA RTX", 24 * GIB, round(3.2 * GIB), 50.0),),
        (Disk(tmp_path, 1, 100 * GIB, 50 * GIB),), 33.0, problems=("GPU 1 (Old) is gone",),
    )  # fmt: skip
    running = {
        "job": admitted[0].id, "rule": "karaoke", "name": "one [red]bold[/red].wav", "stage": "separate",
        "progress": 0.43, "seconds": 75.2, "eta": 99.0, "x_realtime": 3.14, "device": "cuda:0", "still": 75.0,
        "rung": "cuda:0, auto, batch 4, segment 7.8 s",
    }  # fmt: skip
    lock = Lock(tmp_path)
    live.write(
        tmp_path,
        {
            "pid": 7, "version": "1.2", "paused": "", "closed": "", "cpu_only": False, "running": [running],
            "waits": {str(admitted[1].id): "needs 5.1 GiB GPU, 3.2 free"}, "headroom": described(headroom),
            "inboxes": [{"rule": "karaoke", "state": "offline", "reason": "it is not mounted", "settling": 2}],
        },
    )  # fmt: skip
    yield status(tmp_path, ledger)
    lock.release()


def test_everything_a_person_asks_is_there(facts):
    text = drawn(facts)
    for words in (
        "at work (version 1.2, pid 7)",
        "inbox karaoke: offline (it is not mounted), 2 settling",
        "5.0 GiB free of 30.0",
        "3.2 GiB free of 24.0, others use 50 %",
        "others use 33 %",
        "GPU 1 (Old) is gone",
        "one [red]bold[/red].wav",
        "43%",
        "1:39 left",
        "3.1 x realtime",
        "stands still for 1:15: does its share hang?",
        "needs 5.1 GiB GPU, 3.2 free",
        "n\\xffn.flac",
    ):
        assert words in text


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_it_fits_any_terminal(facts, width):
    assert drawn(facts, width).count("\n") > 10


@pytest.mark.parametrize(
    "change, words",
    [
        ({"closed": "outside hours, next 22:00"}, "outside hours, next 22:00"),
        ({"paused": "anna"}, "paused by anna; go on with: stemd resume"),
        ({"cpu_only": True}, "no GPU: separations run on the CPU"),
    ],
)
def test_what_keeps_it_from_working_is_said(facts, change, words):
    assert words in drawn(facts | change)


def test_commands_after_deliveries_are_shown_while_they_run(facts):
    hook = {"job": 1, "rule": "r", "name": "one.wav", "command": "whisper", "seconds": 75.2}
    assert "commands after delivery" not in drawn(facts)
    assert "whisper" in drawn(facts | {"hooks": [hook]})
    told = "\n".join(status_lines(facts | {"hooks": [hook], "inboxes": []}))
    assert "hook whisper for one.wav: 1:15 (job 1)" in told


def test_names_from_outside_are_no_markup(facts):
    disk = facts["headroom"]["disks"][0] | {"folder": "/srv/a [live]"}
    gpu = facts["headroom"]["gpus"][0] | {"name": "Card [b]"}
    hook = {"job": 1, "rule": "r", "name": "one.wav", "command": "tell [me]", "seconds": 1.0}
    text = drawn(facts | {"hooks": [hook], "headroom": facts["headroom"] | {"disks": [disk], "gpus": [gpu]}})
    assert "disk /srv/a [live]" in text
    assert "Card [b] (cuda:0)" in text
    assert "tell [me]" in text


def test_what_a_job_far_behind_in_the_queue_lacks_is_told_too(tmp_path, ledger, facts):
    admitted = jobs.admit(
        ledger, [(Arrival("karaoke", b"%d" % n, Stat(n, 2, 3)), b"%d" % n) for n in range(60)], time.time()
    )
    assert admitted[-1].id not in {job["job"] for job in status(tmp_path, ledger)["waiting"]}
    live.write(tmp_path, {"waits": {str(admitted[-1].id): "needs 5.1 GiB GPU, 3.2 free"}})
    assert reason(tmp_path, admitted[-1]) == "needs 5.1 GiB GPU, 3.2 free"
    assert reason(tmp_path, admitted[0]) == ""


def test_without_a_daemon_it_says_how_to_start_one(tmp_path, ledger):
    text = drawn(status(tmp_path, ledger))
    assert "not running; start it with: stemd run" in text
    assert "not measured yet" in text


def test_it_moves_on_a_terminal_until_ctrl_c_and_is_shown_once_elsewhere(facts, monkeypatch):
    seen: list[float] = []

    def describe() -> dict[str, Any]:
        seen.append(time.monotonic())
        if len(seen) == 3:
            raise KeyboardInterrupt
        return facts

    monkeypatch.setattr(watch, "_PAUSE", 0.01)
    watch.watch(describe, Console(file=io.StringIO(), force_terminal=True, width=80, height=40))
    assert len(seen) == 3
    once = io.StringIO()
    watch.watch(lambda: facts, Console(file=once, width=80))
    assert once.getvalue().count("last finished") == 1
