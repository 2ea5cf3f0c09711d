"""A share that hangs: a FUSE mount whose server never answers. Whoever asks anything of it waits, as on a dead NAS."""

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

_AT_ONCE = 2  # MNT_DETACH
_LIBC = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def hanging(folder: Path) -> Iterator[None]:
    """Have everything below a folder hang; in the end, all who wait get an error and the folder is as before."""
    try:
        server = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    except OSError as fault:
        pytest.skip(f"no share can be made to hang here: {fault}")
    try:
        options = f"fd={server},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}"
        if _LIBC.mount(b"hanging", os.fsencode(folder), b"fuse", 0, options.encode()):
            pytest.skip(f"no share can be made to hang here: {os.strerror(ctypes.get_errno())}")
        yield
    finally:
        os.close(server)
        _LIBC.umount2(os.fsencode(folder), _AT_ONCE)
