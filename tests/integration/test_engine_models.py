"""Models: found in every place, loaded through the allow-list, checked, listed and fetched from a real server."""

from __future__ import annotations

import hashlib
import http.server
import io
import os
import pickle
import resource
import shutil
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import networks as nets
import pytest
import torch
import yaml
from demucs.hf import DEFAULT_NAMESPACE
from safetensors.torch import save_file

from stemd.demo import FOLDER, MODEL
from stemd.engine import bags, fetch, library, models, names
from stemd.errors import StemdError


@pytest.fixture(autouse=True)
def empty_caches(tmp_path, monkeypatch):
    """No test sees what this machine has fetched, nor fetches."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A local repository: a network alone, and a bag of two with weights and a segment."""
    place = tmp_path / "models"
    nets.save(nets.htdemucs(), place, "alone")
    nets.save(nets.htdemucs(seed=1), place, "aaaa")
    nets.save(nets.hdemucs(), place, "bbbb")
    (place / "pair.yaml").write_text("models: ['aaaa', 'bbbb']\nweights: [[1, 0, 1], [0, 1, 1]]\nsegment: 0.6\n")
    return place


def code_of(call: Any, *args: Any) -> str:
    with pytest.raises(StemdError) as caught:
        call(*args)
    assert caught.value.message
    assert caught.value.hint
    return caught.value.code


def test_the_digest_of_one_network_is_that_of_its_file(folder):
    model = models.load("alone", folder)
    expected = hashlib.sha256(next(folder.glob("alone-*.th")).read_bytes()).hexdigest()
    assert model.digest == model.members[0].sha256 == expected
    assert (model.sources, model.sample_rate, model.channels, model.segment) == (nets.SOURCES, nets.RATE, 2, 0.5)


def test_the_digest_of_a_bag_covers_every_file_and_its_weights(folder):
    model = models.load("pair", folder)
    assert [m.signature for m in model.members] == ["aaaa", "bbbb"]
    assert [m.segment for m in model.members] == [0.5, 0.6]  # a transformer's is only ever shortened
    assert model.weights == ((1, 0, 1), (0, 1, 1))
    bag = folder / "pair.yaml"
    bag.write_text(bag.read_text().replace("[1, 0, 1]", "[1, 0, 2]"))
    assert models.load("pair", folder).digest != model.digest


def test_the_embedded_model_is_found_with_and_without_a_folder(folder):
    assert models.load(MODEL).digest == models.load(MODEL, folder).digest
    assert models.find(MODEL)[1][0].parent == FOLDER


class Planted:
    """What a malicious pickle holds: a call that leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("where", ["klass", "state", "alone", "bare"])
def test_a_planted_pickle_is_refused_and_executes_nothing(folder, tmp_path, where):
    trace, file = tmp_path / "trace", next(folder.glob("alone-*.th"))
    package = torch.load(file, weights_only=False)
    if where == "state":
        package["state"]["extra"] = Planted(trace)
    else:
        package = {"klass": Planted(trace), "alone": Planted(trace), "bare": Planted(trace)}[where]
        package = {**torch.load(file, weights_only=False), "klass": package} if where == "klass" else package
    buffer = io.BytesIO()
    if where == "bare":
        pickle.dump(package, buffer)
    else:
        torch.save(package, buffer)
    file.unlink()
    (folder / f"alone-{hashlib.sha256(buffer.getvalue()).hexdigest()[:8]}.th").write_bytes(buffer.getvalue())
    assert code_of(models.load, "alone", folder) == "model-refused"
    assert not trace.exists()
    torch.load(io.BytesIO(buffer.getvalue()), weights_only=False) if where == "alone" else None
    assert trace.exists() == (where == "alone")  # the plant does work where it is let


def test_a_harmless_class_off_the_list_is_refused_by_name(folder):
    file = next(folder.glob("alone-*.th"))
    package = torch.load(file, weights_only=False)
    package["klass"] = torch.nn.Linear
    file.unlink()
    torch.save(package, folder / "alone.th")
    with pytest.raises(StemdError, match=r"torch\.nn\.modules\.linear\.Linear") as caught:
        models.load("alone", folder)
    assert caught.value.code == "model-refused"


def rename_sources(folder: Path, sources: Any) -> None:
    """Make the network alone call its sources otherwise."""
    file = next(folder.glob("alone-*.th"))
    package = torch.load(file, weights_only=False)
    package["kwargs"]["sources"] = sources
    file.unlink()
    torch.save(package, folder / "alone.th")


@pytest.mark.parametrize(
    "source", ["/../../victim", "a/b", "..", ".hidden", "", "vocals\n", "a\0b", "é" * 101, "-v", "Drums", 1, ["a"]]
)
def test_sources_that_are_no_names_of_files_are_refused(folder, source):
    """Stems are written as <folder>/<source>.wav: an absolute name would replace a file anywhere."""
    rename_sources(folder, [*nets.SOURCES[:2], source])
    assert code_of(models.load, "alone", folder) == "model-refused"


def test_sources_that_are_no_list_are_refused(folder):
    rename_sources(folder, "abc")
    assert code_of(models.load, "alone", folder) == "model-refused"


def test_sources_may_have_spaces_brackets_and_letters_of_any_language(folder):
    own = ["Lead vocals (dry)", "e\u0301lectro & 808's", "वोकल"]
    rename_sources(folder, own)
    assert models.load("alone", folder).sources == tuple(own)


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "text", "zip"])
def test_a_damaged_file_is_told(folder, damage):
    file = next(folder.glob("alone-*.th"))
    raw = bytearray(file.read_bytes())
    if damage == "flip":
        raw[len(raw) // 2] ^= 1
        file.write_bytes(raw)
        with pytest.raises(StemdError, match="expected") as caught:
            models.load("alone", folder)
        assert caught.value.code == "model-damaged"
        return
    file.unlink()
    content = {"cut": raw[: len(raw) // 2], "empty": b"", "text": b"this is no network", "zip": b""}[damage]
    (folder / "alone.th").write_bytes(content)  # without a checksum in its name
    if damage == "zip":
        with zipfile.ZipFile(folder / "alone.th", "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps([1, 2], 2))
            archive.writestr("archive/version", "3")
    assert code_of(models.load, "alone", folder) == "model-damaged"


@pytest.mark.parametrize(
    "changes",
    [
        {"depth": 60},
        {"t_layers": 10**9},
        {"growth": 1, "depth": 10**9},
        {"channels": 100_000},
        {"sources": ["x"] * 10_000},
    ],
)
def test_a_small_file_cannot_ask_for_a_large_network(folder, changes):
    file = next(folder.glob("alone-*.th"))
    package = torch.load(file, weights_only=False)
    package["kwargs"] |= changes
    file.unlink()
    torch.save(package, folder / "alone.th")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(StemdError, match="more weights than it can hold") as caught:
        models.load("alone", folder)
    assert caught.value.code == "model-damaged"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + (64 << 10)  # KiB
    assert models.load("aaaa", folder)  # what was counted is not counted again


@pytest.mark.parametrize(
    "changes", [{"kwargs": {"t_heads": 0}}, {"kwargs": {"depth": 0}}, {"state": {1: torch.zeros(100_000)}}]
)
def test_a_network_that_cannot_be_is_told(folder, changes):
    file = next(folder.glob("alone-*.th"))
    package = torch.load(file, weights_only=False)
    for key, change in changes.items():
        package[key] |= change
    file.unlink()
    torch.save(package, folder / "alone.th")
    assert code_of(models.load, "alone", folder) == "model-damaged"


@pytest.mark.parametrize("network", [nets.htdemucs(), nets.hdemucs(dconv_lstm=4, dconv_attn=4), nets.demucs()])
@pytest.mark.parametrize("half", [False, True])
def test_every_kind_of_network_is_small_enough_for_its_file(tmp_path, network, half):
    nets.save(network.half() if half else network.float(), tmp_path, "own")
    assert models.load("own", tmp_path).family == type(network).__name__.lower()


@pytest.mark.parametrize("step", ["torch.load", "stemd.engine.loading.load_model"])
def test_memory_that_runs_out_while_loading_is_no_damaged_file(folder, monkeypatch, step):
    def full(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(step, full)
    assert code_of(models.load, "alone", folder) == "out-of-memory"


def test_the_embedded_model_is_compared_with_the_digest_in_its_name(tmp_path, monkeypatch):
    copied = tmp_path / "demo"
    shutil.copytree(names.DEMO_FOLDER, copied)
    monkeypatch.setattr(names, "DEMO_FOLDER", copied)
    assert models.verify("demo") == models.load("demo").digest
    weights = next(copied.glob("*.th"))
    raw = bytearray(weights.read_bytes())
    raw[len(raw) // 2] ^= 1
    weights.write_bytes(raw)
    with pytest.raises(StemdError, match="expected") as caught:
        models.verify("demo")
    assert caught.value.code == "model-damaged"


def test_what_is_missing_or_unknown_says_what_to_do(folder, tmp_path, monkeypatch):
    assert code_of(models.load, "htdemucs") == "model-missing"
    with pytest.raises(StemdError, match="not on this machine") as caught:
        models.load("htdemucs_ft", folder)
    assert caught.value.hint == "run: stemd models fetch htdemucs_ft"
    monkeypatch.setenv("STEMD_FETCH", "systemctl start stemd-models")
    assert names.missing("htdemucs_ft").hint == "run: systemctl start stemd-models"
    assert code_of(models.load, "hf://someone/net") == "model-missing"
    with pytest.raises(StemdError) as caught:
        models.load("htdemuc")
    assert caught.value.code == "unknown-model"
    assert "htdemucs" in caught.value.hint
    assert code_of(models.load, "alone", tmp_path / "nowhere") == "no-models-folder"
    next(folder.glob("bbbb-*.th")).unlink()
    assert code_of(models.load, "pair", folder) == "model-missing"


def test_two_files_for_one_signature_and_odd_bags_are_told(folder):
    (folder / "odd.yaml").write_text("models: ['aaaa', 'bbbb']\nweights: [[1, 0, 1]]\n")
    assert code_of(models.load, "odd", folder) == "model-damaged"
    shutil.copy(next(folder.glob("alone-*.th")), folder / "alone.th")
    assert code_of(models.load, "alone", folder) == "model-duplicate"


UNFOLDING = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10))


@pytest.mark.parametrize(
    "text",
    ["models: [unclosed", "models: []", "models: aaaa", "models: [12]", "[aaaa]", UNFOLDING + "models: [*a9]"],
    ids=["unclosed", "empty", "no list", "number", "no table", "unfolding"],
)
def test_a_file_that_is_no_bag_is_told_at_once(folder, text):
    (folder / "odd.yaml").write_text(text)
    assert code_of(models.load, "odd", folder) == "model-damaged"


def test_a_bag_nested_too_deep_is_told(folder):
    (folder / "odd.yaml").write_text("models: " + "[" * 1000 + "]" * 1000)
    assert code_of(models.load, "odd", folder) == "model-damaged"


@pytest.mark.parametrize("name", ["../models/alone", "/etc/passwd", "a/b"])
def test_a_name_never_leaves_the_folder(folder, name):
    assert code_of(models.load, name, folder) == "unknown-model"


def in_hub(tmp_path: Path, name: str, files: dict[str, bytes]) -> None:
    """Lay files out as huggingface_hub caches them: links to blobs named by their sha256."""
    place = tmp_path / "hub" / ("models--" + names.repository(name).replace("/", "--"))
    for folder in ("refs", "blobs", "snapshots/0123"):
        (place / folder).mkdir(parents=True, exist_ok=True)
    (place / "refs" / "main").write_text("0123")
    for file, content in files.items():
        blob = place / "blobs" / hashlib.sha256(content).hexdigest()
        blob.write_bytes(content)
        (place / "snapshots" / "0123" / file).symlink_to(blob)


def safetensors(network: Any, tmp_path: Path, klass: str = "demucs.htdemucs.HTDemucs") -> bytes:
    """Save a network as Demucs publishes them on Hugging Face."""
    kwargs = dict(network._init_args_kwargs[1])
    kwargs["segment"] = {"_type": "fraction", "numerator": 1, "denominator": 2}
    facts = {"klass": klass, "args": "[]", "kwargs": __import__("json").dumps(kwargs)}
    save_file(network.state_dict(), tmp_path / "net.safetensors", facts)
    return (tmp_path / "net.safetensors").read_bytes()


@pytest.mark.parametrize("name", ["htdemucs", "hf://someone/own"])
def test_a_model_in_the_hugging_face_cache_is_used_without_a_network(tmp_path, name):
    content = safetensors(nets.htdemucs(), tmp_path)
    bag = yaml.safe_dump({"models": ["sig"]}).encode()
    in_hub(tmp_path, name, {f"{names.bare(name)}.yaml": bag, "sig.safetensors": content})
    model = models.load(name)
    assert model.digest == hashlib.sha256(content).hexdigest()
    assert float(model.members[0].network.segment) == 0.5
    blob = next((tmp_path / "hub").glob(f"models--*/blobs/{model.digest}"))
    blob.write_bytes(content[:-1] + b"x")
    assert code_of(models.load, name) == "model-damaged"
    assert names.repository("htdemucs_ft") == f"{DEFAULT_NAMESPACE}/HTDemucs-ft"


def test_safetensors_naming_another_class_are_refused(tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "alone.safetensors").write_bytes(safetensors(nets.htdemucs(), tmp_path, "os.system"))
    assert code_of(models.load, "alone", folder) == "model-refused"


class Server(http.server.ThreadingHTTPServer):
    """Serves one file; the first `breaks` answers stop in the middle. gate: while clear, an answer stays half given."""

    content = b""
    breaks = 0
    asked: tuple[str | None, ...] = ()
    answer = "whole"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.gate = threading.Event()
        self.gate.set()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server: Any = self.server
        wanted = self.headers.get("Range")
        server.asked = (*server.asked, wanted)
        start = int(wanted[6:-1]) if wanted else 0
        part = server.content[start:]
        if server.answer == "rubbish":
            self.wfile.write(b"NOT HTTP AT ALL\r\n\r\n")
            return
        if server.answer == "chunks":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n" + part[:1000] + b"\r\n")
            return
        if wanted and not part:
            self.send_response(416)
            self.end_headers()
            return
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if server.breaks:
            server.breaks -= 1
            part = part[: len(part) // 2]
        self.wfile.write(part[: len(part) // 2])
        self.wfile.flush()
        server.gate.wait(20)
        self.wfile.write(part[len(part) // 2 :])

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def published(server, tmp_path, monkeypatch) -> str:
    """A network that Demucs knows by its signature, on our server."""
    file = nets.save(nets.htdemucs(), tmp_path / "published", "5ca1ab1e")
    server.content = file.read_bytes()
    url = f"http://127.0.0.1:{server.server_port}/{file.name}"
    monkeypatch.setattr(names, "urls", lambda: {"5ca1ab1e": url})
    return file.name


def test_fetch_brings_a_model_that_then_works_without_a_network(server, published, tmp_path):
    told: list[float] = []
    done = fetch.fetch("5ca1ab1e", None, told.append)
    assert told[-1] == 1.0
    assert done["where"] == "torch hub"
    assert (tmp_path / "torch" / "hub" / "checkpoints" / published).read_bytes() == server.content
    server.content = b""
    assert models.load("5ca1ab1e").digest == done["digest"]
    assert fetch.fetch("5ca1ab1e", None, told.append) == done
    assert len(server.asked) == 1


def test_a_broken_download_is_told_and_resumed(server, published, tmp_path):
    server.breaks = 1
    assert code_of(fetch.fetch, "5ca1ab1e", None, lambda _: None) == "no-network"
    place = tmp_path / "torch" / "hub" / "checkpoints"
    assert [file.name for file in place.iterdir()] == [f"{published}.part"]
    assert code_of(models.load, "5ca1ab1e") == "model-missing"
    fetch.fetch("5ca1ab1e", None, lambda _: None)
    assert server.asked == (None, f"bytes={len(server.content) // 2}-")
    assert [file.name for file in place.iterdir()] == [published]


def test_what_arrives_damaged_is_removed(server, published, tmp_path):
    server.content = server.content[:-1] + b"x"
    assert code_of(fetch.fetch, "5ca1ab1e", None, lambda _: None) == "model-damaged"
    assert not list((tmp_path / "torch" / "hub" / "checkpoints").iterdir())


def test_two_that_fetch_the_same_at_once_bring_it_once(server, published, tmp_path):
    server.gate.clear()
    place, done = tmp_path / "torch" / "hub" / "checkpoints", []
    waits = threading.Event()

    def bring(on_progress: Any) -> None:
        done.append(fetch.fetch("5ca1ab1e", None, on_progress))

    first = threading.Thread(target=bring, args=[lambda _: None])
    first.start()
    part = place / f"{published}.part"
    while not server.asked or not part.exists():
        time.sleep(0.01)
    second = threading.Thread(target=bring, args=[lambda _: waits.set()])
    second.start()
    assert waits.wait(20)
    assert server.asked == (None,)
    server.gate.set()
    first.join(30)
    second.join(30)
    assert len(done) == 2
    assert done[0] == done[1]
    assert server.asked == (None,)
    assert [file.name for file in place.iterdir()] == [published]


def test_one_that_waits_goes_on_where_the_other_broke_off(server, published, tmp_path):
    server.gate.clear()
    server.breaks = 1
    codes, waits = [], threading.Event()
    first = threading.Thread(
        target=lambda: codes.append(code_of(fetch.fetch, "5ca1ab1e", None, lambda _: None)),
    )
    first.start()
    while not server.asked:
        time.sleep(0.01)
    second = threading.Thread(target=fetch.fetch, args=("5ca1ab1e", None, lambda _: waits.set()))
    second.start()
    assert waits.wait(20)
    server.gate.set()
    first.join(30)
    second.join(30)
    assert codes == ["no-network"]
    assert server.asked == (None, f"bytes={len(server.content) // 2}-")
    assert models.load("5ca1ab1e")


def test_one_that_was_killed_after_the_last_byte_is_not_fetched_again(server, published, tmp_path):
    place = tmp_path / "torch" / "hub" / "checkpoints"
    place.mkdir(parents=True)
    (place / f"{published}.part").write_bytes(server.content)
    fetch.fetch("5ca1ab1e", None, lambda _: None)
    assert [file.name for file in place.iterdir()] == [published]
    assert server.asked == (f"bytes={len(server.content)}-",)


@pytest.mark.parametrize("answer", ["rubbish", "chunks"])
def test_what_proxies_do_to_a_download_is_a_fault_of_the_network(server, published, tmp_path, answer):
    server.answer = answer
    assert code_of(fetch.fetch, "5ca1ab1e", None, lambda _: None) == "no-network"
    server.answer = "whole"
    assert fetch.fetch("5ca1ab1e", None, lambda _: None)


def test_a_connection_that_fails_leaves_nothing_behind(server, published, tmp_path, monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", no_route)
    assert code_of(fetch.fetch, "5ca1ab1e", None, lambda _: None) == "no-network"
    assert not list((tmp_path / "torch" / "hub" / "checkpoints").iterdir())


def test_a_full_disk_and_a_cache_that_cannot_be_made_are_told(server, published, tmp_path):
    place = tmp_path / "torch" / "hub" / "checkpoints"
    (tmp_path / "torch").write_text("no folder")
    assert code_of(fetch.fetch, "5ca1ab1e", None, lambda _: None) == "cannot-access"
    (tmp_path / "torch").unlink()
    place.mkdir(parents=True)
    (place / f"{published}.part").symlink_to("/dev/full")
    with pytest.raises(StemdError, match=str(place.parent)) as caught:
        fetch.fetch("5ca1ab1e", None, lambda _: None)
    assert caught.value.code == "disk-full"


def test_without_a_network_fetch_says_so(server, published, monkeypatch):
    server.shutdown()
    server.server_close()
    assert code_of(fetch.fetch, "5ca1ab1e", None, lambda _: None) == "no-network"
    monkeypatch.undo()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(fetch, "_PATIENCE", 2.0)
    monkeypatch.setattr("urllib.request.urlopen", no_route)
    assert code_of(fetch.fetch, "htdemucs", None, lambda _: None) == "no-network"
    assert code_of(fetch.fetch, "hf://someone/net", None, lambda _: None) == "no-network"


def no_route(*args: Any, **kwargs: Any) -> Any:
    raise ConnectionError("Network is unreachable")


def test_the_list_shows_what_is_here_and_where(folder):
    every = {entry["name"]: entry for entry in library.listing(folder)}
    assert every["alone"]["where"] == every["pair"]["where"] == "local folder"
    assert every["pair"]["members"] == 2
    assert every[MODEL]["where"] == "embedded"
    assert every["htdemucs_ft"] == {"name": "htdemucs_ft", "here": False, "where": None, "members": 4, "bytes": 0}
    known = {"htdemucs", "htdemucs_ft", "htdemucs_6s", "hdemucs_mmi", "mdx", "mdx_extra", "mdx_q", "mdx_extra_q"}
    assert known <= every.keys()
    assert "aaaa" not in every


def test_quantised_weights_without_diffq_say_what_to_install(folder, monkeypatch):
    file = next(folder.glob("alone-*.th"))
    package = torch.load(file, weights_only=False)
    package["state"] = {"__quantized": True, **package["state"]}
    file.unlink()
    torch.save(package, folder / "alone.th")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert code_of(models.load, "alone", folder) == "diffq-missing"


def test_every_bag_that_demucs_names_can_be_read():
    for file in names.known_bags().values():
        assert bags.read(file).signatures
