"""One child process with everything that hangs on it: its own session, its limits, and a sure end.

Never reads or writes the child's pipes.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import resource
import select
import shutil
import signal
import subprocess
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import psutil

from stemd.errors import EnvironmentFault

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Argument: TypeAlias = "str | bytes | Path"

TAIL = 16 * 1024
"""How many bytes of a child's last words are kept."""

_DAEMONS_OWN = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
_OOM_SCORE = 500  # of 1000: when memory runs out the kernel takes a child, not the daemon
_LAST_IN_LINE = 7  # of the best-effort disk priorities 0 to 7
_REAP_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What one child may use. None: as much as the daemon.

    memory: address space, bytes. file_size: largest file that it may write, bytes. cpu: seconds of processor time.
    """

    memory: int | None = None
    file_size: int | None = None
    cpu: int | None = None


class Process:
    """A running child, the leader of its own session and process group.

    The leader stays a zombie until `reap`, so the group's number cannot pass to a stranger before the group is killed.
    """

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self.popen = popen
        self.pid = popen.pid
        self.pidfd = os.pidfd_open(popen.pid)
        self._reaped = False
        weakref.finalize(self, os.close, self.pidfd)

    def exited(self, timeout: float = 0.0) -> bool:
        """Wait up to `timeout` seconds for the leader's end; tell whether it has ended."""
        poll = select.poll()  # not select.select: a busy daemon's descriptors may pass 1024
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(timeout * 1000))

    def signal(self, number: signal.Signals) -> None:
        """Signal the whole group; no error if nobody is left."""
        if not self._reaped:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def end(self, grace: float = 2.0) -> int | None:
        """Ask the group to go, after `grace` seconds insist, and reap. Returns what `reap` returns."""
        if not self.exited():
            self.signal(signal.SIGTERM)
            self.exited(grace)
        return self.reap()

    def reap(self) -> int | None:
        """Kill what is left of the group and collect the leader.

        Returns its exit status, negative for a signal; None when even SIGKILL does not end it because the kernel
        holds it, as on a network share that hangs.
        """
        self.signal(signal.SIGKILL)
        if not self.exited(_REAP_SECONDS):
            return None
        self._reaped = True
        return self.popen.wait()


def spawn(
    argv: Sequence[Argument],
    *,
    feed: bool,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    nice: int = 0,
    limits: Limits | None = None,
    dies_with_thread: bool = False,
) -> Process:
    """Start a program with pipes for its output, in a session of its own.

    feed: whether it gets a pipe for its standard input too, or nothing.
    dies_with_thread: the kernel kills it when the calling *thread* ends (PR_SET_PDEATHSIG), hence also when the daemon
    is killed; only for a thread that waits for the child. Set by setpriv(1), for code between fork and exec is
    unsafe in a program with threads.
    Raises EnvironmentFault("tool-missing") or EnvironmentFault("no-process").
    """
    command = [_found(argv[0], env), *argv[1:]]
    setpriv = _setpriv() if dies_with_thread else None
    if setpriv:
        command = [setpriv, "--pdeathsig", "KILL", "--", *command]
    try:
        popen = subprocess.Popen(  # noqa: S603 - an argument list, no shell
            command,
            stdin=subprocess.PIPE if feed else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env=_environment(env),
            cwd=cwd,
        )
    except OSError as error:
        raise _refusal(command[0], error) from error
    process = Process(popen)
    _restrict(popen.pid, nice, limits or Limits())
    return process


@functools.cache
def _setpriv() -> str | None:
    """Where setpriv(1) is, if it works here: a sandbox may forbid what it does, and then it starts nothing at all."""
    path = shutil.which("setpriv")
    if path is None:
        return None
    tried = subprocess.run([path, "--pdeathsig", "KILL", "--", "true"], capture_output=True, check=False)  # noqa: S603
    return path if tried.returncode == 0 else None


def _found(program: Argument, env: Mapping[str, str] | None) -> str:
    """Where the program lies, looked for in the PATH that it will see."""
    name = os.fsdecode(program)
    path = shutil.which(name, path=None if env is None else env.get("PATH"))
    if path is None:
        raise EnvironmentFault(
            "tool-missing",
            f"the program {name} is not installed or cannot be executed",
            f"install it (Debian: apt install {'ffmpeg' if name in {'ffmpeg', 'ffprobe'} else name}); jobs then resume",
        )
    return path


def _environment(env: Mapping[str, str] | None) -> dict[str, str]:
    """The daemon's environment, or the given one, without what is addressed to the daemon; messages in English."""
    given = dict(os.environ if env is None else env)
    kept = {name: text for name, text in given.items() if name not in _DAEMONS_OWN}
    return kept | {"LC_ALL": "C.UTF-8", "AV_LOG_FORCE_NOCOLOR": "1"}


def _refusal(program: Argument, error: OSError) -> EnvironmentFault:
    """What to say when the kernel would not start a program."""
    if error.errno in {errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE}:
        hint = "free memory or raise the limits on processes and open files; jobs then resume"
        return EnvironmentFault("no-process", f"no new process for {os.fsdecode(program)}: {error.strerror}", hint)
    hint = "check that it is installed and executable; jobs then resume"
    return EnvironmentFault("tool-missing", f"cannot start {os.fsdecode(program)}: {error.strerror}", hint)


def _restrict(pid: int, nice: int, limits: Limits) -> None:
    """Set priority and limits from outside, a moment after the start; a child that is gone already needs none."""
    wanted = (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, limits.memory),
        (resource.RLIMIT_FSIZE, limits.file_size),
        (resource.RLIMIT_CPU, limits.cpu),
    )
    with contextlib.suppress(OSError, psutil.Error):
        if nice:
            os.setpriority(os.PRIO_PROCESS, pid, nice)
            psutil.Process(pid).ionice(psutil.IOPRIO_CLASS_BE, _LAST_IN_LINE)
    for kind, value in wanted:
        if value is not None:
            with contextlib.suppress(OSError, ValueError):
                hard = resource.prlimit(pid, kind)[1]
                soft = value if hard == resource.RLIM_INFINITY else min(value, hard)
                resource.prlimit(pid, kind, (soft, soft))
    with contextlib.suppress(OSError), open(f"/proc/{pid}/oom_score_adj", "w", encoding="ascii") as file:  # noqa: PTH123
        file.write(str(_OOM_SCORE))
