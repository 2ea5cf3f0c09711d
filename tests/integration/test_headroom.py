"""Headroom: on trees of files as kernels write them, on a fake graphics driver with the real contract, and for real."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import psutil
import pytest
from surroundings import memory_group

from stemd.headroom import Meter, disks, gpus, measure
from stemd.headroom.cgroup import Group, Memory
from stemd.headroom.disks import Disks
from stemd.headroom.gpus import Gpus, visible
from stemd.headroom.processes import Processes

GIB, MIB = 1 << 30, 1 << 20
NONE_V1 = "9223372036854771712\n"

# --------------------------------------------------------------------------------------------------- control groups


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def v1(folder: Path, limit: int | str, use: int, inactive: int = 0, kills: int = 0, active: int = 0) -> None:
    write(
        folder,
        memory__limit_in_bytes=f"{limit}\n",
        memory__usage_in_bytes=f"{use}\n",
        memory__stat=f"inactive_file 1\ntotal_cache 9\ntotal_inactive_file {inactive}\ntotal_active_file {active}\n",
        memory__oom_control=f"oom_kill_disable 0\nunder_oom 0\noom_kill {kills}\n",
    )


def v2(
    folder: Path,
    limit: int | str,
    use: int,
    inactive: int = 0,
    kills: int = 0,
    high: int | str = "max",
    active: int = 0,
) -> None:
    write(
        folder,
        memory__max=f"{limit}\n",
        memory__high=f"{high}\n",
        memory__current=f"{use}\n",
        memory__stat=f"anon 7\ninactive_file {inactive}\nactive_file {active}\n",
        memory__events=f"low 0\nhigh 0\nmax 3\noom 2\noom_kill {kills}\noom_group_kill 0\n",
    )


@pytest.fixture
def proc(tmp_path):
    """A /proc with the places that matter; `cgroup` and `mountinfo` are written by the tests."""
    write(tmp_path / "proc/self", cgroup="", mountinfo="")
    write(tmp_path / "proc", vmstat="nr_free_pages 1\noom_kill 4\n")
    return tmp_path / "proc"


@pytest.fixture
def tree(tmp_path):
    return tmp_path / "cgroup"


def test_version_1_counts_cache_as_free(proc, tree):
    (proc / "self/cgroup").write_text("9:name=systemd:/\n4:cpu,memory:/studio\n0::/\n")
    v1(tree / "memory", NONE_V1.strip(), 20 * GIB)
    v1(tree / "memory/studio", 8 * GIB, 5 * GIB, inactive=GIB, kills=2, active=2 * GIB)
    assert Group(proc, tree).memory() == Memory(free=6 * GIB, limit=8 * GIB, oom_kills=2)


def test_version_2_the_tightest_group_on_the_path_decides(proc, tree):
    (proc / "self/cgroup").write_text("0::/system.slice/stemd.service\n")
    write(tree, cgroup__controllers="cpu memory\n")
    v2(tree / "system.slice", 10 * GIB, 9 * GIB, inactive=GIB)
    v2(tree / "system.slice/stemd.service", 6 * GIB, GIB, kills=1)
    assert Group(proc, tree).memory() == Memory(free=2 * GIB, limit=6 * GIB, oom_kills=1)


def test_version_2_counts_cache_as_free_though_its_files_were_read_twice(proc, tree):
    (proc / "self/cgroup").write_text("0::/stemd\n")
    write(tree, cgroup__controllers="memory\n")
    v2(tree / "stemd", 8 * GIB, 7 * GIB, inactive=GIB, active=4 * GIB)
    assert Group(proc, tree).memory().free == 6 * GIB


def test_version_2_throttling_is_a_limit_too(proc, tree):
    (proc / "self/cgroup").write_text("0::/stemd\n")
    write(tree, cgroup__controllers="memory\n")
    v2(tree / "stemd", "max", GIB, high=3 * GIB)
    assert Group(proc, tree).memory() == Memory(free=2 * GIB, limit=3 * GIB, oom_kills=0)


def test_without_limits_only_the_kills_are_known(proc, tree):
    (proc / "self/cgroup").write_text("0::/\n")
    write(tree, cgroup__controllers="memory\n")
    assert Group(proc, tree).memory() == Memory(oom_kills=4)  # the topmost group counts nothing: the machine's do


def test_version_2_beside_version_1_has_no_memory_of_its_own(proc, tree):
    (proc / "self/cgroup").write_text("4:memory:/a/b\n0::/user.slice\n")
    v1(tree / "memory/a", 4 * GIB, GIB)
    v1(tree / "memory/a/b", NONE_V1.strip(), GIB, kills=7)
    write(tree / "unified/user.slice", cgroup__procs="1\n")
    assert Group(proc, tree).memory() == Memory(free=3 * GIB, limit=4 * GIB, oom_kills=7)


@pytest.mark.parametrize(
    "mountinfo", ["", "35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"]
)
def test_in_a_container_only_the_paths_end_is_mounted(proc, tree, mountinfo):
    """Without a namespace of its own the process sees the host's path, of which nothing is there, or only the end."""
    (proc / "self/cgroup").write_text("4:memory:/docker/abc/inner\n")
    (proc / "self/mountinfo").write_text(mountinfo)
    v1(tree / "memory", 4 * GIB, 3 * GIB)
    if mountinfo:
        v1(tree / "memory/inner", 2 * GIB, 3 * GIB // 2)
    assert Group(proc, tree).memory().free == (GIB // 2 if mountinfo else GIB)


def test_a_process_that_is_moved_finds_its_new_group(proc, tree):
    (proc / "self/cgroup").write_text("4:memory:/a\n")
    v1(tree / "memory/a", 4 * GIB, GIB)
    v1(tree / "memory/b", 2 * GIB, GIB)
    group = Group(proc, tree)
    assert group.memory().limit == 4 * GIB
    (proc / "self/cgroup").write_text("4:memory:/b\n")
    assert group.memory().limit == 2 * GIB


def test_use_above_the_limit_leaves_nothing_and_never_less(proc, tree):
    (proc / "self/cgroup").write_text("4:memory:/x\n")
    v1(tree / "memory/x", GIB, 2 * GIB)
    assert Group(proc, tree).memory().free == 0


def test_the_tighter_of_machine_and_group_holds_less_the_reserve(proc, tree):
    (proc / "self/cgroup").write_text("4:memory:/x\n")
    write(proc, stat="cpu  1 2 3 4 5 6 7 8 0 0\n")
    v1(tree / "memory/x", 8 * GIB, 2 * GIB)

    def meter(available: int) -> Meter:
        return Meter(ram_reserve=GIB, physical=lambda: (32 * GIB, available), proc=proc, cgroup=tree)

    assert (meter(20 * GIB).measure().ram, meter(20 * GIB).measure().ram_total) == (5 * GIB, 7 * GIB)
    assert meter(3 * GIB).measure().ram == 2 * GIB
    assert meter(GIB // 2).measure().ram == 0


def test_what_cannot_be_measured_is_a_problem_and_no_crash(proc, tree):
    (proc / "self/cgroup").write_text("4:memory:/x\n")
    v1(tree / "memory/x", 8 * GIB, 2 * GIB)
    (tree / "memory/x/memory.usage_in_bytes").write_text("many\n")
    (proc / "stat").write_text("nonsense\n")

    def broken() -> tuple[int, int]:
        raise OSError(5, "Input/output error")

    headroom = Meter([tree / "nowhere"], physical=broken, proc=proc, cgroup=tree).measure()
    assert headroom.ram is None
    assert len(headroom.problems) == 4
    assert [text for text in headroom.problems if "nowhere" in text]
    (tree / "memory/x/memory.usage_in_bytes").write_text(f"{GIB}\n")
    (proc / "stat").write_text("cpu  1 2 3 4 5 6 7 8 0 0\n")
    good = Meter(physical=lambda: (9 * GIB, 9 * GIB), proc=proc, cgroup=tree).measure()
    assert (good.ram, good.problems) == (7 * GIB, ())


def test_a_real_limit_is_seen_and_a_real_kill_is_counted(tmp_path):
    """A child in a version 1 group of 64 MiB measures its own limit, then takes more than there is."""
    with memory_group("limit", 64 * MIB) as group:
        program = (
            "import os, sys\n"
            f"open({str(group / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))\n"
            "from stemd.headroom import Meter\n"
            "headroom = Meter().measure()\n"
            "print(headroom.ram, headroom.ram_total, headroom.oom_kills, flush=True)\n"
            "hoard = bytearray(os.urandom(1)) * (256 << 20)\n"
        )
        run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
        ram, total, kills = (int(word) for word in run.stdout.split())
        assert total == 64 * MIB
        assert 0 < ram < 64 * MIB
        assert (kills, run.returncode) == (0, -9)
        assert "oom_kill 1" in (group / "memory.oom_control").read_text()


# ------------------------------------------------------------------------------------------------- load and processes


def test_the_machine_itself_is_measured():
    headroom = measure([Path("/")], ram_reserve=GIB)
    assert headroom.ram is not None
    assert headroom.ram_total is not None
    assert 0 <= headroom.ram <= headroom.ram_total
    assert 0 <= headroom.cpu_percent <= 100
    assert headroom.disks[0].free <= headroom.disks[0].total
    assert abs(headroom.at - time.time()) < 5
    assert headroom.problems == ()


def test_own_children_are_no_other_programs_and_their_memory_is_known():
    """A grandchild computes: its time and its memory are the daemon's own."""
    busy = "import os\nkeep = os.urandom(40 << 20)\nprint(os.getpid(), flush=True)\nwhile True: pass"
    child = subprocess.Popen(
        [sys.executable, "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}])"],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert child.stdout is not None
        grandchild = psutil.Process(int(child.stdout.readline()))
        processes = Processes(Path("/proc"))
        before, used = _own_time(processes), grandchild.cpu_times().user
        while grandchild.cpu_times().user < used + 0.5:
            time.sleep(0.1)
        assert _own_time(processes) - before >= 0.4
        assert processes.look()[1][child.pid].ram > 40 * MIB
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()


def _own_time(processes: Processes) -> float:
    processes.look()
    assert processes._last is not None
    return processes._last.own


def test_load_is_that_of_others_since_the_last_look(proc, monkeypatch):
    clock = iter([0.0, 0.1, 1.0, 2.0])
    monkeypatch.setattr("stemd.headroom.processes.time.monotonic", lambda: next(clock))
    own = proc / str(os.getpid())
    write(own, statm="9 5 2 0 0 0 0\n")
    (own / "task").mkdir()

    def look(busy: int, idle: int, used: int) -> float:
        (proc / "stat").write_text(f"cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\n")
        (own / "stat").write_text(f"77 (a ) b) S 1 1 1 0 -1 4 1 1 1 1 {used} 0 0 0 20 0 1 0 5 5 5\n")
        return Processes.look(processes)[0]

    processes = Processes(proc)
    assert look(1000, 1000, 0) == 0.0
    assert look(1090, 1010, 0) == 0.0  # a tenth of a second says nothing
    assert look(1150, 1050, 50) == 50.0  # 150 busy, 50 of them ours, of 200
    assert look(1250, 1050, 150) == 0.0


def test_a_measurement_costs_next_to_nothing():
    """Every second and a half while work waits, within half a percent of a core: 7 ms."""
    meter = Meter([Path("/"), Path("/tmp")])
    meter.measure()
    start = time.process_time()
    for _ in range(20):
        meter.measure()
    assert (time.process_time() - start) / 20 < 0.005


# -------------------------------------------------------------------------------------------------------------- disks


def test_a_share_that_hangs_is_a_problem_and_delays_nothing(tmp_path, monkeypatch):
    answer = threading.Event()
    real = os.statvfs

    def statvfs(folder: Path) -> os.statvfs_result:
        if folder.name == "nas":
            answer.wait(30)
        return real(tmp_path)

    monkeypatch.setattr(disks.os, "statvfs", statvfs)
    (tmp_path / "nas").mkdir()
    looks = Disks([tmp_path, tmp_path / "nas"])
    start, before = time.monotonic(), threading.active_count()
    for _ in range(3):
        found, problems = looks.look()
        assert [disk.folder for disk in found] == [tmp_path]
        assert problems == [f"{tmp_path / 'nas'} does not answer"]
    assert time.monotonic() - start < 15
    assert threading.active_count() <= before + 1  # one thread waits, however often is looked
    answer.set()
    while len(found) < 2:
        found, _ = looks.look()
    assert [disk.folder for disk in found] == [tmp_path, tmp_path / "nas"]


# --------------------------------------------------------------------------------------------------- graphics cards


class Card:
    """One card of the fake driver."""

    def __init__(self, number: int, total: int, used: int = 0) -> None:
        self.uuid, self.name, self.total, self.used = f"GPU-{number}{number}", f"Card {number}", total, used
        self.load, self.lost, self.processes, self.samples = 0, False, {}, []
        self.parts: dict[int, Card] = {}

    def divide(self, place: int, uuid: str, total: int, used: int = 0) -> None:
        """Add a part (MIG): a device of its own, whose load the driver does not tell."""
        self.parts[place] = part = Card(0, total, used)
        part.uuid, part.name, part.load = uuid, f"{self.name} MIG", None


class Driver(types.ModuleType):
    """`pynvml` as nvidia-ml-py has it: errors as classes, structures with the real fields, use only after nvmlInit."""

    class NVMLError(Exception):
        pass

    def __init__(self, *cards: Card) -> None:
        super().__init__("pynvml")
        self.cards, self.ready, self.inits, self.broken = list(cards), False, 0, None
        for name in ("GpuIsLost", "Uninitialized", "NotSupported", "DriverNotLoaded", "InvalidArgument", "Unknown"):
            setattr(self, f"NVMLError_{name}", type(f"NVMLError_{name}", (self.NVMLError,), {}))

    def nvmlInit(self):  # noqa: N802 - the library names it so
        self.inits += 1
        if self.broken:
            raise getattr(self, self.broken)
        self.ready = True

    def nvmlShutdown(self):  # noqa: N802 - the library names it so
        self.ready = False

    def nvmlDeviceGetCount(self):  # noqa: N802 - the library names it so
        if not self.ready:
            raise self.NVMLError_Uninitialized
        if self.broken:
            raise getattr(self, self.broken)
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802 - the library names it so
        if index >= len(self.cards):
            raise self.NVMLError_InvalidArgument
        return self.cards[index]

    def nvmlDeviceGetName(self, card):  # noqa: N802 - the library names it so
        return card.name

    def nvmlDeviceGetUUID(self, card):  # noqa: N802 - the library names it so
        return card.uuid.encode()  # before version 11.5 the library answered in bytes

    def nvmlDeviceGetMemoryInfo(self, card):  # noqa: N802 - the library names it so
        if card.lost:
            raise self.NVMLError_GpuIsLost
        return types.SimpleNamespace(total=card.total, used=card.used, free=card.total - card.used)

    def nvmlDeviceGetUtilizationRates(self, card):  # noqa: N802 - the library names it so
        if card.load is None:
            raise self.NVMLError_NotSupported
        return types.SimpleNamespace(gpu=card.load, memory=0)

    def nvmlDeviceGetComputeRunningProcesses(self, card):  # noqa: N802 - the library names it so
        return [types.SimpleNamespace(pid=pid, usedGpuMemory=size) for pid, size in card.processes.items()]

    def nvmlDeviceGetMigMode(self, card):  # noqa: N802 - the library names it so
        return [int(bool(card.parts))] * 2

    def nvmlDeviceGetMaxMigDeviceCount(self, card):  # noqa: N802 - the library names it so
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, card, index):  # noqa: N802 - the library names it so
        if index not in card.parts:
            raise self.NVMLError_InvalidArgument
        return card.parts[index]

    def nvmlDeviceGetProcessUtilization(self, card, since):  # noqa: N802 - the library names it so
        return [types.SimpleNamespace(pid=pid, timeStamp=stamp, smUtil=util) for pid, stamp, util in card.samples]


@pytest.fixture
def driver(monkeypatch):
    driver = Driver(Card(0, 24 * GIB, 4 * GIB), Card(1, 8 * GIB, GIB))
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return driver


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(gpus.time, "monotonic", lambda: now[0])
    return now


def test_two_cards_of_different_size(driver):
    headroom = Meter(vram_reserve=GIB).measure()
    assert [(gpu.device, gpu.name, gpu.total, gpu.free) for gpu in headroom.gpus] == [
        ("cuda:0", "Card 0", 24 * GIB, 19 * GIB),
        ("cuda:1", "Card 1", 8 * GIB, 6 * GIB),
    ]
    assert headroom.problems == ()


def test_other_programs_take_the_card_and_give_it_back(driver):
    look = Gpus(0).look
    driver.cards[1].used, driver.cards[1].load = 8 * GIB - MIB, 97
    found, _, problems = look()
    assert (found[1].free, found[1].busy_percent, problems) == (MIB, 97.0, [])
    driver.cards[1].used, driver.cards[1].load = 0, None  # some cards do not tell their load
    assert (look()[0][1].free, look()[0][1].busy_percent) == (8 * GIB, 0.0)


def test_the_own_engines_load_and_memory_are_not_another_programs(driver):
    card = driver.cards[0]
    card.load, card.processes = 99, {41: 3 * GIB, 50: GIB}
    card.samples = [(41, 9_000_000, 90), (50, 9_100_000, 7), (50, 8_000_000, 60), (51, 1, 80)]
    found, uses, _ = Gpus(0).look(own=[41])
    assert found[0].busy_percent == 7.0
    assert uses[41].vram == 3 * GIB
    # In a container process ids differ: while an engine works there, its load is not called another's.
    assert Gpus(0).look(own=[9], engaged=["cuda:0"])[0][0].busy_percent == 0.0
    assert Gpus(0).look(own=[9])[0][0].busy_percent == 99.0


def test_a_lost_card_disappears_with_a_reason_and_the_other_stays(driver, clock):
    look = Gpus(0)
    assert len(look.look()[0]) == 2
    driver.cards[0].lost = True
    found, _, problems = look.look()
    assert [gpu.device for gpu in found] == ["cuda:1"]
    assert len(problems) == 1
    assert problems[0].startswith("GPU 0 (Card 0) does not answer")
    for _ in range(10):
        clock[0] += 2
        look.look()
    assert driver.inits <= 2  # the connection is not made anew at every look
    driver.cards[0].lost = False
    clock[0] += 60
    look.look()
    assert [len(look.look()[0]), look.look()[2]] == [2, []]
    assert driver.inits <= 3


def test_a_card_that_is_no_longer_listed_is_missed(driver):
    look = Gpus(0)
    look.look()
    gone = driver.cards.pop()
    found, _, problems = look.look()
    assert len(found) == 1
    assert problems == [f"GPU 1 ({gone.name}) is gone"]


def test_a_driver_that_stops_answering_is_asked_again_after_half_a_minute(driver, clock):
    look = Gpus(0)
    look.look()
    driver.broken = "NVMLError_Unknown"
    for _ in range(5):
        found, _, problems = look.look()
        assert found == ()
        assert "does not answer" in problems[0]
        clock[0] += 1
    assert driver.inits == 1
    driver.broken = None
    clock[0] += 30
    assert len(look.look()[0]) == 2


@pytest.mark.parametrize("setting", ["library", "driver"])
def test_a_machine_without_driver_has_no_cards_and_no_problem(monkeypatch, setting):
    driver = Driver()
    driver.broken = "NVMLError_DriverNotLoaded"
    monkeypatch.setitem(sys.modules, "pynvml", None if setting == "library" else driver)
    assert Gpus(0).look() == ((), {}, [])


def test_the_real_library_is_harmless_without_a_card():
    pynvml = pytest.importorskip("pynvml")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        assert Gpus(0).look() == ((), {}, [])
    else:
        assert Gpus(0).look()[2] == []


@pytest.mark.parametrize(
    "setting, chosen",
    [
        (None, ["GPU-aa", "GPU-ab", "GPU-cc"]),
        ("2,0", ["GPU-cc", "GPU-aa"]),
        ("GPU-c,1", ["GPU-cc", "GPU-ab"]),
        ("GPU-a,1", []),  # two cards begin so
        ("1,7,0", ["GPU-ab"]),
        ("0,0", ["GPU-aa"]),
        ("", []),
        ("-1", []),
        ("MIG-2", ["MIG-2b"]),
        ("MIG-", []),  # so do two parts
        ("GPU-c,MIG-1", ["GPU-cc", "MIG-1a"]),
    ],
)
def test_cards_are_numbered_as_cuda_numbers_them(setting, chosen):
    assert visible(setting, ["GPU-aa", "GPU-ab", "GPU-cc"], ["MIG-1a", "MIG-2b"]) == chosen


@pytest.mark.parametrize(
    "setting, total, free",
    [(None, 5, 1), ("0", 5, 1), ("GPU-00", 5, 1), ("MIG-5", 5, 1), ("MIG-20", 20, 18)],
)
def test_a_divided_card_is_the_part_that_was_chosen_or_its_first(driver, setting, total, free):
    driver.cards = driver.cards[:1]
    driver.cards[0].divide(1, "MIG-5", 5 * GIB, 4 * GIB)
    driver.cards[0].divide(4, "MIG-20", 20 * GIB, 2 * GIB)
    look = Gpus(0, {"CUDA_VISIBLE_DEVICES": setting} if setting else {}).look
    found, _, problems = look()
    assert [(gpu.device, gpu.total, gpu.free) for gpu in found] == [("cuda:0", total * GIB, free * GIB)]
    assert problems == []
    del driver.cards[0].parts[4]
    assert look()[2] == (["GPU part MIG-20 (Card 0 MIG) is gone"] if setting == "MIG-20" else [])


def test_measuring_makes_no_cuda_context():
    """The daemon must not load CUDA: a context alone would take a third of a gigabyte of each card."""
    program = (
        "import sys; from stemd.headroom import measure; measure(); "
        "print('torch' in sys.modules, open('/proc/self/maps').read())"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.startswith("False")
    assert "libcuda.so" not in run.stdout
