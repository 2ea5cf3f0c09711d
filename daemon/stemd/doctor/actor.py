"""Acts as the service's user while folders are tried, which only root can."""

from __future__ import annotations

import contextlib
import os
import pwd
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def acting_as(user: str) -> Iterator[None]:
    """Make the whole process act with another user's rights, and come back. Raises KeyError for an unknown user."""
    entry, groups, group = pwd.getpwnam(user), os.getgroups(), os.getegid()
    os.setgroups(os.getgrouplist(user, entry.pw_gid))
    os.setegid(entry.pw_gid)
    os.seteuid(entry.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)
