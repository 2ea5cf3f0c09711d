"""The service as systemd sees it, and as whom this examination runs."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING

from stemd import tools
from stemd.doctor.finding import Finding, ok, problem, warning
from stemd.errors import StemdError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ASKED = "LoadState,ActiveState,SubState,Result,NRestarts,UnitFileState,User"


def check() -> Iterator[Finding]:
    """Ask systemd, if this machine runs it."""
    if not Path("/run/systemd/system").is_dir():
        yield ok("systemd", "does not run here; start the daemon with: stemd run")
        return
    try:
        done = tools.run(["systemctl", "show", "stemd.service", f"--property={_ASKED}"], timeout=10)
    except StemdError as error:
        yield warning("systemd", error.message, "systemctl status stemd")
        return
    facts = dict(line.partition("=")[::2] for line in done.stdout.decode(errors="replace").splitlines())
    yield from judge(facts, pwd.getpwuid(os.getuid()).pw_name)


def judge(facts: Mapping[str, str], user: str) -> Iterator[Finding]:
    """Read `systemctl show`. user: who examines."""
    if not facts.get("LoadState"):
        yield ok("systemd", "does not tell this user how the service stands")
        return
    if facts["LoadState"] == "not-found":
        yield ok("systemd", "stemd is not installed as a service; scripts/install does that")
        return
    state = f"{facts.get('ActiveState', '?')} ({facts.get('SubState', '?')})"
    restarts = int(facts.get("NRestarts") or 0)
    if facts.get("ActiveState") == "failed":
        advice = "journalctl -u stemd -n 50, then systemctl restart stemd"
        yield problem("service", f"{state}: {facts.get('Result', 'unknown')}", advice)
    elif facts.get("ActiveState") != "active":
        yield warning("service", state, "systemctl start stemd")
    elif restarts:
        yield warning("service", f"{state}, restarted {restarts} times", "journalctl -u stemd -p warning")
    else:
        yield ok("service", state)
    if facts.get("UnitFileState") == "disabled":
        yield warning("service", "does not start with the machine", "systemctl enable stemd")
    owner = facts.get("User") or "root"
    if user != owner:
        advice = f"runuser -u {owner} -- stemd doctor"
        yield warning("user", f"examined as {user}, but the service is {owner}: folders may differ for it", advice)
