"""The whole examination. One check that fails does not keep the others from being made."""

from __future__ import annotations

import platform
from functools import partial
from typing import TYPE_CHECKING

from stemd import __version__
from stemd.config import ConfigError, load
from stemd.doctor import folders, graphics, machine, programs, service, stores
from stemd.doctor.finding import Finding, ok, problem
from stemd.errors import StemdError
from stemd.ledger.store import path_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from stemd.config import Settings

_GIB = 1 << 30


def examine(find_config: Callable[[], Path]) -> Iterator[Finding]:
    """Examine everything, finding by finding as it is known. find_config: names the file; may raise ConfigError."""
    yield ok("stemd", f"{__version__} on Python {platform.python_version()}, {platform.system()} {platform.release()}")
    settings = None
    try:
        settings = load(find_config())
        count = len(settings.rules)
        yield ok("config", f"{settings.path}: {count} {'rule' if count == 1 else 'rules'}")
    except ConfigError as error:
        for mistake in error.problems:
            yield problem("config", f"{error.source}: {mistake.key} {mistake.message}", mistake.suggestion)
    except StemdError as error:
        yield problem("config", error.message, error.hint)
    for area, check in _checks(settings):
        yield from _guarded(area, check)


def _checks(settings: Settings | None) -> Iterator[tuple[str, Callable[[], Iterable[Finding]]]]:
    """What to look at; without settings, only what needs none."""
    formats = {rule.format for rule in settings.rules} if settings else set()
    reserve = int(settings.resources.ram_reserve_gb * _GIB) if settings else 2 * _GIB
    yield "ffmpeg", partial(programs.check, formats)
    yield "machine", partial(machine.check, reserve)
    yield "GPU", partial(graphics.check, settings.resources.device if settings else "auto")
    if settings:
        yield "folders", partial(folders.check, settings)
        yield "ledger", partial(stores.ledger, path_of(settings.daemon.state_dir))
        yield "models", partial(stores.models, settings)
    yield "systemd", service.check


def _guarded(area: str, check: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    try:
        yield from check()
    except Exception as error:  # noqa: BLE001 - an examination goes on, whatever it meets
        yield problem(area, f"could not be examined: {type(error).__name__}: {error}", "please report this")
