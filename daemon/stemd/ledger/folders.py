"""Which inboxes and outboxes were ever there, and on what: one that is missing is away then, and no new one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stemd.ledger import facts
from stemd.mounts import UNKNOWN, FileSystem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stemd.ledger.store import Ledger

_SEEN: Final = "folders-seen"


def seen(ledger: Ledger) -> dict[Path, FileSystem]:
    """Give the folders that `see` was told of, each with what it lay on; where that is mounted is not kept."""
    kinds = json.loads(facts.setting(ledger, _SEEN, "{}"))
    return {Path(folder): FileSystem(kind, UNKNOWN.mount_point) for folder, kind in kinds.items()}


def see(ledger: Ledger, there: Mapping[Path, FileSystem]) -> None:
    """Keep that folders are there. One that lay on a network share is remembered so. Raises LedgerFull."""
    before = seen(ledger)
    ever = before | {folder: disk for folder, disk in there.items() if not strayed(before.get(folder, disk), disk)}
    kinds = {os.fspath(folder): disk.name for folder, disk in sorted(ever.items())}
    if kinds != {os.fspath(folder): disk.name for folder, disk in before.items()}:
        facts.remember(ledger, _SEEN, json.dumps(kinds))


def strayed(before: FileSystem, now: FileSystem) -> bool:
    """Whether a folder lay on a network share and does not now: most likely, that is not mounted."""
    return before.network and not now.network
