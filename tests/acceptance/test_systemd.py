"""The hardened unit under a real systemd, booted as PID 1 in namespaces of its own."""

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = [pytest.mark.systemd, pytest.mark.slow, pytest.mark.acceptance, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
SONG = ROOT / "daemon/stemd/demo/song.opus"
BLOCKED = ROOT / "tests/fakes/blocked.py"
UNSHARE = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--uts", "--ipc", "--cgroup", "--mount-proc"]
TARGETS = ("default", "sysinit", "basic", "shutdown", "multi-user", "local-fs", "remote-fs", "network", "sockets")
PORT = 18340
COMMANDS = {
    "stemd": "run --log-format journal",
    "stemd-web": f"web --port {PORT}",
    "stemd-report": "report --since 24h --html /var/lib/stemd/report.html",
    "stemd-alerts": "alerts",
}
CONFIG = """
[daemon]
state_dir = "/var/lib/stemd"
rescan = 1
[resources]
device = "cpu"
ram_reserve_gb = 0
[[rule]]
name = "songs"
inbox = "/srv/in"
outbox = "/srv/out"
model = "demo"
shifts = {shifts}
stems = ["vocals", "no_vocals"]
settle = 0.3
[rule.quality]
on_flag = "deliver"
"""


@dataclass
class Machine:
    """A booted systemd with the unit, and folders of its own."""

    folder: Path
    init: int

    def run(self, *argv, check=True, timeout=120):
        command = ["nsenter", "-t", str(self.init), "-a", *map(str, argv)]
        return subprocess.run(command, capture_output=True, text=True, check=check, timeout=timeout)

    def show(self, key):
        return self.run("systemctl", "show", "stemd", f"--property={key}", "--value").stdout.strip()

    @property
    def log(self):
        path = self.folder / "stemd.log"
        return path.read_text() if path.exists() else ""

    def configure(self, shifts=0, more=""):
        (self.folder / "etc/stemd/config.toml").write_text(CONFIG.format(shifts=shifts) + more)

    def save(self, name):
        """Save the song into the inbox; its title makes it a content of its own."""
        part = self.folder / "srv/in" / f"{name}.part"
        copy = ["ffmpeg", "-v", "error", "-i", SONG, "-c", "copy", "-metadata", f"title={name}", "-f", "ogg", part]
        subprocess.run(copy, check=True, stdin=subprocess.DEVNULL)
        shutil.chown(part, 64123, 64123)
        part.rename(part.with_name(f"{name}.opus"))

    def delivered(self, name):
        return sorted(path.name for path in (self.folder / "srv/out" / name).glob("*.wav"))

    def daemon(self, *pattern):
        """Process numbers, as this machine counts them, of stemd's processes with these words."""
        found = self.run("pgrep", "-u", "stemd", "-f", " ".join(pattern), check=False)
        return [int(line) for line in found.stdout.split()]

    def restart(self, **config):
        self.configure(**config)
        self.run("systemctl", "stop", "stemd")
        self.run("systemctl", "reset-failed", "stemd", check=False)
        self.run("systemctl", "start", "stemd")


def wait(what, seconds=120.0):
    """Wait until something is true, and give it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(subprocess.CalledProcessError):
            if seen := what():
                return seen
        time.sleep(0.1)
    return what()


def why_not():
    if os.geteuid() != 0:
        return "only root may make namespaces"
    if not Path("/lib/systemd/systemd").exists() or shutil.which("nsenter") is None:
        return "systemd is not installed"
    tried = subprocess.run([*UNSHARE, "mount", "-t", "cgroup2", "none", "/mnt"], capture_output=True, check=False)
    return "" if tried.returncode == 0 else f"namespaces are not available: {tried.stderr.decode().strip()}"


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    if reason := why_not():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("machine")
    for place in (
        "etc",
        "var/lib",
        "var/cache",
        "srv/in",
        "srv/out",
        *(f"units/{name}.service.d" for name in COMMANDS),
    ):
        (folder / place).mkdir(parents=True)
    for target in TARGETS:
        (folder / f"units/{target}.target").write_text(f"[Unit]\nDescription={target}\nDefaultDependencies=no\n")
    for name, words in COMMANDS.items():
        shutil.copy(ROOT / f"systemd/{name}.service", folder / "units")
        (folder / f"units/{name}.service.d/test.conf").write_text(here(folder, name, words))
    (folder / "units/stemd.service.d/folders.conf").write_text(drop_in(["/srv/in", "/srv/out"]))
    (folder / "units/stemd.service.d/quick.conf").write_text("[Service]\nWatchdogSec=12\nRestartSec=1\n")
    with (folder / "boot.log").open("w") as log:
        booted = subprocess.Popen(
            [*UNSHARE, Path(__file__).with_name("boot-systemd"), folder],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    children = Path(f"/proc/{booted.pid}/task/{booted.pid}/children")
    init = int(wait(children.read_text).split()[0])
    found = Machine(folder, init)
    try:
        ready = wait(
            lambda: found.run("systemctl", "is-system-running", check=False).stdout.strip() in {"running", "degraded"},
            60,
        )
        assert ready, (folder / "boot.log").read_text() + (folder / "systemd.log").read_text()
        (folder / "etc/stemd").mkdir(exist_ok=True)
        found.configure()
        yield found
    finally:
        booted.kill()
        booted.wait(timeout=60)


def drop_in(folders):
    """The drop-in as scripts/install writes it."""
    return written("drop_in", folders)


def written(text, *given):
    """One of the texts that scripts/install writes."""
    code = "import json, sys; from installing import texts; "
    code += "print(getattr(texts, sys.argv[1])(*json.loads(sys.argv[2])), end='')"
    command = [sys.executable, "-c", code, text, json.dumps(given)]
    return subprocess.run(command, cwd=ROOT / "scripts", capture_output=True, text=True, check=True).stdout


def here(folder, log, words):
    """What differs from an installed unit: where the program lies, and where its log goes."""
    python = Path(sys.executable)
    seen = {str(ROOT), str(python.parent.parent), sys.base_prefix, str(Path(sys.base_prefix).resolve())}
    hidden = [place for place in seen if place.startswith(("/root", "/home", "/tmp", "/var/tmp"))]
    lines = [
        "[Service]",
        "ExecStart=",
        f'ExecStart="{python.with_name("stemd")}" {words} --config /etc/stemd/config.toml',
        f"StandardOutput=append:{folder}/{log}.log",
        f"StandardError=append:{folder}/{log}.log",
        *(f'BindReadOnlyPaths="{place}"' for place in hidden),
    ]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def stemd(machine):
    started = machine.run("systemctl", "start", "stemd", check=False, timeout=90)
    assert started.returncode == 0, machine.log
    return machine


def test_it_becomes_ready_and_says_how_it_stands(stemd):
    assert stemd.show("ActiveState") == "active"
    assert "running" in stemd.show("StatusText")
    assert stemd.show("User") == "stemd"


def test_a_file_is_delivered_from_inside_the_sandbox(stemd):
    stemd.save("first")
    assert wait(lambda: stemd.delivered("first"), 240) == ["no_vocals.wav", "vocals.wav"], stemd.log
    assert (stemd.folder / "srv/out/first/vocals.wav").stat().st_uid == 64123
    assert wait((stemd.folder / "srv/in/_done/first.opus").exists)


def test_it_sees_nothing_that_is_not_its_business(stemd):
    main = stemd.show("MainPID")
    inside = ["nsenter", "-t", main, "-m", "-n", "-S", "64123", "-G", "64123"]
    for forbidden in (["touch", "/etc/x"], ["touch", "/opt/x"], ["touch", "/srv/x"], ["ls", "/root/.bashrc"]):
        assert stemd.run(*inside, *forbidden, check=False).returncode != 0, forbidden
    links = stemd.run(*inside, "cat", "/proc/net/dev").stdout.splitlines()[2:]
    assert [line.split(":")[0].strip() for line in links] in ([], ["lo"])


def test_the_pages_are_served_and_may_write_nothing_but_the_ledger(stemd):
    stemd.run("systemctl", "start", "stemd-web")
    page = ["python3", "-c", f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{PORT}/').status)"]
    log = stemd.folder / "stemd-web.log"
    assert wait(lambda: stemd.run(*page, check=False).stdout.strip() == "200", 60), log.read_text()
    main = stemd.run("systemctl", "show", "stemd-web", "--property=MainPID", "--value").stdout.strip()
    inside = ["nsenter", "-t", main, "-m", "-S", "64123", "-G", "64123"]
    for place in ("/var/lib/stemd/work", "/var/lib/stemd/results", "/srv/in", "/srv/out"):
        assert stemd.run(*inside, "touch", f"{place}/x", check=False).returncode != 0, place
    assert stemd.run(*inside, "test", "-w", "/var/lib/stemd/ledger.sqlite3", check=False).returncode == 0
    stemd.run("systemctl", "stop", "stemd-web")


def test_the_pages_see_what_they_play_below_home_and_a_state_folder_elsewhere(stemd):
    made = (
        "mkdir -p /run/user/7/in /srv/state/work && chown -R stemd: /run/user/7/in /srv/state && touch /run/user/7/in/x"
    )
    stemd.run("sh", "-c", made)
    drop = stemd.folder / "units/stemd-web.service.d/folders.conf"
    drop.write_text(written("reading_drop_in", "/srv/state", ["/run/user/7/in"]))
    try:
        stemd.run("systemctl", "daemon-reload")
        stemd.run("systemctl", "start", "stemd-web")
        main = stemd.run("systemctl", "show", "stemd-web", "--property=MainPID", "--value").stdout.strip()
        inside = ["nsenter", "-t", main, "-m", "-S", "64123", "-G", "64123"]
        assert stemd.run(*inside, "ls", "/run/user/7/in").stdout.split() == ["x"]
        assert stemd.run(*inside, "touch", "/srv/state/x", check=False).returncode == 0
        for place in ("/run/user/7/in", "/srv/state/work"):
            assert stemd.run(*inside, "touch", f"{place}/y", check=False).returncode != 0, place
    finally:
        stemd.run("systemctl", "stop", "stemd-web")
        drop.unlink()
        stemd.run("systemctl", "daemon-reload")


def test_the_report_is_drawn_from_inside_its_sandbox(stemd):
    stemd.run("systemctl", "start", "stemd-report")
    assert (stemd.folder / "var/lib/stemd/report.html").read_text().startswith("<!doctype html>")


def test_alerts_end_where_nobody_is_named_and_tell_what_fails(stemd):
    told, log = stemd.folder / "var/lib/stemd/told", stemd.folder / "stemd-alerts.log"
    stemd.run("systemctl", "start", "stemd-alerts")
    assert wait(lambda: log.exists() and "nobody is to be told" in log.read_text())
    write = 'printf "%s" "$STEMD_TEXT" >/var/lib/stemd/told'
    stemd.configure(more=f"[notify]\ncommand = ['/bin/sh', '-c', '{write}']\nevents = ['failed']\n")
    stemd.run("systemctl", "restart", "stemd-alerts")
    assert wait(lambda: "tells of failed" in log.read_text()), log.read_text()
    assert wait((stemd.folder / "var/lib/stemd/alerts.json").exists)
    (stemd.folder / "srv/in/letter.wav").write_text("no sound at all")
    assert wait(told.exists, 90), log.read_text() + stemd.log
    assert told.read_text().startswith("letter.wav failed: ")
    stemd.run("systemctl", "stop", "stemd-alerts")


def test_its_events_reach_the_journal_with_their_fields(stemd):
    journald = Path("/lib/systemd/systemd-journald")
    if not journald.exists() or shutil.which("journalctl") is None:
        pytest.skip("systemd-journald is not installed")
    stemd.run("mkdir", "-p", "/run/log/journal")
    running = subprocess.Popen(["nsenter", "-t", str(stemd.init), "-a", journald], stderr=subprocess.DEVNULL)
    drop = stemd.folder / "units/stemd.service.d/zz-journal.conf"
    try:
        assert wait(lambda: not stemd.run("test", "-S", "/run/systemd/journal/stdout", check=False).returncode)
        drop.write_text("[Service]\nStandardOutput=journal\nStandardError=journal\n")
        stemd.run("systemctl", "daemon-reload")
        stemd.restart()
        (stemd.folder / "srv/in/journal.wav").write_text("no sound at all")
        ask = ["journalctl", "-D", "/run/log/journal", "-o", "json", "-p", "warning", "_SYSTEMD_UNIT=stemd.service"]
        told = wait(lambda: [line for line in stemd.run(*ask).stdout.splitlines() if "journal.wav" in line], 60)
        event = json.loads(told[0])
        assert (event["_TRANSPORT"], event["PRIORITY"], event["STEMD_RULE"]) == ("journal", "3", "songs")
        assert event["STEMD_JOB"].isdecimal()
        assert len(told) == 1
    finally:
        drop.unlink()
        stemd.run("systemctl", "daemon-reload")
        stemd.restart()
        running.terminate()
        running.wait(20)


def test_a_good_configuration_is_taken_over_and_a_bad_one_is_not(stemd):
    stemd.configure(more='[[rule]]\nname = "second"\ninbox = "/srv/in2"\noutbox = "/srv/out"\nmodel = "demo"\n')
    main = stemd.show("MainPID")
    before = len(stemd.log)
    stemd.run("systemctl", "reload", "stemd")
    assert wait(lambda: "second" in stemd.log[before:], 120), stemd.log[before:]
    stemd.configure(more="shfts = 3\n")
    before = len(stemd.log)
    stemd.run("systemctl", "reload", "stemd")
    assert wait(lambda: "shfts" in stemd.log[before:], 120), stemd.log[before:]
    assert wait(lambda: stemd.show("ActiveState") == "active")
    assert stemd.show("MainPID") == main


def test_stopping_in_the_middle_of_a_job_is_quick_and_it_goes_on_afterwards(stemd):
    stemd.restart(shifts=20)
    stemd.save("long")
    assert wait(lambda: stemd.daemon("stemd.engine"), 120), stemd.log
    time.sleep(2)
    began = time.monotonic()
    stemd.run("systemctl", "stop", "stemd")
    assert time.monotonic() - began < 12  # 10 s, and systemctl itself
    assert stemd.show("Result") == "success"
    assert stemd.daemon("stemd") == []
    assert stemd.delivered("long") == []
    stemd.configure(shifts=0)
    stemd.run("systemctl", "start", "stemd")
    assert wait(lambda: stemd.delivered("long"), 240), stemd.log


def test_a_killed_engine_costs_an_attempt_and_not_the_service(stemd):
    stemd.restart(shifts=20)
    main = stemd.show("MainPID")
    stemd.save("attacked")
    found = wait(lambda: stemd.daemon("stemd.engine"), 120)
    assert found, stemd.log
    engine = found[0]
    time.sleep(1)
    stemd.run("kill", "-9", engine)
    assert wait(lambda: [pid for pid in stemd.daemon("stemd.engine") if pid != engine], 120), stemd.log
    assert stemd.show("MainPID") == main
    assert stemd.show("NRestarts") == "0"


def test_a_killed_daemon_is_started_again(stemd):
    stemd.restart()
    main = stemd.show("MainPID")
    stemd.run("kill", "-9", main)
    assert wait(lambda: stemd.show("NRestarts") == "1", 120), stemd.log
    assert wait(lambda: stemd.show("ActiveState") == "active", 120), stemd.log
    assert stemd.show("MainPID") != main


def test_a_daemon_of_which_one_part_is_blocked_is_named_and_started_again(stemd):
    """A thread never comes back from the pipe of its child, the engine's or, where an older job is at its check, the
    quality check's, while the daemon goes on with everything else.
    """
    flag, unit = stemd.folder / "srv/blocked", stemd.folder / "units/stemd.service.d/test.conf"
    before = unit.read_text()
    daemon = f'ExecStart="{Path(sys.executable).with_name("stemd")}" run'
    assert daemon in before
    unit.write_text(before.replace(daemon, f'ExecStart="{sys.executable}" "{BLOCKED}" engine /srv/blocked run'))
    stemd.run("systemctl", "daemon-reload")
    stemd.restart(shifts=1)  # the song without shifts is separated already
    main, log = stemd.show("MainPID"), len(stemd.log)
    flag.touch()
    stemd.save("blocked")
    assert wait(lambda: "waiting for the " in stemd.show("StatusText"), 60), stemd.log
    assert stemd.show("MainPID") == main
    assert wait(lambda: stemd.show("NRestarts") == "1", 120), stemd.log
    assert re.search(r"waiting for the (engine|quality check) .* has stood still", stemd.log[log:])
    flag.unlink()
    unit.write_text(before)
    stemd.run("systemctl", "daemon-reload")
    stemd.restart()
    assert wait(lambda: stemd.delivered("blocked"), 240), stemd.log


def test_a_wrong_configuration_is_not_tried_again_and_again(stemd):
    stemd.run("systemctl", "stop", "stemd")
    (stemd.folder / "etc/stemd/config.toml").write_text("shfts = 3\n")
    assert stemd.run("systemctl", "start", "stemd", check=False).returncode != 0
    assert stemd.show("ExecMainStatus") == "2"
    assert stemd.show("NRestarts") == "0"


# -- scripts/install on this machine; last, for it takes the unit of the tests above away

PIP = """#!/bin/sh
# Stands for /opt/stemd's Python, in which everything is installed already.
if [ "$2" = pip ]; then echo "$@" >>/opt/pip.log; exit 0; fi
exec {python} "$@"
"""
STEMD = """#!/bin/sh
exec /opt/stemd/venv/bin/python -m stemd "$@"
"""


SERVICE = """
from pathlib import Path
from stemd.config import load
from stemd.doctor import service
unit, settings = service.facts(), load(Path("/etc/stemd/config.toml"))
assert service.serves(unit, settings)
assert service.environment(unit)["HF_HOME"] == "/var/cache/stemd/huggingface"
assert service.environment(unit)["STEMD_FETCH"] == "systemctl start stemd-models"
for finding in (*service.judge_memory(unit), *service.judge_folders(unit, settings)):
    print(finding.text)
"""
MORE = 'review = "/srv/listen"\nshifts = 0\n[rule.quality]\non_flag = "deliver"\n'


def why_no_installation():
    """The service's user has to be able to read what stands for /opt/stemd."""
    python = Path("/usr/bin") / f"python{sys.version_info.major}.{sys.version_info.minor}"
    if not python.exists():
        return f"{python} is not there, and another version cannot use these packages"
    closed = [place for place in (ROOT, *ROOT.parents) if not place.stat().st_mode & 0o001]
    if closed or str(ROOT).startswith(("/home", "/root", "/tmp")):
        return "the service's user cannot read this checkout"
    return ""


@pytest.fixture
def bare(machine):
    """The machine without stemd, but with the packages that pip would install."""
    if reason := why_no_installation():
        pytest.skip(reason)
    machine.run("systemctl", "stop", "stemd", check=False)
    for name in COMMANDS:
        shutil.rmtree(machine.folder / f"units/{name}.service.d")
        (machine.folder / f"units/{name}.service").unlink()
    for place in ("etc/stemd", "var/lib/stemd", "srv/in", "srv/out"):
        shutil.rmtree(machine.folder / place, ignore_errors=True)
    binaries = machine.folder / "opt/stemd/venv/bin"
    binaries.mkdir(parents=True)
    packages = next((ROOT / ".venv/lib").glob("python*/site-packages"))
    path = shlex.quote(f"PYTHONPATH={ROOT}/daemon:{packages}")
    python = f"env {path} /usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    for name, text in (("python", PIP.format(python=python)), ("stemd", STEMD)):
        (binaries / name).write_text(text)
        (binaries / name).chmod(0o755)
    (machine.folder / "bin").mkdir()
    (machine.folder / "etc/systemd/system").mkdir(parents=True, exist_ok=True)
    for ours, place in (("opt", "/opt"), ("bin", "/usr/local/bin"), ("units", "/etc/systemd/system")):
        machine.run("mount", "--bind", machine.folder / ours, place)
    return machine


def test_install_upgrade_and_uninstall(bare):
    install = ["/usr/bin/env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "/usr/bin/python3", ROOT / "scripts/install"]
    first = bare.run(
        *install, "--inbox", "/srv/in", "--outbox", "/srv/out", "--model", "demo", check=False, timeout=150
    )
    assert first.returncode == 0, first.stdout + first.stderr
    assert "problem " not in first.stdout
    assert bare.show("ActiveState") == "active"
    assert (bare.folder / "units/multi-user.target.wants/stemd.service").is_symlink()
    assert "requirements.lock" in (bare.folder / "opt/pip.log").read_text()

    configuration = bare.folder / "etc/stemd/config.toml"
    configuration.write_text(configuration.read_text() + MORE)
    ledger = bare.folder / "var/lib/stemd/ledger.sqlite3"
    again = bare.run(*install, check=False, timeout=300)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "review" in configuration.read_text()
    assert len(list(ledger.parent.glob("ledger.before-upgrade.*"))) == 1
    told = bare.run("/opt/stemd/venv/bin/python", "-c", SERVICE).stdout
    assert "systemd lets the service have" in told
    assert "the service may write to every folder" in told
    assert '"-/srv/listen"' in (bare.folder / "units/stemd.service.d/folders.conf").read_text()
    assert bare.show("ActiveState") == "active"
    bare.save("installed")
    assert wait(lambda: bare.delivered("installed"), 240)

    assert bare.run(*install, "--uninstall", timeout=300).returncode == 0
    assert list((bare.folder / "units").glob("stemd*")) == []
    assert not (bare.folder / "opt/stemd").exists()
    assert configuration.exists()
    assert ledger.exists()
    assert bare.run(*install, "--uninstall", "--purge", timeout=300).returncode == 0
    assert not configuration.exists()
    assert not ledger.exists()
    assert bare.delivered("installed")
