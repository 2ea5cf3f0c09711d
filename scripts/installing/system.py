"""What the system itself brings: its packages, and a Python that the service's user can read."""

from __future__ import annotations

import shutil
import sys

from installing.steps import CannotGoOn, answer, must

_MANAGERS = {
    "apt-get": ("apt-get", "install", "-y", "--no-install-recommends"),
    "dnf": ("dnf", "install", "-y"),
    "pacman": ("pacman", "-S", "--needed", "--noconfirm"),
    "zypper": ("zypper", "--non-interactive", "install"),
}
_PYTHONS = ("/usr/bin/python3.11", "/usr/bin/python3.12", "/usr/bin/python3.13", "/usr/bin/python3")
_NEW_ENOUGH = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))"


def packages(*names: str) -> None:
    """Install some with the package manager. Raises CannotGoOn where it is not known, or fails."""
    manager = next((argv for name, argv in _MANAGERS.items() if shutil.which(name)), None)
    if manager is None:
        message = f"this system's package manager is not known: install {' '.join(names)} yourself"
        raise CannotGoOn(message)
    if manager[0] == "apt-get":
        answer("apt-get", "update", "-qq")
    must(*manager, *names)


def python() -> str:
    """Find a Python that makes virtual environments, or install one. Raises CannotGoOn."""
    found = _python()
    if found is None and shutil.which("apt-get"):
        packages("python3", "python3-venv")
        found = _python()
    if found is None:
        message = "no Python 3.11 or newer with venv in /usr/bin: install one with the system's package manager"
        raise CannotGoOn(message)
    return found


def _python() -> str | None:
    own = (
        sys.executable if not sys.executable.startswith(("/home/", "/root/")) and sys.prefix == sys.base_prefix else ""
    )
    return next((path for path in (*_PYTHONS, own) if path and answer(path, "-c", _NEW_ENOUGH) is not None), None)
