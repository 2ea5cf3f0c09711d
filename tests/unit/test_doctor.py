"""The doctor's judgements as tables: facts in, findings out."""

import importlib
import json
import os
from pathlib import Path

import pytest

from stemd.config import load
from stemd.doctor import Finding, Level, folders, service, verdict
from stemd.doctor.actor import acting_as
from stemd.doctor.folders import Trial, judge_inbox, judge_outbox, judge_state
from stemd.doctor.graphics import Torch, judge
from stemd.doctor.machine import judge_clock, judge_inotify, judge_memory, judge_processor
from stemd.doctor.programs import judge_ffmpeg, judge_version
from stemd.doctor.service import judge as judge_service
from stemd.doctor.stores import ledger
from stemd.model import Gpu, Headroom

OK, WARNING, PROBLEM = Level.OK, Level.WARNING, Level.PROBLEM
GIB = 1 << 30


def levels(findings):
    """The levels; and whoever is warned is told what to do."""
    findings = [findings] if isinstance(findings, Finding) else list(findings)
    assert all(finding.advice for finding in findings if finding.level is not OK)
    return [finding.level for finding in findings]


def test_the_verdict_is_the_worst_of_all():
    findings = [Finding("a", OK, ""), Finding("a", PROBLEM, ""), Finding("a", WARNING, "")]
    assert verdict(findings) is PROBLEM
    assert verdict(findings[:1]) is OK
    assert verdict([]) is OK
    assert json.dumps({"verdict": verdict(findings)}) == '{"verdict": "problem"}'


@pytest.mark.parametrize(
    "told, level",
    [
        ("ffmpeg version 7.1.1 Copyright (c)", OK),
        ("ffmpeg version n6.0-12-gabc Copyright", OK),
        ("ffmpeg version N-111-gabc Copyright", OK),
        ("ffmpeg version 4.4.2-0ubuntu0 Copyright", WARNING),
    ],
)
def test_ffmpegs_version(told, level):
    assert levels(judge_version("ffmpeg", told)) == [level]


ENCODERS = """Encoders:
 V..... = Video
 ------
 A..... pcm_s24le            PCM signed 24-bit little-endian
 A....D flac                 FLAC (Free Lossless Audio Codec)
 A....D libmp3lame           libmp3lame MP3 (MPEG audio layer 3) (codec mp3)
 A....D aac                  AAC (Advanced Audio Coding)
 A....D libvorbis            libvorbis (codec vorbis)
 A....D libopus              libopus Opus (codec opus)
"""


def test_ffmpegs_codecs():
    assert levels(judge_ffmpeg("--enable-libsoxr", ENCODERS, {"mp3"})) == [OK]
    assert levels(judge_ffmpeg("", ENCODERS, {"mp3"})) == [PROBLEM, OK]
    without = ENCODERS.replace("libmp3lame ", "mp3_mf ")
    assert levels(judge_ffmpeg("--enable-libsoxr", without, {"mp3"})) == [PROBLEM]
    assert levels(judge_ffmpeg("--enable-libsoxr", without, {"wav"})) == [WARNING]
    without = ENCODERS.replace("libvorbis ", "vorbis ")
    assert levels(judge_ffmpeg("--enable-libsoxr", without, {"webm"})) == [PROBLEM]  # a film may come as WebM


CPUINFO = (
    "processor : 0\nmodel name : A: fast one\nflags : fpu avx2 avx512f\n\nprocessor : 1\nmodel name : B\nflags : fpu\n"
)


@pytest.mark.parametrize(
    "cpuinfo, machine, level, word",
    [
        (CPUINFO, "x86_64", OK, "A: fast one, 2 cores (avx2, avx512f)"),
        (CPUINFO.replace("avx2", ""), "x86_64", WARNING, "without AVX2"),
        ("processor : 0\nFeatures : fp asimd bf16\n", "aarch64", OK, "(asimd, bf16)"),
        ("", "riscv64", OK, "riscv64"),
    ],
)
def test_processors(cpuinfo, machine, level, word):
    finding = judge_processor(cpuinfo, machine, 2)
    assert levels(finding) == [level]
    assert word in finding.text


@pytest.mark.parametrize(
    "total, free, reserve, level",
    [
        (32, 20, 2, OK),
        (32, 4, 2, WARNING),
        (5, 5, 1, WARNING),
        (4, 4, 2, PROBLEM),
        (None, None, 2, WARNING),
    ],
)
def test_memory(total, free, reserve, level):
    headroom = Headroom(0.0, free if free is None else free * GIB, total if total is None else total * GIB)
    assert levels(judge_memory(headroom, reserve * GIB, 64 * GIB)) == [level]


def test_a_control_groups_limit_is_named():
    headroom = Headroom(0.0, 7 * GIB, 8 * GIB)
    assert "control group" in next(judge_memory(headroom, 0, 32 * GIB)).text
    assert "control group" not in next(judge_memory(headroom, 0, 8 * GIB)).text


@pytest.mark.parametrize(
    "watches, instances, level", [(524288, 128, OK), (4096, 128, WARNING), (524288, 16, WARNING), (None, None, WARNING)]
)
def test_inotify(watches, instances, level):
    assert levels(judge_inotify(watches, instances)) == [level]


@pytest.mark.parametrize(
    "now, exact, level",
    [(1_800_000_000, True, OK), (1_800_000_000, None, OK), (1_800_000_000, False, WARNING), (0, True, PROBLEM)],
)
def test_clock(now, exact, level):
    assert levels(judge_clock(now, exact=exact)) == [level]


CARD = Gpu(0, "GPU-1", "NVIDIA RTX", 24 * GIB, 20 * GIB)
CUDA, CPU, BLIND = (
    Torch("2.13.0", "13.0", usable=True),
    Torch("2.13.0+cpu", None, usable=False),
    Torch("2", "13", usable=False),
)


@pytest.mark.parametrize(
    "gpus, build, driver, device, expected",
    [
        ([CARD], CUDA, "580.1", "auto", [OK]),
        ([CARD], CPU, "580.1", "auto", [OK, PROBLEM]),
        ([CARD], CPU, "580.1", "cpu", [OK]),
        ([CARD], BLIND, "470.1", "cuda", [OK, PROBLEM]),
        ([], CPU, "", "auto", [WARNING]),
        ([], CPU, "", "cpu", [OK]),
        ([], CUDA, "", "cuda:1", [PROBLEM]),
        ([], CUDA, "580.1", "auto", [WARNING]),
    ],
)
def test_graphics(gpus, build, driver, device, expected):
    assert levels(judge(gpus, build, driver, device)) == expected


@pytest.mark.parametrize(
    "judged, trial, expected",
    [
        (judge_state, Trial("ext4", network=False, free=50 * GIB), [OK]),
        (judge_state, Trial("nfs4", network=True, free=50 * GIB), [PROBLEM]),
        (judge_state, Trial("ext4", network=False, free=0, fault="Permission denied"), [PROBLEM]),
        (judge_state, Trial("ext4", network=False, free=5 * GIB), [WARNING]),
        (judge_inbox, Trial("cifs", network=True, free=50 * GIB, exclusive=False, cases=False), [OK]),
        (judge_inbox, Trial("cifs", network=True, free=50 * GIB, skew=-90), [WARNING, OK]),
        (judge_inbox, Trial("ext4", network=False, free=0, fault="Read-only file system"), [PROBLEM]),
        (judge_outbox, Trial("ext4", network=False, free=50 * GIB), [OK]),
        (judge_outbox, Trial("odd", network=False, free=50 * GIB, exclusive=False), [PROBLEM, OK]),
        (judge_outbox, Trial("ext4", network=False, free=GIB // 2), [PROBLEM]),
        (judge_outbox, Trial("ext4", network=False, free=0, fault="Read-only file system"), [PROBLEM]),
    ],
)
def test_folders(judged, trial, expected):
    assert levels(judged("a", "/srv", trial)) == expected


SERVICE = {"LoadState": "loaded", "ActiveState": "active", "SubState": "running", "NRestarts": "0", "User": "stemd"}


@pytest.mark.parametrize(
    "facts, user, expected",
    [
        ({"LoadState": "not-found"}, "root", [OK]),
        ({}, "stemd", [OK]),
        (SERVICE, "stemd", [OK]),
        (SERVICE, "root", [OK]),
        (SERVICE, "anna", [OK, WARNING]),
        (SERVICE | {"ActiveState": "failed", "Result": "exit-code"}, "stemd", [PROBLEM]),
        (SERVICE | {"ActiveState": "inactive"}, "stemd", [WARNING]),
        (SERVICE | {"NRestarts": "3"}, "stemd", [WARNING]),
        (SERVICE | {"UnitFileState": "disabled"}, "stemd", [OK, WARNING]),
    ],
)
def test_service(facts, user, expected):
    assert levels(judge_service(facts, user)) == expected


@pytest.mark.parametrize(
    "high, most, expected",
    [
        ("30064771072", "34359738368", [OK]),
        ("2147483648", "infinity", [PROBLEM]),
        ("infinity", "2147483648", [PROBLEM]),
        ("infinity", "infinity", []),
    ],
)
def test_the_services_memory(high, most, expected):
    assert levels(service.judge_memory({"MemoryHigh": high, "MemoryMax": most})) == expected


def test_folders_that_the_services_sandbox_keeps_closed_are_found(tmp_path):
    (tmp_path / "config.toml").write_text(
        '[daemon]\nstate_dir = "/var/lib/stemd"\n[[rule]]\nname = "r"\ninbox = "/srv/nas/in"\n'
        'outbox = "/home/ada/out"\nmodel = "demo"\nreview = "/srv/listen"\n'
    )
    settings = load(tmp_path / "config.toml")
    unit = {
        "StateDirectory": "stemd",
        "ReadWritePaths": "-/srv/nas -/srv/x",
        "BindPaths": "-/home/ada/out:/home/ada/out:rbind",
    }
    (closed,) = service.judge_folders(unit, settings)
    assert closed.level is PROBLEM
    assert "/srv/listen" in closed.text
    assert levels(service.judge_folders(unit | {"ReadWritePaths": "-/srv/nas -/srv/listen"}, settings)) == [OK]
    assert levels(service.judge_folders({}, settings)) == [PROBLEM] * 4


def test_a_folder_that_systemd_does_not_tell_of_is_told_as_such(tmp_path):
    (tmp_path / "config.toml").write_text(
        '[daemon]\nstate_dir = "/var/lib/stemd"\n[[rule]]\nname = "r"\ninbox = "/srv/in"\noutbox = "/srv/my out"\n'
    )
    unit = {"StateDirectory": "stemd", "ReadWritePaths": "-/srv/in"}
    told = [finding.text for finding in service.judge_folders(unit, load(tmp_path / "config.toml"))]
    assert told[0] == ("systemd does not tell whether the service may write to /srv/my out: its path has a space")
    assert told[-1] == "the service may write to every other folder of the configuration"


def test_only_the_services_own_configuration_is_held_against_it(tmp_path):
    (tmp_path / "config.toml").write_text('[[rule]]\nname = "r"\ninbox = "in"\noutbox = "out"\n')
    settings = load(tmp_path / "config.toml")
    started = SERVICE | {"ExecStart": f"{{ argv[]=/opt/stemd run --config {settings.path} ; }}"}
    assert service.serves(started, settings)
    assert not service.serves(started, None)
    assert not service.serves(SERVICE | {"ExecStart": "stemd run --config /etc/stemd/config.toml"}, settings)
    assert not service.serves({"LoadState": "not-found"}, settings)
    assert service.environment({"Environment": 'HF_HOME=/var/cache/stemd "A=b c"'}) == {
        "HF_HOME": "/var/cache/stemd", "A": "b c"
    }  # fmt: skip


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may act as another user")
def test_folders_are_tried_with_the_rights_of_the_services_user(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    assert folders.attempt(closed).fault == ""
    with acting_as("nobody"):
        assert folders.attempt(Path("/")).fault == "Permission denied"
        assert not os.access(closed, os.R_OK, effective_ids=True)
    assert (os.geteuid(), os.getegid()) == (0, 0)
    assert folders.attempt(closed).fault == ""


@pytest.mark.parametrize(
    "header, version, expected",
    [
        (None, (3, 45, 0), [OK, OK]),
        (b"", (3, 45, 0), [OK, OK]),
        (b"SQLite format 3\0\x10\x00\x01\x01", (3, 45, 0), [OK, OK]),
        (b"SQLite format 3\0\x10\x00\x02\x02", (3, 45, 0), [OK, WARNING]),
        (b"SQLite format 3\0\x10\x00\x02\x02", (3, 52, 0), [OK, OK]),
        (b"a text", (3, 45, 0), [OK, PROBLEM]),
        (None, (3, 22, 0), [PROBLEM]),
    ],
)
def test_the_ledgers_file(tmp_path, header, version, expected):
    path = tmp_path / "ledger.sqlite3"
    if header is not None:
        path.write_bytes(header)
    assert levels(ledger(path, version)) == expected


def test_a_check_that_breaks_is_a_finding(monkeypatch, tmp_path):
    module = importlib.import_module("stemd.doctor.examine")  # the package's name for it is the function
    monkeypatch.setattr(
        module, "_checks", lambda *_: [("memory", lambda: 1 / 0), ("clock", lambda: [Finding("clock", OK, "")])]
    )
    found = list(module.examine(lambda: tmp_path))
    assert [finding.area for finding in found] == ["stemd", "config", "memory", "clock"]
    assert "ZeroDivisionError" in found[2].text
