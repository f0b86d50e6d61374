"""The gate: every request passes here before NiceGUI sees it. It knows ASGI and nothing else.

Refused is, in this order: a peer that is another user of this machine, a `Host` that is not exactly ours (a name that
resolves to a loopback address is a stranger's), whoever has no cookie, what comes from another origin, and a service
worker, which would answer in our name from then on.
"""

from __future__ import annotations

import html
import secrets
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

from skylift.console.address import Place
from skylift.console.entry import COOKIE, COOKIE_SECONDS, SignIn

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

ENTER = "/enter"
_HARMLESS = {"GET", "HEAD", "OPTIONS"}
_ADVICE = "Run `skylift console` again: it prints a new link, which is good for a minute and for one use."


class Gate:
    """`is_owner` says whether a connection's peer is a process of the console's own user."""

    def __init__(self, app: App, place: Place, entry: SignIn, is_owner: Callable[[tuple[str, int]], bool]) -> None:
        self.app, self._place, self._entry, self._is_owner = app, place, entry, is_owner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            refusal = self._refusal(scope)
            if refusal is not None:
                await receive()
                await send({"type": "websocket.close", "code": 1008})
            else:
                await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == ENTER and self._reaches(scope):
            return await self._enter(scope, send)
        refusal = self._refusal(scope)
        if refusal is not None:
            return await _answer(send, *refusal)
        # A proxy's words about a request: there is none in front of us.
        scope["headers"] = [each for each in scope["headers"] if not each[0].lower().startswith(b"x-forwarded-")]
        nonce = secrets.token_urlsafe(16)
        scope["nonce"] = nonce
        policy = self._policy(nonce)

        async def guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), *_guards(policy)]}
            await send(message)

        return await self.app(scope, receive, guarded)

    async def _enter(self, scope: Scope, send: Send) -> None:
        token = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if scope["method"] != "GET" or not self._entry.redeem(token):
            return await _answer(send, 403, "This link was used already, or it is older than a minute.", _ADVICE)
        cookie = f"{COOKIE}={self._entry.make_cookie()}; Path=/; HttpOnly; SameSite=Strict; Max-Age={COOKIE_SECONDS}"
        headers = [(b"set-cookie", cookie.encode())]
        if not self._entry.admits(_cookie(scope)):
            # Whatever somebody else has left at this origin, above all a service worker, goes before our first page.
            headers.append((b"clear-site-data", b'"storage"'))
        # A redirect would be the other site's navigation still, which SameSite=Strict sends no cookie with. A page that
        # goes on by itself is ours.
        return await _answer(send, 200, "Opening the console.", "", headers, onward="/")

    def _reaches(self, scope: Scope) -> bool:
        """Whether this is the owner, who means us."""
        peer = scope.get("client")
        return peer is not None and self._is_owner((peer[0], peer[1])) and _only(scope, b"host") == self._place.host

    def _refusal(self, scope: Scope) -> tuple[int, str, str] | None:
        if not self._reaches(scope):
            return 403, "This console is not for this address, or not for this user.", _ADVICE
        if not self._entry.admits(_cookie(scope)):
            return 401, "This browser has not been let in.", _ADVICE
        origin = _only(scope, b"origin")
        changes = scope["type"] == "websocket" or scope["method"] not in _HARMLESS
        if (origin != self._place.origin) if changes else (origin not in (None, self._place.origin)):
            return 403, "This came from another site.", "Open the console in a tab of its own."
        if scope["type"] == "http" and scope["path"].startswith("/_nicegui_ws"):
            return 403, "Only a websocket leads here.", ""
        if _only(scope, b"service-worker") is not None:
            return 403, "The console has no service worker.", ""
        return None

    def _policy(self, nonce: str) -> str:
        """Vue compiles its templates in the browser, hence 'unsafe-eval'. AG Grid makes style elements."""
        return "; ".join(
            [
                "default-src 'none'",
                f"script-src 'self' 'nonce-{nonce}' 'unsafe-eval'",
                "style-src 'self' 'unsafe-inline'",
                "img-src 'self' data: blob:",
                "font-src 'self' data:",
                "worker-src 'none'",
                f"connect-src 'self' ws://{self._place.host}",
                "form-action 'none'",
                "base-uri 'none'",
                "frame-ancestors 'none'",
            ]
        )


def _guards(policy: str) -> list[tuple[bytes, bytes]]:
    return [
        (b"content-security-policy", policy.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"cross-origin-opener-policy", b"same-origin"),
        (b"cross-origin-resource-policy", b"same-origin"),
    ]


def _all(scope: Scope, name: bytes) -> Iterable[str]:
    return (value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name)


def _only(scope: Scope, name: bytes) -> str | None:
    """The header's value. Two of them are as good as a wrong one."""
    found = list(_all(scope, name))
    return found[0] if len(found) == 1 else ", ".join(found) or None


def _cookie(scope: Scope) -> str:
    found: SimpleCookie = SimpleCookie()
    try:
        for each in _all(scope, b"cookie"):
            found.load(each)
    except CookieError:
        return ""
    return found[COOKIE].value if COOKIE in found else ""


async def _answer(
    send: Send, status: int, message: str, advice: str, more: Iterable[tuple[bytes, bytes]] = (), *, onward: str = ""
) -> None:
    refresh = f'<meta http-equiv="refresh" content="0;url={onward}">' if onward else ""
    body = (
        f'<!doctype html><html lang="en"><meta charset="utf-8">{refresh}<title>skylift console</title>'
        "<style>body{font:16px system-ui;max-width:36rem;margin:20vh auto;padding:0 1rem;color-scheme:light dark}"
        f"</style><h1>{html.escape(message)}</h1><p>{html.escape(advice)}</p></html>"
    ).encode()
    policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"
    headers = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        *_guards(policy),
        *more,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
