"""Turn one weight file into a network, through an allow-list of classes. A file that asks for anything else is refused.

Pickles are read by torch.load(weights_only=True), whose unpickler knows tensors, plain containers and the classes named
here and executes nothing else; safetensors hold no code, and the class names in their metadata pass the same list.
"""

from __future__ import annotations

import importlib.util
import json
import pickle
import re
import warnings
from collections import OrderedDict
from contextlib import contextmanager
from fractions import Fraction
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import torch
from demucs.demucs import Demucs
from demucs.hdemucs import HDemucs
from demucs.hf import _decode_json, _unflatten_state
from demucs.htdemucs import HTDemucs
from demucs.states import load_model
from safetensors import SafetensorError, safe_open
from torch.nn.modules.module import register_module_parameter_registration_hook

from stemd.engine import faults
from stemd.errors import StemdError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from stemd.engine.models import Network

Readable: TypeAlias = IO[bytes]

_NETWORKS: dict[str, type] = {
    "demucs.demucs.Demucs": Demucs,
    "demucs.hdemucs.HDemucs": HDemucs,
    "demucs.wdemucs.WDemucs": HDemucs,  # its name in the first hybrid checkpoints
    "demucs.htdemucs.HTDemucs": HTDemucs,
}
_BEGINNINGS = (b"P", b"\x80")  # of a zip archive and of a pickle: what begins otherwise is no weight file at all
_BROKEN = (
    ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError,
    SafetensorError, TypeError, ValueError,
)  # fmt: skip
"""What torch and Demucs raise over a file that is not what it says to be."""
_LEAST = 64
"""Bytes of a file that one tensor takes at least, however few weights are in it."""
_QUANTISERS = ("diffq.diffq.DiffQuantizer", "diffq.uniform.UniformQuantizer")  # named inside mdx_q and mdx_extra_q


def load(opened: Readable, file: Path) -> Network:
    """Build the network that a weight file describes, on the CPU, ready to run.

    opened: the file, at its beginning. Errors: StemdError "model-refused" where it names a class off the list,
    "model-damaged" where it cannot be read, "diffq-missing" where its weights are quantised and diffq is not installed,
    "out-of-memory".
    """
    try:
        package = _from_safetensors(file) if file.suffix == ".safetensors" else _from_pickle(opened, file)
        _check(package, file)
        with warnings.catch_warnings(), _no_larger_than(file, quantised="__quantized" in package["state"]):
            warnings.simplefilter("ignore")  # demucs warns of parameters that newer classes dropped
            network: Network = load_model(package)  # type: ignore[no-untyped-call]
    except _BROKEN as error:
        raise _unreadable(file, error) from error
    return network.eval().requires_grad_(requires_grad=False)


def _from_pickle(opened: Readable, file: Path) -> dict[str, Any]:
    allowed: list[Any] = [(kind, name) for name, kind in _NETWORKS.items()] + [Fraction, OrderedDict, *_quantisers()]
    try:
        with torch.serialization.safe_globals(allowed), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            package = torch.load(opened, "cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        opened.seek(0)
        if opened.read(1) in _BEGINNINGS:
            raise _refused(file, _asked_for(str(error))) from error
        raise _damaged(file, "it is no file of weights") from error
    return package if isinstance(package, dict) else {}


def _from_safetensors(file: Path) -> dict[str, Any]:
    with safe_open(str(file), framework="pt") as opened:
        facts = opened.metadata() or {}
        tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118 - not a dict
    structure = json.loads(facts["structure"]) if "structure" in facts else None
    args, kwargs = (_decode_json(json.loads(facts[key])) for key in ("args", "kwargs"))  # type: ignore[no-untyped-call]
    for name in (facts.get("klass", ""), *_classes(structure)):
        if name not in _NETWORKS and name not in _QUANTISERS:
            raise _refused(file, name)
    state = _unflatten_state(tensors, structure) if structure else tensors
    return {"klass": _NETWORKS.get(facts["klass"]), "args": args, "kwargs": kwargs, "state": state}


def _classes(node: Any) -> list[str]:
    """Return every class that a safetensors structure would import."""
    if isinstance(node, dict):
        return ([str(node["_class"])] if "_class" in node else []) + [n for v in node.values() for n in _classes(v)]
    if isinstance(node, list):
        return [name for item in node for name in _classes(item)]
    return []


def _check(package: dict[str, Any], file: Path) -> None:
    """Refuse what is no description of a network, before anything is built from it."""
    shapes: dict[str, Any] = {"args": (tuple, list), "kwargs": dict, "state": dict}
    if not all(isinstance(package.get(key), kind) for key, kind in shapes.items()):
        raise _damaged(file, "it does not describe a network")
    if package.get("klass") not in _NETWORKS.values():
        raise _refused(file, str(package.get("klass")))
    if package["state"].get("__quantized") and importlib.util.find_spec("diffq") is None:
        raise StemdError(
            "diffq-missing", f"{file} holds quantised weights and diffq is not installed", "run: pip install diffq"
        )


@contextmanager
def _no_larger_than(file: Path, *, quantised: bool) -> Iterator[None]:
    """Raise ValueError once a network that is built in the block has more weights than the file can hold.

    Without, a few hundred bytes that ask for sixty layers take all memory before anybody finds that no weights follow.
    torch tells of a tensor of weights before these are drawn, so that its memory was asked for and never touched. No
    format has less than 8 bits for a weight; quantised ones have 1 or more.
    """
    room = file.stat().st_size * (8 if quantised else 1)

    def count(_module: torch.nn.Module, _name: str, weights: torch.nn.Parameter) -> None:
        nonlocal room
        room -= max(_LEAST, weights.numel())
        if room < 0:
            raise ValueError("it describes a network of more weights than it can hold")

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


def _quantisers() -> list[type]:
    """Return the classes of diffq that quantised checkpoints name, where diffq is installed."""
    if importlib.util.find_spec("diffq") is None:
        return []
    return [
        getattr(importlib.import_module(module), name) for module, _, name in (q.rpartition(".") for q in _QUANTISERS)
    ]


def _asked_for(text: str) -> str:
    """Pick the class name out of what torch's unpickler says."""
    named = re.search(r"(?:GLOBAL|function|but got|for) (?:<\w+ ')?([\w.]+\w)", text)
    return named[1] if named else "something"


def _refused(file: Path, name: str) -> StemdError:
    return StemdError(
        "model-refused",
        f"{file} was refused: it asks for {name}, which no Demucs model needs; nothing of it was run",
        "delete the file, and fetch models only from sources that you trust",
    )


def _unreadable(file: Path, error: Exception) -> StemdError:
    """Tell a lack of memory from a damaged file: nobody should delete a good model."""
    known = faults.translate(error, torch.device("cpu"))
    return known if known and known.code == "out-of-memory" else _damaged(file, error)


def _damaged(file: Path, reason: object) -> StemdError:
    first = str(reason).strip().splitlines()
    return StemdError(
        "model-damaged",
        f"{file} cannot be loaded: {first[0] if first else reason!r}",
        "delete it and fetch the model again",
    )
