"""The API against its own description, with whatever schemathesis thinks of. It brings thirty packages: not pinned."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

STEMD = Path(sys.executable).with_name("stemd")
SCHEMATHESIS = shutil.which("schemathesis")
TOKEN = "correct-horse-battery"


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.skipif(SCHEMATHESIS is None, reason="schemathesis is not on the PATH (pipx install schemathesis)")
def test_the_api_keeps_what_it_promises(house):
    house.record("a.wav")
    house.start()
    house.held(1)
    web = subprocess.Popen(
        [STEMD, "web", "--port", "0", "--token", TOKEN], cwd=house.home, stderr=subprocess.PIPE, text=True
    )
    try:
        base = re.search(r"http://\S+[0-9]", web.stderr.readline())[0]
        done = subprocess.run(
            [SCHEMATHESIS, "run", f"{base}/api/openapi.json", "-n", "20", "-H", f"Authorization: Bearer {TOKEN}"],
            cwd=house.home, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
    finally:
        web.terminate()
        web.wait(20)
        web.stderr.close()
