"""config.toml -> frozen settings. Reads one file, looks at no folder's content, and tells every mistake at once."""

from stemd.config.folders import made_by_daemon
from stemd.config.load import Reading, find, load, read
from stemd.config.problems import ConfigError, Problem
from stemd.config.settings import Daemon, Notify, Resources, Schedule, Settings

__all__ = [
    "ConfigError",
    "Daemon",
    "Notify",
    "Problem",
    "Reading",
    "Resources",
    "Schedule",
    "Settings",
    "find",
    "load",
    "made_by_daemon",
    "read",
]
