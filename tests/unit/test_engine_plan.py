"""Which stems need what, where segments lie, and the environment of the engine's process. No network runs here."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stemd.engine import environment, stems, stream
from stemd.engine.separation import batches
from stemd.engine.stream import Lane, OverlapAdd
from stemd.errors import StemdError

SOURCES = ("drums", "bass", "other", "vocals")
FINE_TUNED = [[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]]
MDX = [[1.0, 1, 0, 0], [0, 1.0, 0, 0], [1.0, 0, 1, 1], [1.0, 0, 1, 1]]


@pytest.mark.parametrize(
    "weights,asked,residual,needed",
    [
        (FINE_TUNED, ["vocals", "no_vocals"], "minus", {3: (3,)}),
        (FINE_TUNED, ["no_vocals"], "add", {0: (0,), 1: (1,), 2: (2,)}),
        (FINE_TUNED, "all", "minus", {0: (0,), 1: (1,), 2: (2,), 3: (3,)}),
        (MDX, ["vocals"], "minus", {2: (3,), 3: (3,)}),
        (MDX, ["bass", "no_drums"], "minus", {0: (0, 1), 1: (1,), 2: (0,), 3: (0,)}),
    ],
)
def test_only_the_members_that_the_stems_depend_on_work(weights, asked, residual, needed):
    resolved = stems.resolve(asked, SOURCES, residual)
    assert stems.work(weights, stems.computed(resolved)) == needed


def test_all_and_doubles_are_each_once_in_the_order_asked():
    names = [stem.name for stem in stems.resolve(["no_bass", "all", "bass"], SOURCES, "minus")]
    assert names == ["no_bass", *SOURCES]


@pytest.mark.parametrize("asked,word", [("vocal", "vocals"), ("no_drum", "no_drums"), ("kazoo", "drums, bass")])
def test_an_unknown_stem_names_the_nearest_and_the_sources(asked, word):
    with pytest.raises(StemdError) as caught:
        stems.resolve([asked], SOURCES, "minus")
    assert caught.value.code == "unknown-stem"
    assert word in caught.value.hint


def test_no_stem_and_an_unknown_residual_are_refused():
    for asked, residual, code in (([], "minus", "unknown-stem"), (["bass"], "times", "unknown-residual")):
        with pytest.raises(StemdError) as caught:
            stems.resolve(asked, SOURCES, residual)
        assert caught.value.code == code


def lanes(starts: list[int], segment: int, overlap: float) -> list[Lane]:
    stride = stream.stride_of(segment, overlap)
    return [Lane(index, index % 2, start, segment, stride, lambda n: n) for index, start in enumerate(starts)]


@settings(max_examples=60, deadline=None)
@given(
    frames=st.integers(1, 400),
    starts=st.lists(st.integers(-30, 0), min_size=1, max_size=4),
    segment=st.integers(2, 60),
    overlap=st.sampled_from([0.0, 0.1, 0.25, 0.5]),
    size=st.integers(1, 4),
)
def test_every_frame_of_every_lane_is_covered_in_the_order_of_time(frames, starts, segment, overlap, size):
    every = lanes(starts, segment, overlap)
    covered = [set() for _ in every]
    for batch in batches(every, frames, size):
        assert len(batch) <= size
        assert len({(chunk.lane.member, chunk.window) for chunk in batch}) == 1
        for chunk in batch:
            own = covered[chunk.lane.index]
            assert not own or chunk.start <= max(own) + 1
            own |= set(range(max(0, chunk.start), chunk.start + chunk.length))
    assert all(own == set(range(frames)) for own in covered)


@settings(max_examples=40, deadline=None)
@given(frames=st.integers(1, 500), segment=st.integers(2, 50), overlap=st.sampled_from([0.0, 0.25, 0.5]))
def test_the_overlap_of_ones_is_ones_and_holds_no_more_than_one_segment(frames, segment, overlap):
    (lane,) = lanes([0], segment, overlap)
    adder, taken = OverlapAdd(1, 1, segment, torch.device("cpu")), []
    chunks = list(lane.chunks(frames))
    for chunk, following in zip(chunks, [*chunks[1:], None], strict=True):
        adder.add(chunk, torch.ones(1, 1, chunk.length))
        taken.append(adder.take(following.start if following else frames))
    result = torch.cat(taken, dim=-1)
    assert result.shape == (1, 1, frames)
    torch.testing.assert_close(result, torch.ones(1, 1, frames))
    assert adder._total.shape[-1] == segment


def test_offsets_are_those_of_stock_demucs_after_the_same_seed():
    random.seed(4)
    expected = [random.randint(0, 4000)]
    for _ in range(-(-(9000 + 4000 - expected[0]) // 3000)):
        random.randrange(1)
    expected.append(random.randint(0, 4000))
    assert stream.draw_offsets(4, [(8000, 3000, 1)], 9000, 2) == [expected]


def test_the_environment_keeps_what_the_user_set_and_is_added_to():
    env = environment.engine_environment({"OMP_NUM_THREADS": "7", "GLIBC_TUNABLES": "glibc.malloc.check=1"}, cores=3)
    assert env["OMP_NUM_THREADS"] == "7"
    assert env["GLIBC_TUNABLES"] == "glibc.malloc.check=1:glibc.malloc.hugetlb=1"
    assert environment.engine_environment({}, cores=3)["OMP_NUM_THREADS"] == "3"
    assert environment.engine_environment(env) == env
    assert env["GOMP_SPINCOUNT"] == "1000"
    assert "GOMP_SPINCOUNT" not in environment.engine_environment({"OMP_WAIT_POLICY": "ACTIVE"}, cores=3)


def test_cores_are_capped_by_the_control_group(tmp_path, monkeypatch):
    for folder, content in (("a", "150000 100000"), ("a/b", "max 100000")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "cpu.max").write_text(content)
    assert environment._quota(tmp_path, {"": "/a/b"}) == 1.5
    (tmp_path / "cpu" / "c").mkdir(parents=True)
    (tmp_path / "cpu" / "c" / "cpu.cfs_quota_us").write_text("-1")
    (tmp_path / "cpu" / "c" / "cpu.cfs_period_us").write_text("100000")
    assert environment._quota(tmp_path, {"cpu": "/c"}) is None
    (tmp_path / "cpu" / "c" / "cpu.cfs_quota_us").write_text("50000")
    assert environment._quota(tmp_path, {"cpu": "/c"}) == 0.5
    monkeypatch.setattr(environment, "_quota", lambda *_: 0.5)
    assert environment.usable_cores() == 1


def test_importing_the_engine_loads_no_torch_and_its_environment_neither():
    code = "import sys, stemd.engine, stemd.engine.environment; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
