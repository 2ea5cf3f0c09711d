"""Which models there are, and which are on this machine. Reads folders; loads nothing and fetches nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from stemd.engine import bags, models, names
from stemd.errors import StemdError

if TYPE_CHECKING:
    from collections.abc import Iterable


def listing(folder: Path | str | None) -> list[dict[str, Any]]:
    """Return every model by name: name, here, where ("embedded", "local folder", "hugging face", "torch hub" or None),
    members, and bytes on this machine.

    Local models come first, then the embedded one, then those that Demucs knows. Errors: StemdError "no-models-folder".
    """  # noqa: D205 - the fields belong to the first sentence
    known = [*_local(folder), names.DEMO, *names.known_bags()]
    return [_entry(name, folder) for name in dict.fromkeys(known)]


def where(name: str, files: Iterable[Path], folder: Path | str | None) -> str:
    """Name the place that a model's files lie in."""
    first = next(iter(files))
    if first.parent == names.DEMO_FOLDER:
        return "embedded"
    if folder and first.parent == Path(folder):
        return "local folder"
    return "torch hub" if first.suffix == ".th" and not name.startswith(names.HUB) else "hugging face"


def _local(folder: Path | str | None) -> list[str]:
    """Name a folder's bags, and its single networks that no bag names."""
    if not folder:
        return []
    if not Path(folder).is_dir():
        raise models.no_folder(Path(folder))
    found = {file.stem: bags.read(file) for file in sorted(Path(folder).glob("*.yaml"))}
    used = {signature for bag in found.values() for signature in bag.signatures}
    return [*found, *(name for name in names.weight_files(Path(folder)) if name not in used)]


def _entry(name: str, folder: Path | str | None) -> dict[str, Any]:
    try:
        bag, files = models.find(name, folder)
    except StemdError:
        known = names.known_bags().get(name)
        members = len(bags.read(known).signatures) if known else 0
        return {"name": name, "here": False, "where": None, "members": members, "bytes": 0}
    size = sum(file.stat().st_size for file in set(files))
    return {
        "name": name,
        "here": True,
        "where": where(name, files, folder),
        "members": len(bag.signatures),
        "bytes": size,
    }
