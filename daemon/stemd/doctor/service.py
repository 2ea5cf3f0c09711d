"""The service as systemd sees it, and whether it may do what the configuration asks of it."""

from __future__ import annotations

import os
import pwd
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from stemd import tools
from stemd.doctor.finding import Finding, ok, problem, warning
from stemd.errors import StemdError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from stemd.config import Settings

_ASKED = (
    "LoadState,ActiveState,SubState,Result,NRestarts,UnitFileState,User,ExecStart,Environment,"
    "ReadWritePaths,BindPaths,StateDirectory,MemoryHigh,MemoryMax"
)
_GIB = 1 << 30
_TIGHT = 3 * _GIB


def facts() -> Mapping[str, str]:
    """Ask systemd for the unit's properties. {} where it does not run here or does not answer."""
    if not Path("/run/systemd/system").is_dir():
        return {}
    try:
        done = tools.run(["systemctl", "show", "stemd.service", f"--property={_ASKED}"], timeout=10)
    except StemdError:
        return {}
    return dict(line.partition("=")[::2] for line in done.stdout.decode(errors="replace").splitlines())


def serves(unit: Mapping[str, str], settings: Settings | None) -> bool:
    """Whether the installed service works by the configuration that is examined."""
    loaded = unit.get("LoadState") == "loaded"
    return loaded and settings is not None and str(settings.path) in unit.get("ExecStart", "")


def environment(unit: Mapping[str, str]) -> dict[str, str]:
    """What the unit sets: where weights are kept, for example."""
    return dict(word.partition("=")[::2] for word in shlex.split(unit.get("Environment", "")))


def judge(unit: Mapping[str, str], user: str) -> Iterator[Finding]:
    """Read `systemctl show`. user: who examines."""
    if not unit.get("LoadState"):
        yield ok("systemd", "does not run here, or tells nothing; start the daemon with: stemd run")
        return
    if unit["LoadState"] == "not-found":
        yield ok("systemd", "stemd is not installed as a service; scripts/install does that")
        return
    state = f"{unit.get('ActiveState', '?')} ({unit.get('SubState', '?')})"
    restarts = int(unit.get("NRestarts") or 0)
    if unit.get("ActiveState") == "failed":
        advice = "journalctl -u stemd -n 50, then systemctl restart stemd"
        yield problem("service", f"{state}: {unit.get('Result', 'unknown')}", advice)
    elif unit.get("ActiveState") != "active":
        yield warning("service", state, "systemctl start stemd")
    elif restarts:
        yield warning("service", f"{state}, restarted {restarts} times", "journalctl -u stemd -p warning")
    else:
        yield ok("service", state)
    if unit.get("UnitFileState") == "disabled":
        yield warning("service", "does not start with the machine", "systemctl enable stemd")
    owner = unit.get("User") or "root"
    if user not in {owner, "root"}:
        advice = f"sudo stemd doctor tries them as {owner}"
        yield warning("user", f"examined as {user}, but the service is {owner}: folders may differ for it", advice)


def judge_memory(unit: Mapping[str, str]) -> Iterator[Finding]:
    """Say how much memory systemd lets the service have."""
    told = [int(unit[key]) for key in ("MemoryHigh", "MemoryMax") if unit.get(key, "").isdecimal()]
    if not told:
        return
    text = f"systemd lets the service have {min(told) / _GIB:.1f} GiB"
    if min(told) < _TIGHT:
        yield problem("service memory", text, "raise MemoryHigh= and MemoryMax= with: systemctl edit stemd")
    else:
        yield ok("service memory", text)


def judge_folders(unit: Mapping[str, str], settings: Settings) -> Iterator[Finding]:
    """Compare the folders that the service has to write to with those that its sandbox opens."""
    opened, wanted = _opened(unit), [settings.daemon.state_dir]
    for rule in settings.rules:
        wanted += [rule.inbox, rule.outbox]
        wanted += [folder for folder in rule.own_folders if not folder.is_relative_to(rule.inbox)]
    unseen = [folder for folder in dict.fromkeys(wanted) if " " in str(folder)]
    seen = [folder for folder in dict.fromkeys(wanted) if folder not in unseen]
    closed = [folder for folder in seen if not any(folder.is_relative_to(place) for place in opened)]
    for folder in closed:
        yield problem("sandbox", f"the service may not write to {folder}", "run scripts/install again: it opens it")
    for folder in unseen:
        yield ok("sandbox", f"systemd does not tell whether the service may write to {folder}: its path has a space")
    if not closed:
        which = "every other folder" if unseen else "every folder"
        yield ok("sandbox", f"the service may write to {which} of the configuration")


def _opened(unit: Mapping[str, str]) -> list[Path]:
    """Folders that the sandbox lets the service write to; `-` before a path: it need not be there."""
    listed = f"{unit.get('ReadWritePaths', '')} {unit.get('BindPaths', '')}"
    places = [place.partition(":")[0] for place in re.split(r"\s+[-+]*(?=/)", f" {listed}") if place.strip()]
    states = [f"/var/lib/{name}" for name in unit.get("StateDirectory", "").split()]
    return [Path(place.strip()) for place in (*places, *states)]


def examiner() -> str:
    """The name of the user who examines."""
    return pwd.getpwuid(os.geteuid()).pw_name
