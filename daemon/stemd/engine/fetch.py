"""Fetch a model from where Demucs publishes it. The only part of the engine that uses the network.

As demucs.pretrained does: bags from the Hugging Face hub, whose client resumes broken downloads, else (and for single
signatures) each network from Meta's server. Files land in the caches where Demucs and `models` look for them.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import torch

from stemd.engine import bags, faults, library, models, names
from stemd.errors import StemdError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_BLOCK = 1 << 18
_PATIENCE = 30.0  # seconds without a byte
_LOOK = 0.5  # seconds between looks whether another process has ended its download


def fetch(name: str, folder: Path | str | None, on_progress: Callable[[float], None]) -> dict[str, Any]:
    """Bring a model to this machine, unless it is there, and load it once to be sure.

    on_progress: told the fraction done, 0..1. Returns model, digest, where and bytes.
    Errors: StemdError "unknown-model", "no-network", "model-damaged" (the broken file is removed), "disk-full",
    "cannot-access".
    """
    with faults.translated(torch.device("cpu")):
        try:
            models.find(name, folder)
        except StemdError as error:
            if error.code != "model-missing":
                raise
            _bring(name, on_progress)
        digest = models.verify(name, folder)
        _, files = models.find(name, folder)
        size = sum(file.stat().st_size for file in set(files))
    on_progress(1.0)
    return {"model": name, "digest": digest, "where": library.where(name, files, folder), "bytes": size}


def _bring(name: str, on_progress: Callable[[float], None]) -> None:
    reason = ""
    if name in names.known_bags() or name.startswith(names.HUB):
        try:
            _from_hub(name, on_progress)
        except StemdError:
            raise
        except Exception as error:  # noqa: BLE001 - as demucs.pretrained: whatever it was, the other server may have it
            reason = _first_line(error)
        else:
            return
    if name.startswith(names.HUB):
        raise _no_network(name, reason)
    try:
        _from_server(name, on_progress)
    except (urllib.error.HTTPError, ConnectionError) as error:
        raise _no_network(name, "; ".join(filter(None, (reason, _first_line(error))))) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _no_room(name) from error
        raise


def _from_server(name: str, on_progress: Callable[[float], None]) -> None:
    """Fetch a bag's networks, or a single one, from Meta's server. Errors: as `download`."""
    known = names.known_bags()
    signatures = bags.read(known[name]).signatures if name in known else (name,)
    for number, signature in enumerate(signatures):
        file = names.torch_file(signature)
        if not file.is_file():
            done = number / len(signatures)
            download(names.urls()[signature], file, lambda f, done=done: on_progress(done + f / len(signatures)))  # type: ignore[misc]


def _from_hub(name: str, on_progress: Callable[[float], None]) -> None:
    """Fetch a bag's YAML file and its networks. Errors: those of huggingface_hub; StemdError "unknown-model"."""
    from huggingface_hub import hf_hub_download  # noqa: PLC0415 - reads its offline switch when imported
    from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError  # noqa: PLC0415

    repository = names.repository(name)
    try:
        bag = bags.read(Path(hf_hub_download(repository, f"{names.bare(name)}.yaml")))
        for number, signature in enumerate(bag.signatures):
            on_progress(number / len(bag.signatures))
            hf_hub_download(repository, f"{signature}.safetensors")
    except (EntryNotFoundError, RepositoryNotFoundError) as error:
        if not name.startswith(names.HUB) or "LocalEntry" in type(error).__name__:
            raise
        raise StemdError(
            "unknown-model", f"Hugging Face has no model at {repository}", "check the name: hf://someone/model"
        ) from error


def download(url: str, file: Path, on_progress: Callable[[float], None]) -> None:
    """Fetch url into file, going on where an earlier attempt broke off; file appears only when it is whole.

    While another process fetches the same file, waits for it. The first digits of the sha256 stand in the file's name
    behind the dash (Demucs's convention).
    Errors: urllib.error.HTTPError, ConnectionError; OSError of the disk; StemdError "model-damaged".
    """
    part = file.with_name(f"{file.name}.part")
    file.parent.mkdir(parents=True, exist_ok=True)
    with _held(part, on_progress) as opened:
        if file.exists():
            return
        try:
            _append(url, opened, on_progress)
        except urllib.error.HTTPError as error:
            if error.code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:  # nothing is left to send
                raise
        _finish(part, file)


@contextmanager
def _held(part: Path, on_progress: Callable[[float], None]) -> Iterator[IO[bytes]]:
    """Open an unfinished file that no other process writes to until the block ends; one without a byte goes then."""
    while True:
        with part.open("ab") as opened:
            while not _locked(opened):
                on_progress(0.0)
                time.sleep(_LOOK)
            if not _is_at(part, opened):  # whoever held it has finished or removed it
                continue
            try:
                yield opened
            finally:
                if _is_at(part, opened) and not part.stat().st_size:
                    part.unlink()
            return


def _locked(opened: IO[bytes]) -> bool:
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(part: Path, opened: IO[bytes]) -> bool:
    try:
        return os.path.samestat(part.stat(), os.fstat(opened.fileno()))
    except FileNotFoundError:
        return False


def _append(url: str, opened: IO[bytes], on_progress: Callable[[float], None]) -> None:
    """Write what opened still lacks of url to its end, durably. Errors: as `download`."""
    have = os.fstat(opened.fileno()).st_size
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310 - Demucs's own
    with _connection():
        answer = urllib.request.urlopen(request, timeout=_PATIENCE)  # noqa: S310
    with answer:
        if have and answer.status != HTTPStatus.PARTIAL_CONTENT:
            opened.truncate(have := 0)
        total = have + int(answer.headers.get("Content-Length") or 0)
        for block in _blocks(answer):
            opened.write(block)
            have += len(block)
            on_progress(min(1.0, have / total) if total else 0.0)
        opened.flush()
        os.fsync(opened.fileno())
    if have < total:
        raise ConnectionError(f"the connection broke off after {have} of {total} bytes")


def _blocks(answer: IO[bytes]) -> Iterator[bytes]:
    while True:
        with _connection():
            block = answer.read(_BLOCK)
        if not block:
            return
        yield block


@contextmanager
def _connection() -> Iterator[None]:
    """Raise whatever a connection can come to as ConnectionError, but for an answer that is an HTTPError."""
    try:
        yield
    except urllib.error.HTTPError:
        raise
    except (OSError, http.client.HTTPException) as error:
        raise ConnectionError(_first_line(error)) from error


def _finish(part: Path, file: Path) -> None:
    digest = hashlib.sha256()
    with part.open("rb") as opened:
        while block := opened.read(_BLOCK):
            digest.update(block)
    expected = file.stem.partition("-")[2]
    if not digest.hexdigest().startswith(expected):
        part.unlink()
        raise StemdError(
            "model-damaged",
            f"{file.name} arrived damaged (sha256 {digest.hexdigest()[:8]}, expected {expected}) and was removed",
            "try again; if it happens again, something between here and the server changes files",
        )
    part.replace(file)


def _first_line(error: BaseException) -> str:
    reason = getattr(error, "reason", None) or error
    lines = str(reason).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _no_network(name: str, reason: str) -> StemdError:
    return StemdError(
        "no-network",
        f"model {name} could not be fetched: {reason or 'no connection'}",
        "check the network or proxy and try again (what arrived is kept), or copy the files into the models folder",
    )


def _no_room(name: str) -> StemdError:
    return StemdError(
        "disk-full",
        f"model {name} could not be fetched: the disk of {torch.hub.get_dir()} is full",
        "free some space there and try again (what arrived is kept)",
    )
