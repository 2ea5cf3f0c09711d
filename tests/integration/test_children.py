"""The daemon's side of a worker process, which here is a small script: answers, stop, stall, death, memory."""

import contextlib
import os
import signal
import threading
import time
from dataclasses import dataclass

import pytest

from stemd.children import Worker, WorkerPool
from stemd.errors import EnvironmentFault, OutOfMemory, StemdError, Stopping, WorkerFault
from stemd.pulse import Pulse

SCRIPT = """
import json, os, sys, time, threading
def say(**message): print(json.dumps(message), flush=True)
for line in sys.stdin:
    ask = json.loads(line)
    match ask["do"]:
        case "work":
            say(progress=0.5, eta=1)
            say(done={"pid": os.getpid()})
        case "fail": say(failed={"code": ask["code"], "message": "went wrong", "hint": "mend it"})
        case "hang": time.sleep(60)
        case "talk":
            for n in range(1000):
                say(progress=n / 1000)
                time.sleep(0.02)
        case "die": os._exit(3)
        case "killed": os.kill(os.getpid(), 9)
        case "print": print("a library's chatter"); say(done={})
        case "cancel": say(failed={"code": "cancelled", "message": "", "hint": ""})
"""


@pytest.fixture
def worker(tmp_path, monkeypatch):
    (tmp_path / "worker_script.py").write_text(SCRIPT)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    made = Worker("worker_script", "worker")
    yield made
    made.kill()


def ask(worker, do, stop=None, **more):
    options = {key: more.pop(key) for key in ("stall", "limit", "on_progress") if key in more}
    return worker.ask({"do": do, **more}, stop=stop or threading.Event(), **options)


def test_who_waits_for_a_worker_that_says_nothing_moves_all_the_same(worker, monkeypatch):
    pulse, stop = Pulse(), threading.Event()
    monkeypatch.setattr(worker, "_pulse", pulse)

    def wait() -> None:
        with contextlib.suppress(Stopping):
            ask(worker, "hang", stop)

    asking = threading.Thread(target=wait)
    asking.start()
    while (waiting := pulse.still(-1)) is None:
        time.sleep(0.05)
    assert waiting.part == f"waiting for the worker (process {worker.pid})"
    began = time.monotonic()
    while pulse.still(-1).seconds > 0.1 or time.monotonic() - began < 0.5:  # a fresh stamp, though nothing was said
        time.sleep(0.02)
    stop.set()
    asking.join(30)
    assert pulse.still(-1) is None


def test_answers_and_stays_warm(worker):
    heard = []
    first = ask(worker, "work", on_progress=heard.append)
    assert heard == [{"progress": 0.5, "eta": 1}]
    assert ask(worker, "work") == first == {"pid": worker.pid}
    assert ask(worker, "print") == {}


CHANGED = """
import json, sys
card = {"digest": "new", "sources": ["vocals"], "sample_rate": 44100, "channels": 2, "segment": 1.0, "parameters": 1,
        "family": "htdemucs", "members": [{}], "needs": {"vocals": [0]}}
for line in sys.stdin:
    describe = json.loads(line)["do"] == "describe"
    fault = {"code": "model-changed", "message": "its files have changed", "hint": "wait"}
    print(json.dumps({"done": card} if describe else {"failed": fault}), flush=True)
"""


@dataclass
class Limits:
    stop: threading.Event
    limit: float = 60.0

    def progress(self, fraction, details):
        """Nobody listens."""


def test_a_model_that_the_engine_found_changed_is_described_anew_and_waited_for(tmp_path, monkeypatch):
    (tmp_path / "changed_engine.py").write_text(CHANGED)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(WorkerPool, "_engine", lambda _: Worker("changed_engine", "engine"))
    pool = WorkerPool(tmp_path / "state")
    try:
        assert pool.describe("mine").digest == "new"
        with pytest.raises(EnvironmentFault):
            pool.separate({"model": "mine", "device": "cpu", "digest": "old"}, Limits(threading.Event()))
        assert pool.card("mine") is None
        assert pool.describe("mine").digest == "new"
    finally:
        pool.close()


@pytest.mark.parametrize(
    "code, kind",
    [
        ("no-audio", StemdError), ("model-missing", EnvironmentFault), ("model-duplicate", EnvironmentFault),
        ("no-models-folder", EnvironmentFault), ("diffq-missing", EnvironmentFault), ("out-of-memory", OutOfMemory),
        ("internal", WorkerFault), ("cuda-error", WorkerFault), ("cancelled", Stopping),
    ],
)  # fmt: skip
def test_a_failure_becomes_the_error_that_says_what_it_costs(worker, code, kind):
    with pytest.raises(kind) as raised:
        ask(worker, "fail", code=code)
    assert type(raised.value) is kind


def test_is_replaced_after_running_out_of_memory_but_not_after_a_bad_file(worker):
    pid = ask(worker, "work")["pid"]
    with pytest.raises(StemdError):
        ask(worker, "fail", code="no-audio")
    assert ask(worker, "work")["pid"] == pid
    with pytest.raises(OutOfMemory):
        ask(worker, "fail", code="out-of-memory")
    assert ask(worker, "work")["pid"] != pid


def test_a_worker_that_dies_costs_one_question(worker):
    with pytest.raises(WorkerFault, match="exit status 3"):
        ask(worker, "die")
    assert ask(worker, "work")


def test_a_worker_killed_by_the_kernel_has_run_out_of_memory(worker):
    with pytest.raises(OutOfMemory):
        ask(worker, "killed")
    assert ask(worker, "work")


def test_a_worker_killed_between_questions_is_started_again(worker):
    pid = ask(worker, "work")["pid"]
    os.kill(pid, signal.SIGKILL)
    while worker.pid is not None:
        time.sleep(0.01)
    assert ask(worker, "work")["pid"] != pid


@pytest.mark.parametrize("do, limits", [("hang", {"stall": 0.5}), ("talk", {"limit": 0.5})])
def test_a_worker_that_hangs_or_takes_too_long_is_killed(worker, do, limits):
    pid = ask(worker, "work")["pid"]
    with pytest.raises(WorkerFault):
        ask(worker, do, **limits)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize("do", ["talk", "hang"])
def test_a_stop_is_heard_at_once_whatever_the_worker_does(worker, do):
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    began = time.monotonic()
    with pytest.raises(Stopping):
        ask(worker, do, stop=stop)
    assert time.monotonic() - began < 15


def hang(worker):
    with pytest.raises(WorkerFault):
        ask(worker, "hang", stall=3)


def test_unloading_gives_the_process_back_but_never_one_at_work(worker):
    pid = ask(worker, "work")["pid"]
    worker.unload()
    assert worker.pid is None
    assert ask(worker, "work")["pid"] != pid
    busy = threading.Thread(target=hang, args=[worker])
    busy.start()
    time.sleep(0.5)
    worker.unload()
    assert worker.pid is not None
    busy.join()
