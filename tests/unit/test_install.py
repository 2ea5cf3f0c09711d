"""scripts/install: what it writes from answers, what it says it would do, and what it refuses."""

import argparse
import contextlib
import importlib
import os
import runpy
import signal
import sqlite3
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemd.config import load

ROOT = Path(__file__).parents[2]
INSTALL = ROOT / "scripts/install"


def module(name):
    """Import a part of scripts/install, whose folder is on the path only when the script runs."""
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        return importlib.import_module(f"installing.{name}")
    finally:
        sys.path.remove(str(ROOT / "scripts"))


texts, steps, ledger, plan = module("texts"), module("steps"), module("ledger"), module("plan")
ANSWERS = {"name": "songs", "preset": "best", "model": "", "state": "/var/lib/stemd"}
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=20).filter(
    lambda name: name not in {".", ".."}
)


@given(NAMES)
def test_any_folder_reaches_the_configuration_unchanged(name):
    text = texts.configuration(inbox=f"/srv/{name}/in", outbox=f"/srv/{name}/out", **ANSWERS)
    rule = tomllib.loads(text)["rule"][0]
    assert (rule["inbox"], rule["outbox"]) == (f"/srv/{name}/in", f"/srv/{name}/out")


def test_the_configuration_is_right(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(texts.configuration(inbox="/srv/in", outbox="/srv/out", **ANSWERS))
    settings = load(path)
    assert settings.daemon.state_dir == Path("/var/lib/stemd")
    assert settings.rules[0].model == "htdemucs_ft"
    path.write_text(texts.configuration(inbox="/srv/in", outbox="/srv/out", **(ANSWERS | {"model": "demo"})))
    assert load(path).rules[0].model == "demo"


@pytest.mark.parametrize(
    "folders, lines",
    [
        (["/srv/in", "/srv/out"], ['ReadWritePaths="-/srv/in"', 'ReadWritePaths="-/srv/out"']),
        (["/srv/in", "/srv/in/_done", "/srv/in2"], ['ReadWritePaths="-/srv/in"', 'ReadWritePaths="-/srv/in2"']),
        (["/srv/in", "/srv/in"], ['ReadWritePaths="-/srv/in"']),
        (["/home/ada/my songs"], ['BindPaths="-/home/ada/my songs"']),
        (["/srv/100%"], ['ReadWritePaths="-/srv/100%%"']),
        (["/srv/a:b"], ['ReadWritePaths="-/srv/a:b"']),
    ],
)
def test_the_drop_in_opens_the_folders(folders, lines):
    text = texts.drop_in(folders)
    assert text.splitlines()[1:] == ["[Service]", *lines]


def test_a_state_folder_elsewhere_is_waited_for_and_what_the_daemon_computes_stays_closed():
    assert texts.drop_in(["/srv/in", "/data/stemd"], "/data/stemd").splitlines()[1:] == [
        "[Unit]", 'RequiresMountsFor="/data/stemd"', "[Service]",
        'ReadWritePaths="-/srv/in"', 'ReadWritePaths="-/data/stemd"',
    ]  # fmt: skip
    assert texts.reading_drop_in("/home/5%").splitlines()[1:] == [
        "[Unit]", 'RequiresMountsFor="/home/5%%"', "[Service]", 'BindPaths="-/home/5%%"',
        'ReadOnlyPaths="-/home/5%%/work"', 'ReadOnlyPaths="-/home/5%%/results"', 'ReadOnlyPaths="-/home/5%%/models"',
    ]  # fmt: skip


def test_folders_that_are_hidden_from_the_pages_are_shown_to_them():
    shown = ["/home/eng/in", "/home/eng/in/_review", "/srv/out", "/root/out"]
    assert texts.reading_drop_in("", shown).splitlines()[1:] == [
        "[Service]", 'BindReadOnlyPaths="-/home/eng/in"', 'BindReadOnlyPaths="-/root/out"',
    ]  # fmt: skip
    assert texts.reading_drop_in("", ["/srv/out"]) == ""
    with pytest.raises(steps.CannotGoOn, match="cannot be written for systemd"):
        texts.reading_drop_in("", ["/home/a:b"])


@pytest.mark.parametrize("folder", ['/srv/"x"', "/srv/a\\b", "/srv/a\nb", "/home/a:b"])
def test_a_folder_that_systemd_cannot_be_told_is_refused(folder):
    with pytest.raises(steps.CannotGoOn, match="cannot be written for systemd"):
        texts.drop_in([folder])


def test_files_are_written_whole(tmp_path):
    path = tmp_path / "a/b.conf"
    steps.write(path, "one\n")
    steps.write(path, "two\n")
    assert path.read_text() == "two\n"
    assert path.stat().st_mode & 0o777 == 0o644
    assert [entry.name for entry in path.parent.iterdir()] == ["b.conf"]


def test_a_program_that_fails_or_is_missing_stops_the_installation():
    steps.must("true")
    with pytest.raises(steps.CannotGoOn, match="status 3"):
        steps.must("sh", "-c", "exit 3")
    with pytest.raises(steps.CannotGoOn, match="is not there"):
        steps.must("no-such-program")
    assert steps.answer("sh", "-c", "echo x; exit 1") is None
    assert steps.answer("no-such-program") is None


def test_an_upgrade_copies_the_ledger_and_keeps_three_copies(tmp_path, monkeypatch):
    path = tmp_path / "ledger.sqlite3"
    ledger.copy_ledger(path)  # the first installation: there is none
    assert list(tmp_path.iterdir()) == []
    moments = iter(f"2026010{n}-000000" for n in range(1, 6))
    monkeypatch.setattr(ledger.time, "strftime", lambda _: next(moments))
    for number in range(5):
        with contextlib.closing(sqlite3.connect(path)) as opened, opened:
            opened.execute("CREATE TABLE IF NOT EXISTS job (id)")
            opened.execute("INSERT INTO job VALUES (?)", (number,))
        path.chmod(0o640)
        ledger.copy_ledger(path)
    copies = sorted(tmp_path.glob("ledger.before-upgrade.*.sqlite3"))
    assert [copy.name[22:30] for copy in copies] == ["20260103", "20260104", "20260105"]
    assert {copy.stat().st_mode & 0o777 for copy in copies} == {0o640}
    with contextlib.closing(sqlite3.connect(copies[0])) as opened:
        assert opened.execute("SELECT count(*) FROM job").fetchone() == (3,)


KILLED_WHILE_COPYING = """
import os, signal, sqlite3, sys
from pathlib import Path
from installing import ledger

path, connect = Path(sys.argv[1]), sqlite3.connect

def lethal():
    if any(file.stat().st_size for file in path.parent.iterdir() if file != path):
        os.kill(os.getpid(), signal.SIGKILL)
    return 0

def opened(where):
    connection = connect(where)
    connection.set_progress_handler(lethal, 1)
    return connection

sqlite3.connect = opened
ledger.copy_ledger(path)
"""


def test_a_copy_that_was_cut_off_neither_looks_like_one_nor_takes_the_place_of_one(tmp_path):
    path = tmp_path / "ledger.sqlite3"
    with contextlib.closing(sqlite3.connect(path)) as opened, opened:
        opened.execute("CREATE TABLE ballast (x)")
        opened.execute("INSERT INTO ballast VALUES (zeroblob(8 << 20))")
    killed = subprocess.run([sys.executable, "-c", KILLED_WHILE_COPYING, path], cwd=ROOT / "scripts", check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not list(tmp_path.glob("ledger.before-*"))
    ledger.copy_ledger(path)
    assert [file.name[:22] for file in tmp_path.iterdir() if file != path] == ["ledger.before-upgrade."]


def test_a_ledger_that_cannot_be_copied_stops_the_upgrade(tmp_path):
    (tmp_path / "ledger.sqlite3").write_text("no ledger at all, but a text that is long enough for a header of one")
    with pytest.raises(steps.CannotGoOn, match="cannot be copied"):
        ledger.copy_ledger(tmp_path / "ledger.sqlite3")


def run(*args, **more):
    return subprocess.run(
        [sys.executable, INSTALL, *args], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, **more
    )


fresh = pytest.mark.skipif(Path("/etc/stemd/config.toml").exists(), reason="stemd is installed on this machine")


@fresh
def test_a_dry_run_says_everything_and_does_nothing():
    result = run("--dry-run", "--inbox", "/srv/no-such-in", "--outbox", "/srv/no-such-out")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert all(line.startswith("would ") for line in lines)
    for word in ("systemd-sysusers", "/opt/stemd/venv", "config.toml", "folders.conf", "doctor", "enable --now"):
        assert any(word in line for line in lines), word
    order = [
        next(n for n, line in enumerate(lines) if word in line) for word in ("sysusers", "venv", "doctor", "enable")
    ]
    assert order == sorted(order)
    assert not Path("/opt/stemd").exists()
    assert not Path("/srv/no-such-in").exists()


@fresh
@pytest.mark.parametrize(
    "args, word",
    [
        (["--dry-run"], "--inbox is needed"),
        (["--dry-run", "--inbox", "/srv/in"], "--outbox is needed"),
        (["--dry-run", "--inbox", "in", "--outbox", "/srv/out"], "must begin with /"),
        (["--dry-run", "--inbox", "/srv/a", "--outbox", "/srv/a/out"], "must not lie in each other"),
        (["--dry-run", "--inbox", "/srv/a/in", "--outbox", "/srv/a"], "must not lie in each other"),
        (["--dry-run", "--inbox", "/srv/in", "--outbox", '/srv/"out"'], "cannot be written for systemd"),
        (["--dry-run", "--inbox", "/srv/in", "--outbox", "/srv/out", "--preset", "bset"], "karaoke"),
        (["--dry-run", "--purge"], "--uninstall"),
    ],
)
def test_what_is_missing_or_cannot_work_is_asked_for(args, word):
    result = run(*args)
    assert result.returncode == 2
    assert word in result.stderr


def test_uninstalling_keeps_the_data_unless_told_otherwise():
    assert not any("remove /var/lib/stemd" in line for line in run("--dry-run", "--uninstall").stdout.splitlines())
    assert "remove the user stemd" in run("--dry-run", "--uninstall", "--purge").stdout


RULE = '[[rule]]\nname = "songs"\ninbox = "{home}/in"\noutbox = "{home}/out"\nmodel = "demo"\n'


@pytest.fixture
def units(tmp_path, monkeypatch):
    """Where units lie, and a configuration that is to be written."""
    monkeypatch.setattr(plan, "UNITS", tmp_path / "units")
    monkeypatch.setattr(plan, "CONFIG", tmp_path / "config.toml")
    monkeypatch.setattr(plan, "PYTHON", sys.executable)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "daemon"))
    return tmp_path / "units"


def drop_ins(units):
    """The paths that each service is given."""
    lines = {path.parent.name: path.read_text().splitlines() for path in units.glob("*.d/folders.conf")}
    return {
        name.removesuffix(".service.d"): [line for line in found if "Paths=" in line] for name, found in lines.items()
    }


def test_the_services_are_given_what_the_configuration_names(units):
    plan.CONFIG.write_text('[daemon]\nstate_dir = "/data/stemd"\n' + RULE.format(home="/home/eng"))
    plan._open_folders()
    state, below = 'ReadWritePaths="-/data/stemd"', ("work", "results", "models")
    reads = [state, *(f'ReadOnlyPaths="-/data/stemd/{name}"' for name in below)]
    assert drop_ins(units) == {
        "stemd": ['BindPaths="-/home/eng/in"', 'BindPaths="-/home/eng/out"', state],
        "stemd-web": [*reads, 'BindReadOnlyPaths="-/home/eng/in"', 'BindReadOnlyPaths="-/home/eng/out"'],
        "stemd-alerts": reads,
        "stemd-report": reads,
    }


def test_what_a_service_no_longer_needs_is_taken_from_it(units):
    plan.CONFIG.write_text('[daemon]\nstate_dir = "/data/stemd"\n' + RULE.format(home="/home/eng"))
    plan._open_folders()
    own = units / "stemd-web.service.d/override.conf"
    own.write_text("[Service]\n")
    plan.CONFIG.write_text('[daemon]\nstate_dir = "/var/lib/stemd"\n' + RULE.format(home="/srv"))
    plan._open_folders()
    assert drop_ins(units) == {"stemd": ['ReadWritePaths="-/srv/in"', 'ReadWritePaths="-/srv/out"']}
    assert sorted(path.name for path in units.iterdir()) == ["stemd-web.service.d", "stemd.service.d"]
    assert own.exists()


def test_a_home_in_the_configuration_is_the_services(units):
    plan.CONFIG.write_text(RULE.format(home="~"))
    assert plan._folders() == ["/var/lib/stemd/in", "/var/lib/stemd/out"]


def test_a_missing_state_folder_is_made_for_the_service_alone(units, tmp_path, monkeypatch):
    owners = {}
    monkeypatch.setattr(plan.shutil, "chown", lambda folder, *who: owners.update({folder.name: who}))
    plan.CONFIG.write_text(f'[daemon]\nstate_dir = "{tmp_path}/state"\n' + RULE.format(home=tmp_path))
    plan._make_folders()
    assert owners == dict.fromkeys(("in", "out", "state"), ("stemd", "stemd"))
    assert (tmp_path / "state").stat().st_mode & 0o7777 == 0o750


def test_nothing_is_made_where_a_share_is_not_mounted(units, tmp_path, monkeypatch):
    monkeypatch.setattr(plan.shutil, "chown", lambda *_: None)
    plan.CONFIG.write_text(RULE.format(home=tmp_path))
    assert plan._away() == set()
    monkeypatch.setattr(plan, "_away", lambda: {f"{tmp_path}/out"})
    plan._make_folders()
    assert (tmp_path / "in").is_dir()
    assert not (tmp_path / "out").exists()


def test_uninstalling_takes_the_drop_ins_away_but_not_those_of_others(units):
    plan.CONFIG.write_text('[daemon]\nstate_dir = "/data/stemd"\n' + RULE.format(home="/home/eng"))
    plan._open_folders()
    own = units / "stemd-alerts.service.d/override.conf"
    own.write_text("[Service]\n")
    for step in plan.uninstall(argparse.Namespace(purge=False)):
        if str(units) in step.text:
            step.do()
    assert [path for path in units.rglob("*") if path.is_file()] == [own]


def test_a_configuration_that_is_wrong_is_not_left_behind(units, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(plan, "STEMD", Path(sys.executable).with_name("stemd"))
    given = ANSWERS | {"state": str(tmp_path), "outbox": "/srv/out"}
    with pytest.raises(steps.CannotGoOn, match="again with others"):
        plan._configure(texts.configuration(inbox="/srv/out/in", **given))
    assert "keep inboxes and outboxes apart" in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []
    plan._configure(texts.configuration(inbox="/srv/in", **given))
    assert [path.name for path in tmp_path.iterdir()] == ["config.toml"]


@pytest.fixture
def main(monkeypatch):
    """The script itself, in this process."""
    monkeypatch.syspath_prepend(ROOT / "scripts")
    monkeypatch.setattr(sys, "argv", ["install"])
    return runpy.run_path(str(INSTALL))["main"]


@pytest.fixture
def asked(units, tmp_path, monkeypatch):
    """What systemctl is asked for; both services are installed, and only the daemon is active."""
    log = tmp_path / "asked"
    (tmp_path / "systemctl").write_text(f'#!/bin/sh\necho "$@" >>{log}\n[ "$*" != "is-active stemd-alerts.service" ]\n')
    (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    units.mkdir()
    for name in ("stemd.service", "stemd-alerts.service"):
        (units / name).touch()
    return log


@pytest.mark.parametrize("fault", [steps.CannotGoOn("no network"), OSError("no space"), KeyboardInterrupt()])
def test_an_upgrade_that_fails_starts_again_what_was_active(asked, main, monkeypatch, capsys, fault):
    def fail():
        raise fault

    plan.CONFIG.write_text(RULE.format(home="/srv"))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "umask", lambda _: 0)
    monkeypatch.setitem(main.__globals__, "install", lambda _: iter([plan._stop(), steps.Step("install it", fail)]))
    assert main([]) == 1
    assert asked.read_text().splitlines()[-2:] == ["stop stemd.service stemd-alerts.service", "start stemd.service"]
    told = capsys.readouterr().err
    assert f"install: {str(fault) or 'interrupted'}" in told
    assert "started again" in told


def test_an_upgrade_that_cannot_start_again_what_it_stopped_says_so(asked, capsys):
    plan.CONFIG.write_text("shfts = 1\n")
    plan._stop().amends()
    assert "start " not in asked.read_text()
    assert "stemd is stopped: run scripts/install again" in capsys.readouterr().err


def test_only_root_may_install(main, monkeypatch, capsys):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main(["--uninstall"]) == 1
    assert "sudo" in capsys.readouterr().err
