"""A copy of the ledger as it was before an upgrade."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from typing import TYPE_CHECKING

from installing.steps import CannotGoOn

if TYPE_CHECKING:
    from pathlib import Path

_KEPT = 3
"""So many copies stay, the newest ones."""


def copy_ledger(ledger: Path) -> None:
    """Copy it beside itself with its owner and rights; nothing happens where there is none. Nobody may have it open."""
    if not ledger.exists():
        return
    copy = ledger.with_name(f"{ledger.stem}.before-upgrade.{time.strftime('%Y%m%d-%H%M%S')}{ledger.suffix}")
    unfinished = ledger.with_name(f".{ledger.stem}.copying{ledger.suffix}")  # opens as an empty ledger if it is cut off
    for left in (unfinished, unfinished.with_name(f"{unfinished.name}-journal")):
        left.unlink(missing_ok=True)
    try:
        with contextlib.closing(sqlite3.connect(ledger)) as opened:
            opened.execute("VACUUM INTO ?", (str(unfinished),))
    except sqlite3.Error as fault:
        message = f"{ledger} cannot be copied: {fault}; free some space beside it, or move it away if it is damaged"
        raise CannotGoOn(message) from fault
    facts = ledger.stat()
    os.chown(unfinished, facts.st_uid, facts.st_gid)
    unfinished.chmod(facts.st_mode & 0o777)
    with unfinished.open("rb") as whole:
        os.fsync(whole.fileno())
    unfinished.rename(copy)
    for old in sorted(ledger.parent.glob(f"{ledger.stem}.before-upgrade.*"))[:-_KEPT]:
        old.unlink()
