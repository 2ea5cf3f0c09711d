"""Children end: by themselves, by time, by request, and with the daemon."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from stemd import tools
from stemd.errors import EnvironmentFault, StemdError, Stopping


def python(text: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(text)]


def gone(pid: int, seconds: float = 20.0) -> bool:
    """Whether the process ends, or is a zombie, within the time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def test_output_status_and_error_come_back() -> None:
    done = tools.run(
        python("import sys; print('out'); print('first\\nlast', file=sys.stderr); sys.exit(7)"), timeout=20
    )
    assert (done.returncode, done.stdout, done.last_words) == (7, b"out\n", "last")
    assert 0 < done.seconds < 20


def test_lines_arrive_one_by_one_and_the_last_needs_no_end() -> None:
    lines: list[str] = []
    done = tools.run(["printf", r"a\r\nb\n\nlast"], timeout=10, on_line=lines.append)
    assert lines == ["a", "b", "", "last"]
    assert done.stdout == b""


def test_arguments_that_are_not_utf8_arrive() -> None:
    assert tools.run(["printf", "%s", b"caf\xe9"], timeout=10).stdout == b"caf\xe9"


def test_standard_input_is_empty() -> None:
    assert tools.run(["cat"], timeout=10).returncode == 0


def test_only_the_tail_of_the_error_output_is_kept() -> None:
    done = tools.run(python("import sys; sys.stderr.write('x' * 3_000_000 + 'end')"), timeout=20)
    assert len(done.stderr_tail) == 16 * 1024
    assert done.stderr_tail.endswith("end")


def test_a_flood_on_the_output_is_cut_off() -> None:
    with pytest.raises(StemdError) as caught:
        tools.run(["cat", "/dev/zero"], timeout=30)
    assert caught.value.code == "too-much-output"


def test_a_missing_program_is_the_environments_fault() -> None:
    with pytest.raises(EnvironmentFault) as caught:
        tools.run(["no-such-program-anywhere"], timeout=1)
    assert caught.value.code == "tool-missing"
    assert "no-such-program-anywhere" in caught.value.message


def test_a_program_is_looked_for_in_the_path_it_is_given() -> None:
    with pytest.raises(EnvironmentFault, match="ffmpeg"):
        tools.run(["ffmpeg", "-version"], timeout=5, env={"PATH": "/nowhere"})


STUBBORN = """
    import os, signal, subprocess, sys, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen(["sleep", "60"], stdout=sys.stdout)
    print(child.pid, flush=True)
    time.sleep(60)
"""


def test_time_ends_the_whole_group_even_if_it_resists() -> None:
    pids: list[int] = []
    began = time.monotonic()
    with pytest.raises(StemdError) as caught:
        tools.run(python(STUBBORN), timeout=0.8, on_line=lambda line: pids.append(int(line)))
    assert caught.value.code == "timeout"
    assert time.monotonic() - began < 20
    assert gone(pids[0])


def test_a_set_stop_ends_the_run() -> None:
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    began = time.monotonic()
    with pytest.raises(Stopping):
        tools.run(["sleep", "60"], timeout=60, stop=stop)
    assert time.monotonic() - began < 20


def test_what_a_listener_raises_ends_the_program() -> None:
    def refuse(line: str) -> None:
        raise ValueError(line)

    began = time.monotonic()
    with pytest.raises(ValueError, match="y"):
        tools.run(["yes"], timeout=30, on_line=refuse)
    assert time.monotonic() - began < 20


def test_a_grandchild_that_keeps_the_pipe_does_not_hold_up_the_run() -> None:
    began = time.monotonic()
    done = tools.run(["sh", "-c", "sleep 60 & echo $!"], timeout=30)
    assert time.monotonic() - began < 20
    assert gone(int(done.stdout))


def test_a_child_killed_by_a_signal_says_so() -> None:
    assert tools.run(["sh", "-c", "kill -SEGV $$"], timeout=10).returncode == -signal.SIGSEGV


def test_a_program_killed_by_the_sandbox_is_the_environments_fault() -> None:
    with pytest.raises(EnvironmentFault, match="sh was killed for a system call") as caught:
        tools.run(["sh", "-c", "kill -SYS $$"], timeout=10)
    assert caught.value.code == "tool-forbidden"


def test_a_program_that_the_kernel_does_not_execute_is_the_environments_fault(tmp_path: Path) -> None:
    program = tmp_path / "ffprobe"
    program.write_text("#!/no/such/interpreter\n")
    program.chmod(0o755)
    with pytest.raises(EnvironmentFault) as caught:
        tools.run([program], timeout=10)
    assert caught.value.code in {"tool-forbidden", "tool-missing"}  # with setpriv(1) and without
    assert "ffprobe" in caught.value.message


def test_limits_hold(tmp_path: Path) -> None:
    target = tmp_path / "big"
    limits = tools.Limits(file_size=100_000)
    done = tools.run(["sh", "-c", f"sleep 1; exec head -c 1000000 /dev/zero > {target}"], timeout=10, limits=limits)
    assert done.returncode != 0
    assert target.stat().st_size == 100_000


def test_niceness_and_oom_score_are_set() -> None:
    text = "sleep 1; nice; cat /proc/self/oom_score_adj"
    assert tools.run(["sh", "-c", text], timeout=10, nice=7).stdout.split() == [b"7", b"500"]


def test_what_is_addressed_to_the_daemon_is_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/x")
    assert b"NOTIFY_SOCKET" not in tools.run(["env"], timeout=10).stdout


def test_a_killed_daemon_takes_its_running_tools_along() -> None:
    text = "from stemd import tools; tools.run(['sh', '-c', 'echo $$ >&1; exec sleep 60'], timeout=60, on_line=print)"
    with subprocess.Popen([sys.executable, "-u", "-c", text], stdout=subprocess.PIPE) as daemon:
        assert daemon.stdout is not None
        pid = int(daemon.stdout.readline())
        daemon.kill()
        assert gone(pid)


ECHO = """
    import json, sys
    print("a library's chatter", flush=True)
    for line in sys.stdin:
        message = json.loads(line)
        if message["do"] == "crash":
            import os, signal
            print("about to crash", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGSEGV)
        print(json.dumps({"done": message["do"]}), flush=True)
"""


def test_a_child_answers_in_json_and_its_chatter_is_kept_apart() -> None:
    child = tools.start(python(ECHO))
    child.send({"do": "naïve"})
    assert child.receive(30) == {"done": "naïve"}
    assert child.receive(0) is None
    assert child.alive
    assert child.returncode is None
    assert "chatter" in child.stderr_tail
    assert child.terminate(30) == 0
    assert not child.alive


def test_a_crashed_child_is_noticed_with_its_last_words() -> None:
    child = tools.start(python(ECHO))
    child.send({"do": "one"})
    child.send({"do": "crash"})
    assert child.receive(30) == {"done": "one"}
    assert child.receive(30) is None
    assert not child.alive
    assert child.returncode == -signal.SIGSEGV
    assert "about to crash" in child.stderr_tail
    with pytest.raises(StemdError) as caught:
        child.send({"do": "two"})
    assert caught.value.code == "child-died"
    assert child.receive(60) is None  # at once


def test_a_stubborn_child_is_killed_with_its_own_children() -> None:
    child = tools.start(python(STUBBORN.replace("print(child.pid", "print('{\"pid\": %d}' % child.pid")))
    message = child.receive(30)
    assert message is not None
    began = time.monotonic()
    assert child.terminate(0.1) == -signal.SIGKILL
    assert time.monotonic() - began < 20
    assert gone(message["pid"])
    assert child.terminate(0.1) == -signal.SIGKILL  # again: no harm


def test_a_killed_daemons_children_see_the_end_of_their_input() -> None:
    text = f"""
        import sys, time
        from stemd import tools
        child = tools.start([sys.executable, "-c", {textwrap.dedent(ECHO)!r}])
        print(child.pid, flush=True)
        time.sleep(60)
    """
    with subprocess.Popen(python(text), stdout=subprocess.PIPE) as daemon:
        assert daemon.stdout is not None
        pid = int(daemon.stdout.readline())
        assert not gone(pid, 0.3)
        daemon.kill()
        assert gone(pid)


def test_no_descriptor_is_left_open() -> None:
    def opened() -> int:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    before = opened()
    for _ in range(5):
        tools.run(["true"], timeout=10)
        tools.start(["cat"]).terminate(1)
    assert opened() <= before
