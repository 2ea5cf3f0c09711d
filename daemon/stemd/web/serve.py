"""Serves the application with uvicorn until it is told to stop."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any, Final

import uvicorn
from loguru import logger

from stemd.errors import StemdError
from stemd.web.app import make_app
from stemd.web.connection import Connection
from stemd.web.guard import is_loopback

if TYPE_CHECKING:
    from stemd.web.studio import Studio

_SHORTEST: Final = 12
_LATIN_1_ENDS: Final = "\xff"  # the last character that a header can carry
_GRACE: Final = 3
_AT_ONCE: Final = 64  # connections accepted before the first of them is looked at


def serve(studio: Studio, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT. Raises StemdError "usage" for an address that needs a token, "port-taken"."""
    check(host, studio.token)
    config = uvicorn.Config(
        make_app(studio), host=host, port=port, log_config=None, access_log=False, server_header=False,
        proxy_headers=False, timeout_graceful_shutdown=_GRACE, lifespan="off", ws="none", http=Connection,
        backlog=_AT_ONCE,
    )  # fmt: skip
    signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn raises it again once it has ended in good order
    _Server(config).run()


def check(host: str, token: str) -> None:
    """Raise StemdError "usage" where a token is missing, too short, or cannot be carried by a request."""
    if not is_loopback(host) and not token:
        raise StemdError(
            "usage", f"{host} can be reached by others, which needs a token",
            "set STEMD_WEB_TOKEN to a long random word, or leave --host out",
        )  # fmt: skip
    if token and len(token) < _SHORTEST:
        raise StemdError("usage", f"the token is shorter than {_SHORTEST} characters", "try: openssl rand -hex 16")
    foreign = next((each for each in token if each > _LATIN_1_ENDS or not each.isprintable()), None)
    if foreign is not None:
        raise StemdError(
            "usage", f"the token holds {foreign!a}, which no request can carry", "try: openssl rand -hex 16"
        )


class _Server(uvicorn.Server):
    """Says where the pages are, and why they cannot be served."""

    async def startup(self, sockets: Any = None) -> None:
        try:
            await super().startup(sockets)
        except SystemExit:
            raise StemdError(
                "port-taken", f"port {self.config.port} of {self.config.host} cannot be used",
                "another program listens there; choose another with --port",
            ) from None  # fmt: skip
        if self.started:
            listening = self.servers[0].sockets[0].getsockname()[1]
            host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
            logger.info("the pages are at http://{}:{}/", host, listening)
