"""Sends one letter, by the command or to the webhook. Waits for neither longer than it must."""

from __future__ import annotations

import json
import os
import socket
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, Final
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from stemd import __version__
from stemd.errors import EnvironmentFault, StemdError
from stemd.tools import run

if TYPE_CHECKING:
    from stemd.alerts.letter import Letter
    from stemd.config import Notify

_COMMAND: Final = 60.0  # seconds
_WEBHOOK: Final = 15.0  # seconds for the connection, and for each word of the answer
_LONGEST: Final = 100_000  # bytes of one variable of the environment; the kernel's limit is 128 KiB


def send(letter: Letter, notify: Notify) -> None:
    """Send a letter to its receiver. Raises StemdError "not-sent" with the reason."""
    told = letter.facts(socket.gethostname())
    if letter.channel == "command":
        _run(notify.command, told)
    else:
        _post(notify.webhook, told)


def _run(command: tuple[str, ...], told: dict[str, Any]) -> None:
    """Run the command with what is told in its environment."""
    facts = json.dumps(told)
    said = {
        "STEMD_EVENT": told["event"], "STEMD_TEXT": told["text"],
        "STEMD_FACTS": facts if len(facts) <= _LONGEST else json.dumps(told | {"jobs": []}),
    }  # fmt: skip
    environment = os.environ | {name: text.replace("\0", " ") for name, text in said.items()}
    try:
        done = run(command, timeout=_COMMAND, env=environment)
    except StemdError as fault:
        raise _not_sent(f"{command[0]}: {fault.message}") from fault
    if done.returncode:
        raise _not_sent(f"{command[0]} ended with status {done.returncode}: {done.last_words}")


def _post(address: str, told: dict[str, Any]) -> None:
    headers = {"Content-Type": "application/json", "User-Agent": f"stemd/{__version__}"}
    asked = Request(address, json.dumps(told).encode(), headers, method="POST")  # noqa: S310 - config admits only http(s)
    try:
        with build_opener(_NoRedirect).open(asked, timeout=_WEBHOOK):
            pass
    except HTTPError as fault:
        with fault:
            raise _not_sent(f"the webhook answers {fault.code} {fault.reason}") from None
    except (OSError, HTTPException) as fault:
        raise _not_sent(f"the webhook cannot be reached: {fault}") from None


class _NoRedirect(HTTPRedirectHandler):
    """A message that is posted elsewhere would arrive as a question: it is not sent then."""

    def redirect_request(self, *_args: Any) -> None:
        """Follow nothing."""


def _not_sent(why: str) -> StemdError:
    return EnvironmentFault("not-sent", why, "see [notify] in config.toml; to try: stemd alerts --test")
