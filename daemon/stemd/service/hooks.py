"""Runs the commands of [rule.hook], each in a thread of its own. Whatever becomes of them, the stems are delivered.

What is owed stands in the ledger from the delivery on, so that a command is run at least once: one that the daemon did
not outlive is run again, one that failed is not.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from stemd import patience
from stemd.errors import StemdError, Stopping
from stemd.files.names import split
from stemd.ledger import hooks, jobs
from stemd.service.logbook import about, shown
from stemd.tools import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from stemd.config import Settings
    from stemd.ledger import Ledger
    from stemd.ledger.hooks import Call
    from stemd.model import Hook, Job

MOST_STARTS: Final = 3
"""So often a command is started that takes the daemon's end with it, each time, as it seems."""
_NICE: Final = 5
_TAIL: Final = 16 * 1024  # bytes of output that are looked at in the end
_LINES: Final = 20
_WIDTH: Final = 300  # characters of a line


@dataclass(frozen=True, slots=True)
class Called:
    """How a command ended. stopped: only because the daemon stops; it is owed again."""

    call: Call
    text: str
    code: str = ""
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class _Running:
    job: Job
    command: str
    since: float
    stop: threading.Event = field(default_factory=threading.Event)


class Hooks:
    """The commands at work. Its methods are called by the daemon's thread."""

    def __init__(self, ledger: Ledger, post: Callable[[Called], None]) -> None:
        """post: told how a command ended, from its thread."""
        self._ledger, self._post = ledger, post
        self.running: dict[int, _Running] = {}

    def start_owed(self, settings: Settings) -> None:
        """Start what is owed, as many at a time as other work that needs no engine. Raises LedgerFull."""
        for call in hooks.owed(self._ledger):
            if call.id not in self.running and len(self.running) < settings.resources.cpu_jobs:
                self._start(call, settings)

    def write_down(self, called: Called) -> None:
        """Tell the job's story how a command ended. Raises LedgerFull: then nothing was written."""
        job = jobs.get(self._ledger, called.call.job)
        if called.stopped:
            hooks.put_off(self._ledger, called.call, job, called.text, time.time())
        else:
            hooks.end(self._ledger, called.call, job, called.text, time.time(), called.code)
        self.running.pop(called.call.id, None)
        entry = about(job).bind(code=called.code)
        entry.log("WARNING" if called.code else "INFO", "{}: {}", shown(job), called.text.partition("\n")[0])

    def stop_all(self) -> None:
        """Ask every command to end soon."""
        for running in self.running.values():
            running.stop.set()

    def left(self) -> bool:
        """Whether a command runs or is owed."""
        return bool(self.running or hooks.owed(self._ledger))

    def live(self) -> list[dict[str, Any]]:
        """Describe the commands at work, for `stemd status`. JSON-ready."""
        now = time.monotonic()
        return [
            {
                "job": each.job.id, "rule": each.job.rule, "name": os.fsdecode(each.job.name), "command": each.command,
                "seconds": round(now - each.since, 1),
            }
            for each in self.running.values()
        ]  # fmt: skip

    def _start(self, call: Call, settings: Settings) -> None:
        job, now = jobs.get(self._ledger, call.job), time.time()
        rule = settings.rule(job.rule)
        if rule is None or not rule.hook.delivered:
            hooks.end(self._ledger, call, job, "hook: its rule has no command any more", now)
            return
        name = _name(rule.hook)
        if call.attempts >= MOST_STARTS:
            text = f"hook {name}: given up, the daemon died {call.attempts} times while it ran"
            hooks.end(self._ledger, call, job, text, now, "hook-interrupted")
            return
        again = " once more: the daemon had stopped before it ended" if call.attempts else ""
        hooks.begin(self._ledger, call, job, f"hook {name} started{again}", now)
        running = self.running[call.id] = _Running(job, name, time.monotonic())
        threading.Thread(
            target=lambda: self._post(_outcome(call, job, rule.hook, running.stop, settings.path)),
            name=f"hook-{job.id}", daemon=True,
        ).start()  # fmt: skip


def environment(call: Call, job: Job, config: Path) -> dict[str, str]:
    """Give what a command is told, in its environment: which files, of which track, by which job, rule and config."""
    manifest = Path(os.fsdecode(call.manifest))
    return {
        "STEMD_MANIFEST": str(manifest),
        "STEMD_FOLDER": str(manifest.parent),
        "STEMD_TRACK": split(PurePosixPath(os.fsdecode(job.name)).name)[0],
        "STEMD_JOB": str(job.id),
        "STEMD_RULE": job.rule,
        "STEMD_CONFIG": str(config),
    }


def _outcome(call: Call, job: Job, hook: Hook, stop: threading.Event, config: Path) -> Called:
    """Run one command in the delivered folder, to whatever end. Raises nothing."""
    name, output, began = _name(hook), bytearray(), time.monotonic()

    def hear(chunk: bytes) -> None:
        output.extend(chunk)
        del output[:-_TAIL]

    told = environment(call, job, config)
    folder = Path(told["STEMD_FOLDER"])
    try:
        if missing := _missing(folder, hook.timeout):
            text, code = missing
            return Called(call, f"hook {name}: not run, {text}", code)
        env = dict(os.environ) | told
        done = run(hook.delivered, timeout=hook.timeout, stop=stop, on_output=hear, env=env, cwd=folder, nice=_NICE)
    except Stopping:
        return Called(call, f"hook {name} was ended because the daemon stops; it is run again", stopped=True)
    except StemdError as fault:
        seconds = time.monotonic() - began
        if fault.code == "timeout":
            text = f"hook {name}: ended, it was not done after {seconds:.1f} s (timeout = {hook.timeout:g})"
            return Called(call, text + _told(output), "hook-timeout")
        return Called(call, f"hook {name}: {fault.message}; {fault.hint}", "hook-failed")
    except Exception as error:  # noqa: BLE001 - a command must not end the thread without a word
        return Called(call, f"hook {name}: unexpected {type(error).__name__}: {error}", "hook-failed")
    how = f"exit status {done.returncode}" if done.returncode >= 0 else f"killed by signal {-done.returncode}"
    text = f"hook {name}: {how} after {done.seconds:.1f} s"
    return Called(call, text + _told(output), "hook-failed" if done.returncode else "")


def _missing(folder: Path, seconds: float) -> tuple[str, str] | None:
    """Why a command cannot run in a folder, and the code for it; None if it can."""
    there = patience.ask({folder: folder.is_dir}, seconds)
    if not there:
        return f"{folder} did not answer for {seconds:g} s", "hook-timeout"
    return None if there[folder] else (f"{folder} is no longer there", "hook-failed")


def _name(hook: Hook) -> str:
    return PurePosixPath(hook.delivered[0]).name


def _told(output: bytearray) -> str:
    """The last lines of what a command has said, below the line about it; what draws over itself, as it was last."""
    lines = [line.rstrip("\r").rpartition("\r")[2].rstrip() for line in output.decode("utf-8", "replace").split("\n")]
    said = [line for line in lines if line.strip()][-_LINES:]
    return "".join(f"\n{_printable(line)[:_WIDTH]}" for line in said)


def _printable(line: str) -> str:
    return "".join(char if char.isprintable() else " " for char in line)
