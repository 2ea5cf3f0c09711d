"""Automatic precision: measured once and kept, dropped where it is not close enough; silence; not-a-number; memory."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import networks as nets
import numpy as np
import pytest
import torch

from stemd import wav
from stemd.engine import Separator, faults, precision
from stemd.engine.network import Network
from stemd.errors import StemdError

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def quick_machine(monkeypatch):
    """Every machine of these tests has bfloat16, and one thread."""
    monkeypatch.setattr(precision, "_flags", lambda: {"avx512_bf16"})
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def noise(frames: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((2, frames)).astype(np.float32)


def test_the_verdict_is_measured_once_and_kept(tmp_path, monkeypatch):
    model = nets.model(nets.htdemucs())
    measured: list[Any] = []
    error = precision.error_db
    monkeypatch.setattr(precision, "error_db", lambda *given: measured.append(given) or error(*given))
    for _ in range(2):
        Separator(model, device="cpu", cache=tmp_path).separate_array(noise(100))
    assert len(measured) == 1
    kept = json.loads(next(tmp_path.glob("precision-*.json")).read_text())
    assert kept["precision"] in {"bfloat16", "float32"}
    assert kept["bfloat16"].endswith(" dB")


@pytest.mark.parametrize("decibel,expected", [(-60.0, "bfloat16"), (-40.0, "bfloat16"), (-39.9, "float32")])
def test_a_precision_beyond_minus_forty_decibel_is_dropped(tmp_path, monkeypatch, decibel, expected):
    monkeypatch.setattr(precision, "error_db", lambda *_: decibel)
    model = nets.model(nets.htdemucs())
    chosen = precision.choose(model.members[0], 0.5, CPU, tmp_path)
    assert precision.NAMES[chosen] == expected


def test_the_error_that_is_measured_is_that_of_the_network():
    member = nets.model(nets.htdemucs()).members[0]
    assert -70 < precision.error_db(member, 0.5, CPU, torch.bfloat16) < -20


def test_an_unwritable_or_damaged_cache_costs_time_only(tmp_path):
    model = nets.model(nets.htdemucs())
    (tmp_path / "file").write_text("")
    first = precision.choose(model.members[0], 0.5, CPU, tmp_path / "file" / "below")
    assert precision.choose(model.members[0], 0.5, CPU, tmp_path) == first
    next(tmp_path.glob("precision-*.json")).write_text("{half of")
    assert precision.choose(model.members[0], 0.5, CPU, tmp_path) == first


def test_without_native_bfloat16_float32_is_used(tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "_flags", lambda: {"avx2", "avx512f"})
    assert precision.choose(nets.model(nets.htdemucs()).members[0], 0.5, CPU, tmp_path) is None
    assert not list(tmp_path.iterdir())


def test_bfloat16_is_close_and_float32_exact(tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "error_db", lambda *_: -50.0)
    model, mix = nets.model(nets.htdemucs()), noise(9000)
    exact = Separator(model, device="cpu", precision="float32").separate_array(mix)["vocals"]
    quick = Separator(model, device="cpu", cache=tmp_path).separate_array(mix)["vocals"]
    error = np.square(quick - exact).mean() / np.square(exact).mean()
    assert 0 < error < 1e-3


def written(path: Path, mix: np.ndarray) -> Path:
    with wav.Writer(path, nets.RATE, 2) as writer:
        writer.write(mix)
    return path


def test_silence_is_not_computed_and_stays_silent_except_in_float32(tmp_path):
    mix = noise(40_000)
    mix[:, 8_000:32_000] = 0
    model, path = nets.model(nets.htdemucs()), written(tmp_path / "mix.wav", mix)
    auto = Separator(model, device="cpu", cache=tmp_path).separate(path, tmp_path / "auto", shifts=2)
    exact = Separator(model, device="cpu", precision="float32").separate(path, tmp_path / "exact", shifts=2)
    assert exact.silent_segments == 0
    assert auto.silent_segments >= 10
    for stem in nets.SOURCES:
        with wav.Reader(tmp_path / "auto" / f"{stem}.wav") as reader:
            got = reader.read(0, reader.frames)
        assert not got[:, 12_000:28_000].any()
        assert got[:, :7_000].any()
        assert got[:, 33_000:].any()


def test_a_silent_recording_is_silent_and_a_stem_of_it_too(tmp_path):
    path = written(tmp_path / "mix.wav", np.zeros((2, 30_000), np.float32))
    done = Separator(nets.model(nets.hdemucs()), device="cpu", cache=tmp_path).separate(path, tmp_path / "out")
    with wav.Reader(tmp_path / "out" / "vocals.wav") as reader:
        assert not reader.read(0, 30_000).any()
    assert done.silent_segments > 0


def test_not_a_number_is_computed_once_more_in_float32(tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "error_db", lambda *_: -50.0)
    model, mix = nets.model(nets.htdemucs()), noise(9000)
    compute = Network.__call__

    def overflowing(self: Network, windows: torch.Tensor, *, exact: bool = False) -> torch.Tensor:
        output = compute(self, windows, exact=exact)
        return output if exact else output.index_fill(-1, torch.tensor([7]), torch.inf)

    monkeypatch.setattr(Network, "__call__", overflowing)
    path = written(tmp_path / "mix.wav", mix)
    done = Separator(model, device="cpu", cache=tmp_path).separate(path, tmp_path / "auto", shifts=0)
    assert done.reruns_float32 == 3
    monkeypatch.undo()
    Separator(model, device="cpu", precision="float32").separate(path, tmp_path / "exact", shifts=0)
    assert (tmp_path / "auto" / "vocals.wav").read_bytes() == (tmp_path / "exact" / "vocals.wav").read_bytes()


def test_invalid_samples_are_told_with_their_second_and_nothing_is_left(tmp_path):
    mix = noise(40_000)
    mix[0, 20_000] = np.nan
    engine = Separator(nets.model(nets.htdemucs()), device="cpu", precision="float32")
    with pytest.raises(StemdError) as caught:
        engine.separate(written(tmp_path / "mix.wav", mix), tmp_path / "out")
    assert caught.value.code == "invalid-samples"
    assert "2.500 s" in caught.value.message
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    "error,code",
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has"), "out-of-memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"), "out-of-memory"),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."), "out-of-memory"),
        (torch.AcceleratorError("CUDA error: out of memory\nSearch `cudaErrorMemoryAllocation'"), "out-of-memory"),
        (RuntimeError("CUDA driver error: out of memory"), "out-of-memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "out-of-memory"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "out-of-memory"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"), "out-of-memory"),
        (RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"), "out-of-memory"),
        (MemoryError(), "out-of-memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "out-of-memory"),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), "cuda-error"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), "cuda-error"),
        (RuntimeError("cuFFT error: CUFFT_EXEC_FAILED"), "cuda-error"),
        (OSError(errno.ENOSPC, "No space left on device", "/out/vocals.wav"), "disk-full"),
        (PermissionError(errno.EACCES, "Permission denied", "/out"), "cannot-access"),
    ],
)  # fmt: skip
def test_faults_have_codes_and_figures(error, code):
    with pytest.raises(StemdError) as caught, faults.translated(CPU):
        raise error
    assert caught.value.code == code
    if code == "out-of-memory":
        assert "GiB free" in caught.value.message
    if "2.50 GiB" in str(error):
        assert "2.50 GiB" in caught.value.message


def test_a_lack_of_memory_is_told_though_there_is_none_left_to_look_how_much(monkeypatch):
    monkeypatch.setattr(faults.memory, "free", raises_memory_error)
    with pytest.raises(StemdError, match="unknown free") as caught, faults.translated(CPU):
        raise MemoryError
    assert caught.value.code == "out-of-memory"


def raises_memory_error(*_: object) -> None:
    raise MemoryError


def test_an_unexpected_error_stays_what_it_is():
    with pytest.raises(RuntimeError, match="shapes"), faults.translated(CPU):
        raise RuntimeError("shapes do not match")


def test_memory_that_really_runs_out_is_told(tmp_path, monkeypatch):
    def greedy(self: Network, windows: torch.Tensor, **_: Any) -> torch.Tensor:
        return torch.empty(1 << 50)

    monkeypatch.setattr(Network, "__call__", greedy)
    engine = Separator(nets.model(nets.htdemucs()), device="cpu", precision="float32")
    with pytest.raises(StemdError) as caught:
        engine.separate_array(noise(1000))
    assert caught.value.code == "out-of-memory"


def test_a_batch_gives_what_single_segments_give(tmp_path):
    mix, model = noise(30_000), nets.model(nets.htdemucs())
    engine = Separator(model, device="cpu", precision="float32")
    one, five = (engine.separate_array(mix, shifts=3, batch=size) for size in (1, 5))
    for stem in nets.SOURCES:
        np.testing.assert_allclose(one[stem], five[stem], atol=1e-5)
