"""What is installed where, and in which order; and how it is taken away again."""

from __future__ import annotations

import json
import os
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from installing.ledger import copy_ledger
from installing.steps import CannotGoOn, Step, answer, command, must, put, remove, run, write
from installing.system import packages, python
from installing.texts import configuration, drop_in, reading_drop_in

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

SOURCE = Path(__file__).resolve().parents[2]
OPT, ETC, STATE, CACHE = (Path(folder) for folder in ("/opt/stemd", "/etc/stemd", "/var/lib/stemd", "/var/cache/stemd"))
CONFIG = ETC / "config.toml"
PYTHON, STEMD = OPT / "venv/bin/python", OPT / "venv/bin/stemd"
UNITS = Path("/etc/systemd/system")
SERVICES = (
    "stemd.service",
    "stemd-web.service",
    "stemd-models.service",
    "stemd-report.service",
    "stemd-report.timer",
    "stemd-alerts.service",
)
SYSUSERS, TMPFILES = Path("/etc/sysusers.d/stemd.conf"), Path("/etc/tmpfiles.d/stemd.conf")
LINK = Path("/usr/local/bin/stemd")


def install(options: argparse.Namespace) -> Iterator[Step]:
    """The whole installation, or an upgrade: the ledger is copied, and the daemon migrates it when it starts."""
    if not all(shutil.which(name) for name in ("ffmpeg", "ffprobe")):
        yield Step("install ffmpeg with the system's package manager", partial(packages, "ffmpeg"))
    yield put(SYSUSERS, (SOURCE / "systemd/sysusers.d/stemd.conf").read_text())
    yield put(TMPFILES, (SOURCE / "systemd/tmpfiles.d/stemd.conf").read_text())
    yield command("make the user stemd", "systemd-sysusers", SYSUSERS)
    yield command("make the service's folders", "systemd-tmpfiles", "--create", TMPFILES)
    if (UNITS / "stemd.service").exists():
        yield _stop()
        yield Step("copy its ledger to ledger.before-upgrade.* beside it", _copy_ledger)
    yield from _environment()
    yield from _configuration(options)
    for name in SERVICES:
        yield put(UNITS / name, (SOURCE / "systemd" / name).read_text())
    yield Step("make the configuration's folders that are missing, for the user stemd", _make_folders)
    yield Step(f"open them to the services: write folders.conf in {UNITS}/stemd*.service.d", _open_folders)
    yield command("tell systemd", "systemctl", "daemon-reload")
    if not options.no_models:
        yield Step("fetch the weights of the rules' models: systemctl start stemd-models", _fetch)
    yield Step("examine the machine as the user stemd: stemd doctor", _examine)
    if not options.no_start:
        yield command("start stemd, now and with the machine", "systemctl", "enable", "--now", "stemd.service")
        yield command("have it tell those whom [notify] names", "systemctl", "enable", "--now", "stemd-alerts.service")
        yield command("let the pages follow, if they are served", "systemctl", "try-restart", "stemd-web.service")
        yield command("have it report each morning", "systemctl", "enable", "--now", "stemd-report.timer")


def uninstall(options: argparse.Namespace) -> Iterator[Step]:
    """Take away what `install` made; configuration and ledger only with --purge, recordings and stems never."""
    for name in SERVICES:
        if (UNITS / name).exists():
            yield Step(f"stop and disable {name}", partial(answer, "systemctl", "disable", "--now", name))
    yield from _close_folders()
    files = (*(UNITS / name for name in SERVICES), SYSUSERS, TMPFILES, OPT)
    for path in files:
        if path.exists():
            yield Step(f"remove {path}", partial(remove, path))
    if LINK.is_symlink() and LINK.readlink() == STEMD:
        yield Step(f"remove {LINK}", partial(remove, LINK))
    yield Step("tell systemd: systemctl daemon-reload", partial(answer, "systemctl", "daemon-reload"))
    for path in (ETC, STATE, CACHE):
        if path.exists() and options.purge:
            yield Step(f"remove {path}", partial(remove, path))
        elif path.exists():
            yield Step(f"keep {path} (--purge removes it)", lambda: None)
    if options.purge:
        yield Step("remove the user stemd", partial(answer, "userdel", "stemd"))


def _stop() -> Step:
    """Whatever fails afterwards: what worked before works again, or it is said that it does not."""
    present = [name for name in ("stemd.service", "stemd-alerts.service") if (UNITS / name).exists()]
    active = [name for name in present if answer("systemctl", "is-active", name) is not None]
    argv = ("systemctl", "stop", *present)
    return Step(f"stop the present version: {' '.join(argv)}", partial(must, *argv), partial(_start_again, active))


def _start_again(names: Sequence[str]) -> None:
    """Without the doctor: what is installed has worked here. names: what was active; there may be nothing."""
    if not names:
        return
    if _configured("answer = True") and run("systemctl", "start", *names).returncode == 0:
        sys.stderr.write("  stemd was started again, as it is; run scripts/install again to finish\n")
    else:
        sys.stderr.write("  stemd is stopped: run scripts/install again, or: systemctl start stemd\n")


def _environment() -> Iterator[Step]:
    """A virtual environment that the service's user can read: not of a Python in somebody's home."""
    if answer(PYTHON, "-m", "pip", "--version") is None:
        yield Step(f"make {OPT}/venv with the system's Python", _make_environment)
    pip = (PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", SOURCE / "requirements.lock")
    yield command("install the build back end", *pip, "hatchling")
    yield command("install stemd and the pinned packages, which takes minutes", *pip, "--no-build-isolation", SOURCE)
    yield put(OPT / "README.md", (SOURCE / "README.md").read_text())
    yield put(OPT / "config.example.toml", (SOURCE / "config.toml").read_text())
    if not os.path.lexists(LINK):
        yield Step(f"make the command stemd known: link {LINK}", partial(LINK.symlink_to, STEMD))


def _make_environment() -> None:
    must(python(), "-m", "venv", "--clear", OPT / "venv")


def _configuration(options: argparse.Namespace) -> Iterator[Step]:
    if CONFIG.exists():
        yield Step(f"keep {CONFIG} as it is: what it says is changed there", lambda: None)
        return
    text = configuration(
        name=options.name, inbox=str(options.inbox), outbox=str(options.outbox), preset=options.preset,
        model=options.model, state=str(STATE),
    )  # fmt: skip
    yield Step(f"write {CONFIG}, if stemd finds it right", partial(_configure, text))
    for folder in (options.inbox.parent, options.outbox.parent):
        yield Step(f"make {folder}, if it is missing", partial(folder.mkdir, parents=True, exist_ok=True))


def _configure(text: str) -> None:
    """What is wrong does not stay: the next run would keep it."""
    fresh = CONFIG.with_name("config.new.toml")
    check = (STEMD, "config", "check", "-c", fresh)
    write(fresh, text)
    try:
        if answer(*check) is None and run(*check).returncode != 0:  # only a mistake is worth its words
            message = "these options make no configuration, as it says above: run scripts/install again with others"
            raise CannotGoOn(message)
        fresh.replace(CONFIG)
    finally:
        fresh.unlink(missing_ok=True)


def _folders() -> list[str]:
    """Ask the installed stemd for the folders that it writes to: it knows how they stand in the configuration."""
    told = _configured(
        "rules = settings.rules; own = [f for r in rules for f in r.own_folders if not f.is_relative_to(r.inbox)]; "
        "answer = [str(f) for f in (*(f for r in rules for f in (r.inbox, r.outbox)), *own)]"
    )
    if told is None:
        message = f"{CONFIG} is not right; see: {STEMD} config check -c {CONFIG}"
        raise CannotGoOn(message)
    return [*told, *filter(None, [_state()])]


def _away() -> set[str]:
    """Ask the installed stemd which folders lie below a mount point of /etc/fstab with nothing mounted there."""
    told = _configured(
        "from stemd.mounts import unmounted; folders = (f for r in settings.rules for f in "
        "(r.inbox, r.outbox, *r.own_folders)); answer = [str(f) for f in folders if unmounted(f)]"
    )
    return set(told or ())


def _state() -> str:
    """The state folder; "" where it lies in the one that the units themselves open."""
    told = str(_configured("answer = str(settings.daemon.state_dir)") or STATE)
    return "" if Path(told).is_relative_to(STATE) else told


def _configured(code: str) -> Any:
    """Have the installed stemd make `answer` of its `settings`; None where it, or the configuration, is not right.

    What begins with `~` there is below the home of the user stemd.
    """
    load = "import json, pathlib, sys, stemd.config as c; settings = c.load(pathlib.Path(sys.argv[1])); "
    told = answer("env", f"HOME={STATE}", PYTHON, "-c", f"{load}{code}; print(json.dumps(answer))", CONFIG)
    return None if told is None else json.loads(told)


def _copy_ledger() -> None:
    """Before anything of the present version is touched. Without a working configuration, look where it usually is."""
    copy_ledger(Path(_configured("answer = str(settings.daemon.state_dir)") or STATE) / "ledger.sqlite3")


def _make_folders() -> None:
    """The sandboxed service cannot. Where no parent is there, or fstab says so, a share is not mounted: none is made.

    A folder that is there keeps its owner and rights; the doctor says if they do not do.
    """
    state, away = _state(), _away()
    for folder in map(Path, _folders()):
        if str(folder) not in away and folder.parent.is_dir() and not folder.exists():
            folder.mkdir()
            shutil.chown(folder, "stemd", "stemd")
            folder.chmod(0o750 if str(folder) == state else 0o2775)


def _open_folders() -> None:
    """The pages see what they play; a drop-in that is not needed any more goes."""
    folders, state = _folders(), _state()
    texts = {
        "stemd.service": drop_in(folders, state),
        "stemd-web.service": reading_drop_in(state, [folder for folder in folders if folder != state]),
        "stemd-alerts.service": reading_drop_in(state),
        "stemd-report.service": reading_drop_in(state),
    }
    for name, text in texts.items():
        if text:
            write(_drop_in_of(name), text)
        elif _drop_in_of(name).exists():
            _remove_drop_in(_drop_in_of(name))


def _close_folders() -> Iterator[Step]:
    for path in filter(Path.exists, map(_drop_in_of, SERVICES)):
        yield Step(f"remove {path}", partial(_remove_drop_in, path))


def _drop_in_of(unit: str) -> Path:
    return UNITS / f"{unit}.d/folders.conf"


def _remove_drop_in(path: Path) -> None:
    """Remove it, and its folder unless somebody else's drop-ins are in it."""
    path.unlink()
    if not any(path.parent.iterdir()):
        path.parent.rmdir()


def _fetch() -> None:
    """The only unit that may reach the network does it. Without network the jobs wait, and say so."""
    if run("systemctl", "start", "stemd-models.service").returncode != 0:
        sys.stderr.write("  weights were not fetched; jobs wait for them. Later: systemctl start stemd-models\n")


def _examine() -> None:
    """Warnings do not stop an installation; problems do, with the doctor's advice on the screen."""
    folders = {"HOME": STATE, "XDG_CACHE_HOME": CACHE, "HF_HOME": CACHE / "huggingface", "TORCH_HOME": CACHE / "torch"}
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "STEMD_FETCH": "systemctl start stemd-models",
        **{name: str(folder) for name, folder in folders.items()},
    }
    if run("runuser", "-u", "stemd", "--", STEMD, "doctor", "-c", CONFIG, env=environment).returncode != 0:
        message = (
            "the doctor found problems: solve them as it says, what concerns rules and models "
            f"in {CONFIG}, then run scripts/install again"
        )
        raise CannotGoOn(message)
