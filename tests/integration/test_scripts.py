"""The scripts a person starts first: in a checkout with spaces in its path, from elsewhere, with what is missing."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
TOOLS = "sh env dirname cat sha256sum id rm flock cp mkdir chmod ln"


@pytest.fixture
def checkout(tmp_path):
    """A checkout whose virtual environment is real, and whose pip only writes down what it was asked for."""
    root = tmp_path / "a studio's checkout"
    shutil.copytree(ROOT / "scripts", root / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / ".ci", root / ".ci")
    for name in ("pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, root / name)
    venv.create(root / ".venv", symlinks=True)
    packages = next((root / ".venv/lib").glob("python*/site-packages"))
    for module in ("pip", "hatchling", "pytest"):
        (packages / module).mkdir()
        (packages / module / "__init__.py").touch()
    said = "import os, sys; print(*sys.argv[1:], sep='|', file=open(os.path.dirname(sys.prefix) + {!r}, 'a'))"
    (packages / "pip/__main__.py").write_text(said.format("/pip.log"))  # in the checkout, wherever it is moved
    (packages / "pytest/__main__.py").write_text(said.format("/pytest.log") + "; print(os.getcwd())")
    return root


@pytest.fixture
def bare(tmp_path):
    """A PATH with the commonest tools and nothing else."""
    folder = tmp_path / "bare"
    folder.mkdir()
    for tool in TOOLS.split():
        (folder / tool).symlink_to(shutil.which(tool))
    return folder


def put(folder, name, script):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def run(script, *args, path=None, **more):
    env = {**os.environ, "PATH": str(path) if path else os.environ["PATH"], **more}
    return subprocess.run([script, *args], cwd="/", env=env, capture_output=True, text=True, timeout=150, check=False)


def asked(checkout):
    """What pip was asked to install, call by call."""
    log = checkout / "pip.log"
    calls = log.read_text().splitlines() if log.exists() else []
    return [call for call in calls if "install" in call]


@pytest.mark.parametrize("script", ["scripts/setup", "scripts/test", "scripts/check", "scripts/demo", ".ci/run"])
def test_scripts_are_executable_and_parse(script):
    assert os.access(ROOT / script, os.X_OK)
    subprocess.run(["sh", "-n", ROOT / script], check=True)


def test_setup_installs_once_and_then_only_looks(checkout):
    first = run(checkout / "scripts/setup")
    assert first.returncode == 0, first.stderr
    assert "|-c|requirements.lock|" in asked(checkout)[-1]
    assert asked(checkout)[-1].endswith("-e|.[dev]")
    count = len(asked(checkout))

    began = time.monotonic()
    second = run(checkout / "scripts/setup")
    assert time.monotonic() - began < 10
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert len(asked(checkout)) == count


@pytest.mark.parametrize("change", ["requirements.lock", "pyproject.toml", "moved"])
def test_setup_installs_again_when_something_changed(checkout, change):
    run(checkout / "scripts/setup")
    if change == "moved":
        checkout = checkout.rename(checkout.with_name("elsewhere"))
        (checkout / "pip.log").unlink(missing_ok=True)
        again = run(checkout / "scripts/setup")
        assert again.returncode == 0, again.stderr
        assert "making" not in again.stderr
        assert len(asked(checkout)) == 1
        return
    count = len(asked(checkout))
    with (checkout / change).open("a") as file:
        file.write("# changed\n")
    run(checkout / "scripts/setup")
    assert len(asked(checkout)) > count


def test_a_failed_installation_is_not_taken_for_ready(checkout):
    packages = next((checkout / ".venv/lib").glob("python*/site-packages"))
    pip = packages / "pip/__main__.py"
    whole = pip.read_text()
    pip.write_text("import sys; sys.exit('no network' if 'install' in sys.argv else 0)")
    failed = run(checkout / "scripts/setup")
    assert failed.returncode == 1
    assert "no network" in failed.stderr
    assert "could not be installed" in failed.stderr
    pip.write_text(whole)
    assert run(checkout / "scripts/setup").returncode == 0
    assert asked(checkout)


def test_an_environment_in_which_an_installation_was_interrupted_is_made_anew(checkout, bare):
    """pip takes a package for installed whose commands it had not come to make."""
    for tool in ("ffmpeg", "ffprobe"):
        put(bare, tool, "exit 0")
    put(bare, "python3.11", f'[ "$1" = -m ] && {{ echo "made $3" >&2; exit 1; }}; exec "{sys.executable}" "$@"')
    packages = next((checkout / ".venv/lib").glob("python*/site-packages"))
    killed = "import os, signal, sys; 'install' in sys.argv and os.kill(os.getpid(), signal.SIGKILL)"
    (packages / "pip/__main__.py").write_text(killed)
    assert run(checkout / "scripts/setup", path=bare).returncode == 1
    assert "made .venv" in run(checkout / "scripts/setup", path=bare).stderr


def test_another_users_environment_is_left_alone(checkout, bare):
    if os.getuid():
        pytest.skip("only root can give a folder away")
    for tool in ("ffmpeg", "ffprobe"):
        put(bare, tool, "exit 0")
    (checkout / ".venv/bin/python").unlink()
    os.chown(checkout / ".venv", 12345, 12345)
    result = run(checkout / "scripts/setup", path=f"{bare}:{os.environ['PATH']}")
    assert result.returncode == 1
    assert "another user's" in result.stderr
    assert (checkout / ".venv/pyvenv.cfg").exists()


@pytest.mark.parametrize("script", ["make-songs", "train-demo-model", "bench-quality"])
def test_scripts_go_on_with_the_checkouts_python_or_say_what_to_install(checkout, tmp_path, script):
    """Started with a Python that lacks what they need; .venv's lacks it too."""
    venv.create(tmp_path / "another", symlinks=True)
    python, more = tmp_path / "another/bin/python", ["x"] if script == "train-demo-model" else []
    cache = ["--cache", "c"] if script == "bench-quality" else []
    argv = [python, checkout / "scripts" / script, "songs", *more, *cache]
    result = subprocess.run(argv, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert result.returncode == 1
    assert "numpy" in result.stderr
    assert ".venv/bin/pip install -c requirements.lock -e '.[training]'" in result.stderr
    assert "Traceback" not in result.stderr


def test_two_setups_at_once_install_once(checkout):
    both = [subprocess.Popen([checkout / "scripts/setup"], stderr=subprocess.PIPE) for _ in range(2)]
    assert [process.communicate(timeout=60) and process.returncode for process in both] == [0, 0]
    assert len(asked(checkout)) == 1


def test_without_python_setup_says_so(checkout, bare):
    shutil.rmtree(checkout / ".venv")
    for tool in ("ffmpeg", "ffprobe"):
        put(bare, tool, "exit 0")
    put(bare, "python3.11", "exit 127")  # on the PATH, but does not run, as a shim of pyenv
    result = run(checkout / "scripts/setup", path=bare)
    assert result.returncode == 1
    assert "no Python 3.11 or newer" in result.stderr
    assert "STEMD_PYTHON" in result.stderr


def test_a_python_that_does_not_run_is_passed_over(checkout, bare):
    shutil.rmtree(checkout / ".venv")
    for tool in ("ffmpeg", "ffprobe"):
        put(bare, tool, "exit 0")
    put(bare, "python3.11", "exit 127")
    put(bare, "python3.12", f'[ "$1" = -m ] && {{ echo "made $3" >&2; exit 1; }}; exec "{sys.executable}" "$@"')
    assert "made .venv" in run(checkout / "scripts/setup", path=bare).stderr


def test_without_ffmpeg_and_package_manager_setup_says_so(checkout, bare):
    result = run(checkout / "scripts/setup", path=bare)
    assert result.returncode == 1
    assert "ffmpeg is missing" in result.stderr
    assert "apt-get install ffmpeg" in result.stderr


@pytest.mark.parametrize("manager", ["apt-get", "dnf", "pacman", "zypper"])
def test_ffmpeg_comes_through_the_systems_package_manager(checkout, bare, manager):
    log = checkout / "system.log"
    made = "; ".join(f"ln -s /bin/true '{bare}/{tool}'" for tool in ("ffmpeg", "ffprobe"))
    put(bare, manager, f'echo {manager} "$@" >> {shlex.quote(str(log))}; {made}')
    put(bare, "sudo", 'exec "$@"' if os.getuid() == 0 else 'while [ "$1" = -n ]; do shift; done; exec "$@"')
    result = run(checkout / "scripts/setup", path=bare)
    assert result.returncode == 0, result.stderr
    assert "ffmpeg" in log.read_text()
    assert "package manager" in result.stderr
    assert run(checkout / "scripts/setup", path=bare).stderr == ""


def test_apt_lists_are_fetched_when_a_package_is_not_found(checkout, bare):
    log = checkout / "system.log"
    made = "; ".join(f"ln -s /bin/true '{bare}/{tool}'" for tool in ("ffmpeg", "ffprobe"))
    put(
        bare,
        "apt-get",
        f"echo \"$1\" >> {shlex.quote(str(log))}\ncase $1 in update) : >'{bare}/lists';;\n"
        f"*) [ -e '{bare}/lists' ] || exit 100; {made};; esac",
    )
    put(bare, "sudo", 'while [ "$1" = -n ]; do shift; done; exec "$@"')
    assert run(checkout / "scripts/setup", path=bare).returncode == 0
    assert log.read_text().split() == ["install", "update", "install"]


def test_test_passes_its_arguments_to_pytest_in_the_checkout(checkout):
    result = run(checkout / "scripts/test", "-k", "a name with spaces", "tests/unit")
    assert result.returncode == 0, result.stderr
    assert (checkout / "pytest.log").read_text().endswith("|-k|a name with spaces|tests/unit\n")
    assert result.stdout.strip() == str(checkout)


def test_demo_becomes_stemd_demo(checkout):
    put(checkout / ".venv/bin", "stemd", 'echo "$@"')
    assert run(checkout / "scripts/demo", "--keep", "a b").stdout == "demo --keep a b\n"


@pytest.mark.parametrize("broken", ["", "ruff", "mypy", "lint-imports"])
def test_check_runs_everything_and_fails_with_any(checkout, broken):
    for tool in ("ruff", "mypy", "lint-imports"):
        put(checkout / ".venv/bin", tool, "exit 1" if tool == broken else "exit 0")
    result = run(checkout / "scripts/check")
    assert result.returncode == (1 if broken else 0)
    assert [line for line in result.stdout.splitlines() if line.startswith("==")] == [
        "== ruff check",
        "== ruff format --check",
        "== mypy",
        "== lint-imports",
    ]
    assert broken in result.stderr


@pytest.mark.parametrize("check, tests, status", [("0", "0", 0), ("1", "0", 1), ("0", "1", 1)])
def test_ci_runs_both(checkout, check, tests, status):
    put(checkout / "scripts", "check", f"echo check; exit {check}")
    put(checkout / "scripts", "test", f"echo test; exit {tests}")
    result = run(checkout / ".ci/run")
    assert sorted(result.stdout.split()) == ["check", "test"]
    assert result.returncode == status


# -- the package


def test_the_wheel_holds_everything_but_the_tests(tmp_path):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=60)
    names = set(zipfile.ZipFile(next(tmp_path.glob("stemd-*.whl"))).namelist())
    package = ROOT / "daemon/stemd"
    tracked = subprocess.run(["git", "ls-files", "."], cwd=package, capture_output=True, text=True, check=False)
    files = tracked.stdout.split("\n")[:-1] if tracked.returncode == 0 else [path.name for path in package.glob("*.py")]
    present = {f"stemd/{name}" for name in files if (package / name).exists()}
    assert present - names == set()
    assert not any(name.startswith("tests/") for name in names)
    scripts = next(name for name in names if name.endswith("entry_points.txt"))
    assert "stemd = stemd.cli:main" in zipfile.ZipFile(next(tmp_path.glob("*.whl"))).read(scripts).decode()


def test_every_installed_package_that_stemd_needs_is_pinned():
    pins = dict(
        line.split("==")
        for line in (ROOT / "requirements.lock").read_text().splitlines()
        if line and not line.startswith("#")
    )
    pins = {_plain(name): version for name, version in pins.items()}
    assert pins["torch"] == "2.13.0"
    seen, queue = set(), [("stemd", "dev")]
    while queue:
        name, extra = queue.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for text in metadata.requires(name) or ():
            requirement = Requirement(text)
            if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
                continue
            plain = _plain(requirement.name)
            assert metadata.version(plain).partition("+")[0] == pins[plain]
            queue += [(plain, inner) for inner in requirement.extras or {""}]
    assert len({name for name, _ in seen}) > 50


def _plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()
