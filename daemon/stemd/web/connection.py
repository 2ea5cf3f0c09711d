"""A browser's connection: only so many are held at once, and one that brings no whole request is closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio

    from uvicorn.protocols.http.h11_impl import RequestResponseCycle

PATIENCE: Final = 10.0
"""Seconds for a whole request, from the connection or from the answer before it."""
MOST: Final = 256
"""Connections at once; with a file for each they stay below systemd's 1,024 open files."""
MOST_OF_ONE: Final = 64
"""Connections at once from one address; a browser opens six."""


class Connection(H11Protocol):
    """HTTP/1.1 as uvicorn speaks it. What is being answered, such as a long download, has all the time it takes."""

    @property
    def address(self) -> str:
        """Who is at the other end; "" where the system does not tell."""
        return self.client[0] if self.client else ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Begin to wait for a request, unless there are too many connections already."""
        super().connection_made(transport)
        self._wait_for_request()
        if len(self.connections) > MOST or self._of_its_address() > MOST_OF_ONE:
            transport.close()

    def handle_events(self) -> None:
        """Take in what has come; a request that is whole is not waited for any more."""
        super().handle_events()
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if cycle is not None and not cycle.more_body and not cycle.response_complete:
            self._overdue.cancel()

    def on_response_complete(self) -> None:
        """Wait for the next request, which may have come already."""
        self._overdue.cancel()
        self._wait_for_request()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._overdue.cancel()
        super().connection_lost(exc)

    def _wait_for_request(self) -> None:
        self._overdue = self.loop.call_later(PATIENCE, self.transport.close)

    def _of_its_address(self) -> int:
        return len([each for each in self.connections if isinstance(each, Connection) and each.address == self.address])
