"""Find a model's files and load them through an allow-list. Never touches the network: that is `fetch`.

Looked for in this order: the embedded `demo`; the local folder; what Demucs itself has downloaded (the Hugging Face
cache, then torch's hub folder). `hf://` names only in the Hugging Face cache.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from unicodedata import category, normalize

from demucs.htdemucs import HTDemucs

from stemd.engine import bags, loading, names
from stemd.errors import StemdError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from demucs.demucs import Demucs
    from demucs.hdemucs import HDemucs

    Network: TypeAlias = Demucs | HDemucs | HTDemucs

_LONGEST_SOURCE = 200
"""Bytes of the longest name that a source may have: stems' files are called by it, with an ending."""


@dataclass(frozen=True, slots=True)
class Member:
    """One network of a bag. sha256: of its weight file. segment: seconds that it was trained on, and is run on."""

    signature: str
    sha256: str
    network: Network
    segment: float


@dataclass(frozen=True, slots=True)
class Model:
    """A bag of one or more networks with the same sources, rate and channels.

    weights: one row a member, one column a source, as in Demucs's bags. digest: sha256 over the member files' bytes in
    order, and over the bag's weights and segment where it gives any; of a single file it is that file's sha256.
    """

    name: str
    digest: str
    members: tuple[Member, ...]
    weights: tuple[tuple[float, ...], ...]

    @property
    def sources(self) -> tuple[str, ...]:
        """The stems that the networks produce, in their order."""
        return tuple(self.members[0].network.sources)

    @property
    def sample_rate(self) -> int:
        """Frames per second."""
        return int(self.members[0].network.samplerate)

    @property
    def channels(self) -> int:
        """Channels of the mix and of every stem."""
        return int(self.members[0].network.audio_channels)

    @property
    def family(self) -> str:
        """The kind of network: htdemucs, hdemucs or demucs."""
        return type(self.members[0].network).__name__.lower()

    @property
    def parameters(self) -> int:
        """How many numbers the largest member was trained to."""
        return max(sum(part.numel() for part in member.network.parameters()) for member in self.members)

    @property
    def segment(self) -> float:
        """Training length in seconds; the shortest among the members."""
        return min(member.segment for member in self.members)


def load(name: str, folder: Path | str | None = None) -> Model:
    """Load a model by the name of a bag or the signature of a single network.

    folder: local models in Demucs's format (`<name>.yaml`, `<signature>-<checksum>.th`), looked at before Demucs's
    caches. Errors: StemdError "unknown-model", "model-missing", "model-damaged", "model-refused", "diffq-missing".
    """
    bag, files = find(name, folder)
    total = hashlib.sha256()
    members = []
    for signature, file in zip(bag.signatures, files, strict=True):
        with file.open("rb") as opened:
            sha256 = _digest(opened, total)
            names.check(file, sha256, name)
            opened.seek(0)
            network = loading.load(opened, file)
        _check_sources(network.sources, file)
        members.append(_member(signature, sha256, network, bag.segment))
    if bag.weights or bag.segment:
        total.update(repr((bag.weights, bag.segment)).encode())
    return Model(name, total.hexdigest(), tuple(members), _checked(name, members, bag.weights))


def stamp(name: str, folder: Path | str | None = None) -> tuple[bags.Bag, tuple[tuple[str, int, int], ...]]:
    """Return what changes when a model does: its bag, and path, size and time of each file. Errors: as `find`."""
    bag, files = find(name, folder)
    return bag, tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files)


def verify(name: str, folder: Path | str | None = None) -> str:
    """Load name, which checks every file, and return its digest. Errors: as `load`."""
    return load(name, folder).digest


def find(name: str, folder: Path | str | None = None) -> tuple[bags.Bag, tuple[Path, ...]]:
    """Return what name consists of and where its files lie. Errors: StemdError "unknown-model", "model-missing"."""
    local = _local(name, names.DEMO_FOLDER) if name == names.DEMO else None
    local = local or (_local(name, Path(folder)) if folder else None)
    return local or names.in_hugging_face_cache(name) or names.in_torch_cache(name)


def _local(name: str, folder: Path) -> tuple[bags.Bag, tuple[Path, ...]] | None:
    """Look name up in a folder of models; None where the folder does not know it."""
    if not folder.is_dir():
        raise no_folder(folder)
    weights = names.weight_files(folder)
    if name in weights:
        return bags.Bag((name,)), (weights[name],)
    file = folder / f"{name}.yaml"
    if "/" in name or not file.is_file():
        return None
    bag = bags.read(file)
    missing = [signature for signature in bag.signatures if signature not in weights]
    if missing:
        raise StemdError(
            "model-missing",
            f"model {name}: {folder} holds no weights for {', '.join(missing)}",
            f"copy the file {missing[0]}-<checksum>.th into that folder",
        )
    return bag, tuple(weights[signature] for signature in bag.signatures)


def no_folder(folder: Path) -> StemdError:
    """Return the error for a models folder that is not there."""
    return StemdError("no-models-folder", f"{folder} is not a folder", "correct `models` or create the folder")


def _digest(opened: loading.Readable, total: hashlib._Hash) -> str:
    own = hashlib.sha256()
    while block := opened.read(1 << 20):
        own.update(block)
        total.update(block)
    return own.hexdigest()


def _check_sources(sources: object, file: Path) -> None:
    """Refuse sources that are no different names of files: as a path, one would lead out of the stems' folder."""
    listed = sources if isinstance(sources, (list, tuple)) else ()
    named = bool(listed) and all(isinstance(source, str) and _names_a_file(source) for source in listed)
    if not named or len({normalize("NFC", source).casefold() for source in listed}) < len(listed):
        raise StemdError(
            "model-refused",
            f"{file} was refused: files of stems cannot be called as its sources are, {sources!r:.100}",
            "use another model, or have its maker give each source a name of its own, without / and not begun by . -",
        )


def _names_a_file(source: str) -> bool:
    plain = not any(category(letter) in {"Cc", "Cs"} or letter == "/" for letter in source)
    return plain and source[:1].strip(".- ") != "" and len(source.encode()) <= _LONGEST_SOURCE


def _member(signature: str, sha256: str, network: Network, segment: float | None) -> Member:
    """Apply a bag's segment as demucs.apply.BagOfModels does: a transformer's is only ever shortened."""
    if segment is not None and (not isinstance(network, HTDemucs) or segment <= network.segment):
        network.segment = segment
    return Member(signature, sha256, network, float(network.segment))


def _checked(
    name: str, members: Sequence[Member], weights: Sequence[Sequence[float]] | None
) -> tuple[tuple[float, ...], ...]:
    """Return the bag's weights (default: all one), after making sure that its members belong together."""
    facts = {(tuple(m.network.sources), m.network.samplerate, m.network.audio_channels) for m in members}
    sources = len(members[0].network.sources)
    weights = weights or [[1.0] * sources for _ in members]
    fits = len(weights) == len(members) and all(len(row) == sources for row in weights)
    if len(facts) != 1 or not fits or not all(sum(column) for column in zip(*weights, strict=True)):
        raise StemdError(
            "model-damaged", f"the members of {name} do not fit together", f"restore {name}.yaml and its weight files"
        )
    return tuple(tuple(row) for row in weights)
