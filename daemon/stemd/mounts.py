"""Which file system a folder lies on, as the kernel tells; never touches the folder itself beyond one stat."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_SETTLE_LOCAL = 5.0
_SETTLE_NETWORK = 30.0  # seconds: slow copies pause

NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "ncpfs", "davfs"})
NETWORK_FUSE = (
    "fuse.sshfs",
    "fuse.rclone",
    "fuse.glusterfs",
    "fuse.s3fs",
    "fuse.davfs",
    "fuse.gvfsd",
    "fuse.curlftpfs",
)


@dataclass(frozen=True, slots=True)
class FileSystem:
    """The kind of a mounted file system ("ext4", "cifs") and where it is mounted."""

    name: str
    mount_point: Path

    @property
    def network(self) -> bool:
        """Whether files there are changed by other machines, without events and with unreliable locks."""
        return self.name in NETWORK or self.name.startswith(NETWORK_FUSE)

    @property
    def settle(self) -> float:
        """Seconds for which a file must have stayed the same there to count as whole, unless a rule says so."""
        return _SETTLE_NETWORK if self.network else _SETTLE_LOCAL


UNKNOWN = FileSystem("unknown", Path("/"))


def filesystem(path: Path, mountinfo: Path = Path("/proc/self/mountinfo")) -> FileSystem:
    """Find the file system that `path` lies on, or would lie on once it is made."""
    target = os.path.realpath(path)
    best = UNKNOWN
    for line in mountinfo.read_bytes().splitlines():
        fields, _, rest = line.partition(b" - ")
        point = _unescape(fields.split(b" ")[4])
        inside = target == point or target.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(str(best.mount_point)):
            best = FileSystem(rest.split(b" ")[0].decode(), Path(point))
    return best


def unmounted(
    path: Path, fstab: Path = Path("/etc/fstab"), mountinfo: Path = Path("/proc/self/mountinfo")
) -> Path | None:
    """Find the mount point of fstab that `path` is or lies below, where its file system is not; None if all is well.

    What is mounted further below will do: a sandbox may have no more of a share than the folder itself.
    Looks at nothing beside `path`: another share may hang. A machine without fstab has no such mount point.
    """
    try:
        lines = [line.split() for line in fstab.read_bytes().splitlines() if not line.lstrip().startswith(b"#")]
    except OSError:
        return None
    promised = {Path(os.path.normpath(_unescape(line[1]))): os.fsdecode(line[2]) for line in lines if len(line) > 2}  # noqa: PLR2004
    promised.pop(Path("/"), None)
    here = filesystem(path, mountinfo)
    for spelling in (path, Path(os.path.realpath(path))):
        point = next((place for place in (spelling, *spelling.parents) if place in promised), None)
        if point is None:
            continue
        there = filesystem(point, mountinfo)  # a link may lead away from it
        if not any(_holds(found, point, promised[point]) for found in (here, there)):
            return point
    return None


def _holds(here: FileSystem, point: Path, promised: str) -> bool:
    """Whether `here` may be what fstab promises at a mount point, or lies in it."""
    if not here.mount_point.is_relative_to(os.path.realpath(point)):
        return False  # a folder of a disk mounted above
    local = not here.network and not here.name.startswith(("fuse", "autofs"))
    return not (local and FileSystem(promised, point).network)  # a sandbox mounts the bare folder onto itself


def not_mounted(point: Path) -> str:
    """Say what is wrong with what `unmounted` has found."""
    return f"nothing is mounted at {point}, which /etc/fstab names"


def bring_back(folder: Path) -> str:
    """Say what to do about a folder that is not there and may lie on a share."""
    return f"mount its share, or, if it was removed on purpose, make it: mkdir -p {folder}"


def _unescape(field: bytes) -> str:
    """Mount points escape space, tab, newline and backslash as three octal digits (proc(5))."""
    for escape, char in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\")):
        field = field.replace(escape, char)
    return os.fsdecode(field)
