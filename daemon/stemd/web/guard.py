"""Who may use the pages: asked of every request before anything else, and said to browsers in every answer.

Three fences: the address that a browser thinks it talks to (a foreign name that resolves to this machine is refused),
the token, and for what changes something the origin and a secret that only our own pages know.
"""

from __future__ import annotations

import contextlib
import hmac
import ipaddress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, cookie_parser
from starlette.responses import JSONResponse, RedirectResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from stemd.web.studio import Studio

COOKIE: Final = "stemd_token"
CSRF_HEADER: Final = "X-Stemd-Csrf"
_READING: Final = frozenset({"GET", "HEAD"})
_LONGEST: Final = 64 * 1024  # bytes of a body: a rejection's reason, however it is written, takes less
_OPEN: Final = frozenset({"/login", "/static/style.css", "/static/icon.svg"})
"""What may be seen without the token."""

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_SAID: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with "no-referrer" a browser sends the login's form with "Origin: null"
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class Guard:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, studio: Studio) -> None:
        self._app = app
        self._studio = studio

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or answer it with what is missing."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, _saying(send))
            return
        if scope["method"] not in _READING:
            receive = _bounded(receive)
        with contextlib.suppress(ClientDisconnect):
            await self._app(scope, receive, _saying(send))

    def _refusal(self, scope: Scope) -> JSONResponse | RedirectResponse | None:
        headers = Headers(scope=scope)
        if not self._studio.token and not _is_this_machine(headers.get("host", "")):
            return _refused(421, "wrong-host", "this page is only for the machine itself", "open it as localhost")
        known = scope["path"] in _OPEN or self._has_token(headers)
        if not known:
            if scope["method"] in _READING and "text/html" in headers.get("accept", ""):
                return RedirectResponse("/login", 303)
            return _refused(401, "no-token", "the token is missing or wrong", "send it: Authorization: Bearer TOKEN")
        if scope["method"] not in _READING and not self._is_our_own(scope, headers):
            return _refused(403, "foreign", "the request does not come from stemd's own page", "reload the page")
        return None

    def _has_token(self, headers: Headers) -> bool:
        wanted = self._studio.token
        return not wanted or same(_bearer(headers), wanted) or same(_cookie(headers), wanted)

    def _is_our_own(self, scope: Scope, headers: Headers) -> bool:
        """Whether a changing request was made by our page, or by a program that sends the token itself."""
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if site not in {None, "same-origin", "none"}:
            return False
        if origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
            return False
        if scope["path"] == "/login":
            return True
        program = bool(self._studio.token) and same(_bearer(headers), self._studio.token)
        return program or same(headers.get(CSRF_HEADER, ""), self._studio.csrf)


def same(given: str, wanted: str) -> bool:
    """Compare secrets in a time that tells nothing."""
    return hmac.compare_digest(given.encode(), wanted.encode())


def is_loopback(host: str) -> bool:
    """Whether an address or name can only be reached from this machine."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _is_this_machine(host: str) -> bool:
    try:
        return is_loopback(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        return False


def _bearer(headers: Headers) -> str:
    kind, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def _cookie(headers: Headers) -> str:
    """Give the token among the cookies, which may be other programs' on this host and need not be well-formed."""
    return cookie_parser(headers.get("cookie", "")).get(COOKIE, "")


def _refused(status: int, code: str, message: str, hint: str) -> JSONResponse:
    return JSONResponse({"code": code, "message": message, "hint": hint}, status)


def _bounded(receive: Receive) -> Receive:
    """Hand on a body as it comes. Raises HTTPException 413 as soon as it is too long."""
    received = 0

    async def hand_on() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > _LONGEST:
            raise HTTPException(413, f"the request's body is longer than {_LONGEST} bytes")
        return message

    return hand_on


def _saying(send: Send) -> Send:
    async def say(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.update(_SAID)
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return say
