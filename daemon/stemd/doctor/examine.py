"""The whole examination. One check that fails does not keep the others from being made."""

from __future__ import annotations

import contextlib
import os
import platform
from functools import partial
from typing import TYPE_CHECKING

from stemd import __version__
from stemd.config import ConfigError, load
from stemd.doctor import folders, graphics, machine, programs, service, stores
from stemd.doctor.actor import acting_as
from stemd.doctor.finding import Finding, ok, problem, warning
from stemd.errors import StemdError
from stemd.ledger import open_for_asking
from stemd.ledger.folders import seen
from stemd.ledger.store import path_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from stemd.config import Settings
    from stemd.mounts import FileSystem

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
    unit = service.facts()
    if service.serves(unit, settings):
        os.environ.update(service.environment(unit))  # models are looked for where the service keeps them
    for area, check in _checks(settings, unit):
        yield from _guarded(area, check)


def _checks(
    settings: Settings | None, unit: Mapping[str, str]
) -> Iterator[tuple[str, Callable[[], Iterable[Finding]]]]:
    """What to look at; without settings, only what needs none. unit: what systemd says of the service."""
    rules = settings.rules if settings else ()
    formats = {rule.format for rule in rules} | {"webm" for rule in rules if rule.remux}
    reserve = int(settings.resources.ram_reserve_gb * _GIB) if settings else 2 * _GIB
    yield "ffmpeg", partial(programs.check, formats)
    yield "machine", partial(machine.check, reserve)
    yield "GPU", partial(graphics.check, settings.resources.device if settings else "auto")
    if settings:
        yield "folders", partial(_folders, settings, unit)
        yield "ledger", partial(stores.ledger, path_of(settings.daemon.state_dir))
        yield "models", partial(stores.models, settings)
    yield "systemd", partial(service.judge, unit, service.examiner())
    if settings and service.serves(unit, settings):
        yield "service memory", partial(service.judge_memory, unit)
        yield "sandbox", partial(service.judge_folders, unit, settings)


def _folders(settings: Settings, unit: Mapping[str, str]) -> list[Finding]:
    """Try the folders, with the rights of the service's user where root examines."""
    places = folders.places(settings)
    silent = folders.silent(places)
    found = [
        problem(place.area, f"{place.folder} does not answer: its share hangs", "see to the server and the network")
        for place in silent
    ]
    owner = unit.get("User", "") if service.serves(unit, settings) else ""
    switches = bool(owner) and os.geteuid() == 0
    if switches and silent:  # where a thread hangs, and one does since the configuration was read, no user is changed
        text = f"tried as root, not as {owner}, while a share hangs"
        found.append(warning("folders", text, "once every share answers: sudo stemd doctor"))
    with acting_as(owner) if switches and not silent else contextlib.nullcontext():
        before = _seen(settings.daemon.state_dir)
        for place in places:
            if place not in silent:
                found += folders.check(place, settings.path.parent, before)
    return found


def _seen(state: Path) -> Mapping[Path, FileSystem]:
    """What the daemon remembers of its folders; nothing where no ledger can be read, which is told elsewhere."""
    try:
        ledger = open_for_asking(state)
    except (StemdError, OSError):
        return {}
    try:
        return seen(ledger)
    finally:
        ledger.close()


def _guarded(area: str, check: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    try:
        yield from check()
    except Exception as error:  # noqa: BLE001 - an examination goes on, whatever it meets
        yield problem(area, f"could not be examined: {type(error).__name__}: {error}", "please report this")
