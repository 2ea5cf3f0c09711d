"""Events in a real journal, whose daemon runs in namespaces of its own."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.systemd, pytest.mark.acceptance]

JOURNALD = Path("/lib/systemd/systemd-journald")
UNSHARE = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc"]
SCRIPT = """
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/journal /run/log/journal
{journald} 2>/dev/null &
for _ in $(seq 100); do [ -S /run/systemd/journal/socket ] && break; sleep 0.1; done
{python} -c '
from loguru import logger
from stemd.log import journal
logger.remove()
logger.add(journal.Journal(), format="{{message}}")
logger.bind(job=7, rule="karaoke", stage="take").error("a.wav: holds no sound")
logger.bind(job=8, rule="karaoke").info("arrived: b.wav")
'
{journalctl} -D /run/log/journal --sync >/dev/null 2>&1 || sleep 1
{journalctl} -D /run/log/journal -o json --no-pager -p warning STEMD_RULE=karaoke
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make namespaces")
@pytest.mark.skipif(not JOURNALD.exists() or not shutil.which("journalctl"), reason="systemd-journald is not installed")
def test_the_journal_finds_warnings_by_their_rule():
    if subprocess.run([*UNSHARE, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False).returncode:
        pytest.skip("namespaces are not available")
    python, journalctl = shlex.quote(sys.executable), shutil.which("journalctl")
    script = SCRIPT.format(journald=JOURNALD, python=python, journalctl=journalctl)
    told = subprocess.run([*UNSHARE, "sh", "-c", script], capture_output=True, text=True, check=False, timeout=90)
    (found,) = (json.loads(line) for line in told.stdout.splitlines())
    assert found["MESSAGE"] == "[job 7 karaoke take] a.wav: holds no sound"
    assert (found["PRIORITY"], found["STEMD_JOB"], found["STEMD_STAGE"]) == ("3", "7", "take")
