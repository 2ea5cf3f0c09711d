"""Headless Chromium, driven by its DevTools protocol (https://chromedevtools.github.io/devtools-protocol/)."""

import base64
import contextlib
import itertools
import json
import shutil
import subprocess
import time
from pathlib import Path

from websockets.sync.client import connect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

_QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage", "--mute-audio",
    "--autoplay-policy=no-user-gesture-required", "--remote-debugging-port=0",
)  # fmt: skip


class Browser:
    """One browser with one page. Script errors and refused resources are collected in `complaints`."""

    def __init__(self, profile: Path) -> None:
        self._process = subprocess.Popen(
            [CHROMIUM, *_QUIET, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        port = _patiently(lambda: (profile / "DevToolsActivePort").read_text().split("\n"))
        self._exit = contextlib.ExitStack()
        self._exit.callback(self._end)
        speaking = connect(f"ws://127.0.0.1:{port[0]}{port[1]}", max_size=None, open_timeout=60)
        self._socket = self._exit.enter_context(speaking)
        self._numbers = itertools.count(1)
        self._session = None
        self.complaints: list[str] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable")

    def close(self) -> None:
        self._exit.close()

    def _end(self) -> None:
        self._process.terminate()
        self._process.wait(20)

    def open(self, address: str) -> None:
        self._call("Page.navigate", url=address)
        self.wait("document.readyState === 'complete'")

    def run(self, script: str):
        """Evaluate a script in the page; a promise is awaited."""
        told = self._call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def wait(self, script: str, seconds: float = 60.0):
        """Wait until a script is true."""
        return _patiently(lambda: self.run(script), seconds, script)

    def click(self, selector: str) -> None:
        self.wait(f"!!document.querySelector({selector!r})")
        self.run(f"document.querySelector({selector!r}).click()")

    def point(self, selector: str) -> None:
        """Press and release the mouse in an element's middle."""
        box = f"document.querySelector({selector!r}).getBoundingClientRect()"
        x, y = self.run(f"(({{ x, y, width, height }}) => [x + width / 2, y + height / 2])({box})")
        for kind in ("mousePressed", "mouseReleased"):
            self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def key(self, key: str, code: str = "", *, shift: bool = False) -> None:
        """Press and release a key, as a hand would."""
        told = {"key": key, "code": code or f"Key{key.upper()}", "modifiers": 8 if shift else 0}
        typed = {"text": key, "windowsVirtualKeyCode": ord(key.upper())} if len(key) == 1 else {}
        self._call("Input.dispatchKeyEvent", type="keyDown", **told, **typed)
        self._call("Input.dispatchKeyEvent", type="keyUp", **told)

    def resize(self, width: int, height: int, *, phone: bool = False) -> None:
        self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )  # fmt: skip

    def picture(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"]))

    def _call(self, method: str, **details):
        number = next(self._numbers)
        asked = {"id": number, "method": method, "params": details}
        self._socket.send(json.dumps(asked | ({"sessionId": self._session} if self._session else {})))
        while True:
            told = json.loads(self._socket.recv(timeout=90))
            if told.get("id") == number:
                assert "error" not in told, told["error"]
                return told["result"]
            self._note(told)

    def _note(self, told) -> None:
        details = told.get("params", {})
        if told.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(str(details["exceptionDetails"].get("exception", details)))
        if told.get("method") == "Log.entryAdded" and details["entry"]["level"] == "error":
            self.complaints.append(f"{details['entry']['text']} {details['entry'].get('url', '')}")


def _patiently(look, seconds: float = 60.0, what: object = ""):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if found := look():
                return found
        except (OSError, IndexError):
            pass
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s: {what}")
