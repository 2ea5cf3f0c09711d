"""The API against its own description, with whatever schemathesis thinks of."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

STEMD = Path(sys.executable).with_name("stemd")
SCHEMATHESIS = STEMD.with_name("schemathesis")
TOKEN = "correct-horse-battery"


@pytest.mark.timeout(300)
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
            [
                SCHEMATHESIS, "run", f"{base}/api/openapi.json", "--phases", "coverage,fuzzing", "-n", "5",
                "--generation-deterministic", "-H", f"Authorization: Bearer {TOKEN}",
            ],
            cwd=house.home, capture_output=True, text=True, timeout=250, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
    finally:
        web.terminate()
        web.wait(20)
        web.stderr.close()
