"""The units, as systemd itself reads them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "systemd"
UNITS = sorted(path.name for path in FOLDER.glob("stemd*.*"))

needs_analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")


def keys(name):
    """Give a unit's keys; of those that stand more than once, all values."""
    found: dict[str, list[str]] = {}
    for line in (FOLDER / name).read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def test_there_are_units_for_daemon_pages_weights_reports_and_alerts():
    assert UNITS == [
        "stemd-alerts.service", "stemd-models.service", "stemd-report.service", "stemd-report.timer",
        "stemd-web.service", "stemd.service",
    ]  # fmt: skip


@needs_analyze
@pytest.mark.parametrize("name", ["stemd.service", "stemd-web.service", "stemd-report.service"])
def test_the_exposure_is_at_most_one(name):
    assert exposure(name) <= 1.0


def exposure(name):
    result = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--no-pager", FOLDER / name],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", result.stdout)
    assert found, result.stdout
    return float(found[1])


@needs_analyze
@pytest.mark.parametrize("name", UNITS)
def test_systemd_understands_every_key(name, tmp_path):
    text = re.sub(r"^(Exec\w+=\S*?)/\S+", r"\1/bin/true", (FOLDER / name).read_text(), flags=re.MULTILINE)
    unit = tmp_path / name
    if unit.suffix == ".timer":
        (tmp_path / f"{unit.stem}.service").write_text("[Service]\nExecStart=/bin/true\n")
    unit.write_text(text.replace("User=stemd", "User=root").replace("Group=stemd", "Group=root"))
    command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", unit]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    complaints = [line for line in result.stderr.splitlines() if name in line]
    assert complaints == []


def test_the_daemon_is_one_that_systemd_can_follow():
    unit = keys("stemd.service")
    assert unit["Type"] == ["notify"]
    assert unit["WatchdogSec"] == ["60"]
    assert unit["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert unit["KillMode"] == ["mixed"]
    assert unit["OOMPolicy"] == ["continue"]
    assert unit["Restart"] == ["on-failure"]
    assert int(unit["TimeoutStopSec"][0]) > 10
    assert "75" in unit["RestartPreventExitStatus"][0].split()
    assert int(unit["StartLimitBurst"][0]) * int(unit["RestartSec"][0]) < int(unit["StartLimitIntervalSec"][0])
    for folder in ("StateDirectory", "CacheDirectory", "RuntimeDirectory", "ConfigurationDirectory"):
        assert unit[folder] == ["stemd"]
    assert unit["RequiresMountsFor"] == ["/var/lib/stemd"]
    assert "MemoryDenyWriteExecute" not in unit


@needs_analyze
def test_only_weights_and_messages_pass_the_network():
    assert keys("stemd.service")["PrivateNetwork"] == ["yes"]
    assert keys("stemd.service")["RestrictAddressFamilies"] == ["AF_UNIX"]
    assert keys("stemd-web.service")["IPAddressAllow"] == ["localhost"]
    assert keys("stemd-report.service")["PrivateNetwork"] == ["yes"]
    for name in ("stemd-models.service", "stemd-alerts.service"):
        assert "PrivateNetwork" not in keys(name)
        assert exposure(name) <= 1.3


def test_the_pages_write_nothing_but_the_ledger():
    unit = keys("stemd-web.service")
    assert unit["ProtectSystem"] == ["strict"]
    assert unit["ReadWritePaths"] == ["/var/lib/stemd"]
    assert {"-/var/lib/stemd/work", "-/var/lib/stemd/results"} <= set(unit["ReadOnlyPaths"][0].split())


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="systemd is not installed")
def test_user_and_folders_are_made(tmp_path):
    (tmp_path / "etc").mkdir()
    shutil.copytree(FOLDER / "sysusers.d", tmp_path / "usr/lib/sysusers.d")
    result = subprocess.run(["systemd-sysusers", f"--root={tmp_path}"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert re.search(
        r"^stemd:.*:/var/lib/stemd:/usr/sbin/nologin$", (tmp_path / "etc/passwd").read_text(), re.MULTILINE
    )
