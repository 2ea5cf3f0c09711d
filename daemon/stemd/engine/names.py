"""What models there are and where Demucs keeps their files. Reads folders; loads nothing and fetches nothing."""

from __future__ import annotations

import difflib
import os
import re
from functools import cache
from pathlib import Path

import torch
from demucs.hf import DEFAULT_NAMESPACE, hf_repo_name
from demucs.pretrained import REMOTE_ROOT, _parse_remote_files
from huggingface_hub import try_to_load_from_cache

from stemd.engine import bags
from stemd.errors import StemdError

DEMO = "demo"
DEMO_FOLDER = Path(__file__).parent.parent / "demo"
HUB = "hf://"
_SHA256 = re.compile(r"[0-9a-f]{64}")


def known_bags() -> dict[str, Path]:
    """Return name -> YAML file of every bag that this version of Demucs knows."""
    return {file.stem: file for file in sorted(REMOTE_ROOT.glob("*.yaml"))}


@cache
def urls() -> dict[str, str]:
    """Return signature -> address of every single network that Demucs knows."""
    return dict(_parse_remote_files(REMOTE_ROOT / "files.txt"))


def weight_files(folder: Path) -> dict[str, Path]:
    """Return signature -> file for `<signature>[-<checksum>].th` and `.safetensors`.

    Errors: StemdError "model-duplicate" where one signature has two files.
    """
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        if file.suffix not in (".th", ".safetensors"):
            continue
        signature = file.stem.rsplit("-", 1)[0]
        if signature in found:
            raise StemdError(
                "model-duplicate",
                f"{folder} holds two files for {signature}: {found[signature].name} and {file.name}",
                "remove all but one of them",
            )
        found[signature] = file
    return found


def hub_file(name: str, file: str) -> Path | None:
    """Return where the Hugging Face cache holds a file of a model's repository; None where it does not."""
    try:
        path = try_to_load_from_cache(repository(name), file)
    except ValueError:  # no name that a repository could have
        return None
    return Path(path) if isinstance(path, str) else None


def repository(name: str) -> str:
    """Return a model's repository on Hugging Face, as demucs.hf names it: `hf://someone/net` or `htdemucs_ft`."""
    name = name.removeprefix(HUB)
    namespace, _, bare = name.rpartition("/")
    return f"{namespace or DEFAULT_NAMESPACE}/{hf_repo_name(bare)}"


def bare(name: str) -> str:
    """Return name without `hf://` and namespace."""
    return name.removeprefix(HUB).rpartition("/")[2]


def torch_file(signature: str) -> Path:
    """Return where torch's hub folder holds, or would hold, a single network's weights."""
    return Path(torch.hub.get_dir()) / "checkpoints" / urls()[signature].rpartition("/")[2]


def in_hugging_face_cache(name: str) -> tuple[bags.Bag, tuple[Path, ...]] | None:
    """Look name up in the Hugging Face cache; None where it is not, or not whole.

    Errors: StemdError "model-missing" for an `hf://` name that is not there: it can be nowhere else.
    """
    file = hub_file(name, f"{bare(name)}.yaml")
    if file:
        bag = bags.read(file)
        files = [hub_file(name, f"{signature}.safetensors") for signature in bag.signatures]
        whole = [file for file in files if file]
        if len(whole) == len(files):
            return bag, tuple(whole)
    if name.startswith(HUB):
        raise missing(name)
    return None


def in_torch_cache(name: str) -> tuple[bags.Bag, tuple[Path, ...]]:
    """Look a bag or signature up in torch's hub folder. Errors: StemdError "unknown-model", "model-missing"."""
    known = known_bags()
    if name not in known and name not in urls():
        raise unknown(name)
    bag = bags.read(known[name]) if name in known else bags.Bag((name,))
    files = tuple(torch_file(signature) for signature in bag.signatures)
    if not all(file.is_file() for file in files):
        raise missing(name)
    return bag, files


def check(file: Path, sha256: str, model: str) -> None:
    """Compare a weight file's digest with the one its name carries, if any. Errors: StemdError "model-damaged".

    Demucs puts the first digits behind a dash; the Hugging Face cache names the blob that a link leads to by its
    sha256.
    """
    stem = file.resolve().name
    expected = stem if _SHA256.fullmatch(stem) else file.stem.partition("-")[2].rpartition("-")[2]
    if not sha256.startswith(expected):
        raise StemdError(
            "model-damaged",
            f"model {model}: {file} is damaged (sha256 {sha256[:16]}..., expected {expected[:16]}...)",
            f"delete that file and run: {fetch_command(model)}",
        )


def missing(name: str) -> StemdError:
    """Return the error for a known model whose weights are not on this machine."""
    return StemdError("model-missing", f"model {name} is not on this machine yet", f"run: {fetch_command(name)}")


def fetch_command(name: str) -> str:
    """Return what puts a model where this process looks for it. The service, whose cache is its own, says it itself."""
    return os.environ.get("STEMD_FETCH") or f"stemd models fetch {name}"


def unknown(name: str) -> StemdError:
    """Return the error for a name that nobody knows, with the nearest that somebody does."""
    known = [DEMO, *known_bags()]
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]}?" if near else f"known models: {', '.join(known)}"
    return StemdError("unknown-model", f"there is no model called {name}", f"{hint} (stemd models list shows all)")
