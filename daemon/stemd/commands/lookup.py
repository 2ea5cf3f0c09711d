"""Which job people mean by a number, a path or a name; and why nothing is known of a file that is there."""

from __future__ import annotations

import os
import stat
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stemd import patience
from stemd.errors import StemdError
from stemd.files.names import readable
from stemd.files.wanted import ignored, left_alone, role
from stemd.ledger import albums, jobs
from stemd.model.album import album_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stemd.config import Settings
    from stemd.ledger import Ledger
    from stemd.model import Job, Rule

_DIGITS: Final = 18  # of a number that the ledger can hold
_LISTED: Final = 5


def find_job(settings: Settings, ledger: Ledger, given: str) -> Job:
    """Find a job by its number, by a file's path, whichever links lead to it, or by a name as `stemd jobs` lists it.

    Of several jobs of one file it is the last. A name may lack the folders before it.
    Raises StemdError "no-such-job", "several-jobs" for a name that several files have.
    """
    if given.isdecimal() and len(given) <= _DIGITS and not Path(given).exists():
        return jobs.get(ledger, int(given))
    spellings = list(_spellings(settings, Path(os.path.abspath(given))))  # noqa: PTH100 - never resolve links
    for spelling in spellings:
        if found := jobs.by_path(ledger, os.fsencode(spelling)):
            return found[-1]
    for spelling in spellings:
        for rule in settings.rules:
            if rule.inbox in spelling.parents and (mode := _mode(spelling)):
                raise _not_taken(ledger, rule, spelling, mode)
    if found := jobs.by_name(ledger, os.fsencode(os.path.normpath(given))):
        return _the_only_one(found, given)
    raise StemdError(
        "no-such-job", f"the ledger knows nothing of {given}",
        "give its path, its name as stemd jobs lists it, or its job's number",
    )  # fmt: skip


def _spellings(settings: Settings, path: Path) -> Iterator[Path]:
    """Give a path as it is, then as it begins with each folder of the configuration that links have it lie in.

    A link in its last place is not followed: it is another file.
    """
    yield path
    folders = [
        folder
        for rule in settings.rules
        for folder in (rule.inbox, rule.outbox, rule.review, rule.failed, rule.archive)
    ]
    real = patience.ask({folder: partial(os.path.realpath, folder) for folder in (path.parent, *folders)})
    parent = Path(real.get(path.parent, path.parent))
    for folder in folders:
        if folder in real and parent.is_relative_to(real[folder]):
            yield folder / parent.relative_to(real[folder]) / path.name


def _mode(path: Path) -> int:
    """What kind of file is there, as lstat tells; 0 for none, and for one on a share that hangs."""
    try:
        return patience.ask({path: path.lstat})[path].st_mode
    except (OSError, KeyError):
        return 0


def _not_taken(ledger: Ledger, rule: Rule, path: Path, mode: int) -> StemdError:
    """Say why what lies in an inbox is no job. mode: of the file, as lstat tells."""
    name, shown = os.fsencode(path.relative_to(rule.inbox)), readable(str(path))
    own = any(path.is_relative_to(folder) for folder in rule.own_folders)
    if part := "is what stemd has put there" if own else role(name):
        return StemdError(
            "no-such-job", f"{shown} {part}", "name the recording, or its job's number; see: stemd jobs"
        )  # fmt: skip
    if stat.S_ISLNK(mode):
        why = "it is a symbolic link, which is not followed"
    elif stat.S_ISDIR(mode) and not any(map(ignored, name.split(b"/"))):
        return _folder(ledger, rule, album_of(name + b"/"), shown)
    else:
        why = left_alone(name, rule)
    if why:
        return StemdError(
            "no-such-job", f"{shown} is left alone: {why}",
            f"to have it separated, save the recording itself in {readable(str(rule.inbox))} under another name",
        )  # fmt: skip
    marked = ", and its sender has marked it with .ready" if rule.ready == "marker" else ""
    return StemdError("no-such-job", f"{shown} is taken once it has settled{marked}", "see: stemd status")


def _folder(ledger: Ledger, rule: Rule, folder: bytes, shown: str) -> StemdError:
    album = albums.latest(ledger, rule.name, folder)
    if album is None:
        return StemdError(
            "no-such-job", f"{shown}: nothing in this folder is taken yet",
            "an album is taken once all of it has settled; see: stemd status",
        )  # fmt: skip
    return StemdError(
        "no-such-job", f"{shown} is no recording but an album: {album.told}",
        f"name one of its tracks; see: stemd jobs --rule {rule.name}",
    )  # fmt: skip


def _the_only_one(found: Sequence[Job], given: str) -> Job:
    """The last job of the file that is meant, if it is one."""
    files = {(job.rule, job.name): job for job in found}
    if len(files) == 1:
        return found[-1]
    told = [f"{readable(os.fsdecode(job.name))} (rule {job.rule}, job {job.id})" for job in files.values()]
    more = f" and {len(told) - _LISTED} more" if len(told) > _LISTED else ""
    raise StemdError("several-jobs", f"{given} may be {', '.join(told[:_LISTED])}{more}", "name it by its job's number")
