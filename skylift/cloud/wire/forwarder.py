"""The forwarder: servers reach indexes, mirrors and proxies through it. It adds the passwords that servers do not know.

From an index it fetches only what is below the index's URL, and files of the same origin that a page of the index links
to; only with GET and HEAD. It follows no redirect. It writes new requests and new answers, and copies only bodies. Each
request has its own connection and thread, and needs no more memory for a large page.
"""

from __future__ import annotations

import http.client
import logging
import re
import socket
import ssl
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urljoin

from skylift.cloud.domain.upstream import PORTS, Upstream
from skylift.cloud.wire.connection_limit import ConnectionLimit, ConnectionSlot

log = logging.getLogger("skylift.cloud.wire")

MOST = 512
"""The most connections at a time; half of them from one server."""
PATIENCE = 60.0
"""Seconds in which either end must go on with a request."""
IDLE = 3600.0
"""Seconds of silence after which a connection through a proxy is closed."""
MOST_LINKS = 200_000
_PIECE = 128 * 1024

# No segment is empty, `.` or `..`, and none has, encoded, what another program may take for the end of a segment or of
# the path, or decode once more: / \ ; ? % and control characters, or a dot.
_TARGET = re.compile(
    r"(?=/)(?:/(?!\.\.?(?:[/?]|\Z))(?:[\w.~!$&'()*+,=:@-]|%(?!2[5EF]|3[BF]|5C|7F|C[01]|[01])[0-9A-F]{2})+)*/?"
    r"(?:\?[\w.~!$&'()*+,;=:@%/?-]*)?",
    re.ASCII | re.IGNORECASE,
)
_LINK = re.compile(rb"""(?:\shref\s*=\s*|"url"\s*:\s*)["']?([^"'\s<>]+)""", re.IGNORECASE)
_USERINFO = re.compile(rb"""(?<=//)[^/?#\s"'<>]*@""")
_METADATA = re.compile(r"\.metadata(?=\?|\Z)")
_PAGES = ("text/html", "application/vnd.pypi.simple.")
_ASKED = ("Accept", "User-Agent", "Range", "If-Range", "If-None-Match", "If-Modified-Since", "Cache-Control")
_ANSWERED = (
    "Content-Type Content-Length Content-Encoding Content-Range Accept-Ranges ETag Last-Modified Cache-Control Date "
    "X-PyPI-Last-Serial"
).split()
_OWN = ("proxy-authorization", "proxy-connection", "connection", "keep-alive", "max-forwards")
"""Headers that are between a client and its proxy."""
_FOR_PROXY = re.compile(r"https?://[\x21-\x7e]+|[A-Za-z0-9._:\[\]-]+:[0-9]{1,5}")


def forward(
    upstreams: Iterable[Upstream],
    listen: Callable[[int], socket.socket],
    authorities: str | None = None,
    sender: Callable[[str], str] = str,
) -> None:
    """Starts serving all `upstreams`. `listen` gives the socket for a port that servers know. `authorities` are
    certificates to trust instead of this machine's. `sender` names the server that has an address."""
    crowd = ConnectionLimit(MOST)
    for upstream in upstreams:
        handler: Callable[..., _Request] = partial(_Tunnel, upstream)
        if upstream.kind == "index":
            handler = partial(_IndexRequest, Index(upstream, authorities))
        listener = _Listener(listen(upstream.listen), handler, crowd, sender)
        threading.Thread(target=listener.serve_forever, args=(3600,), name="forwarder", daemon=True).start()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    _lock = threading.Lock()
    """One lock for all listeners, because they share one `ConnectionLimit`."""

    def __init__(
        self,
        sock: socket.socket,
        handler: Callable[..., BaseHTTPRequestHandler],
        crowd: ConnectionLimit,
        sender: Callable[[str], str],
    ) -> None:
        super().__init__(sock.getsockname(), handler, bind_and_activate=False)
        self.socket.close()
        self.socket, self._crowd, self._sender, self._seats = sock, crowd, sender, dict[Any, ConnectionSlot]()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Refuses a connection over the limit before it gets a thread."""
        with self._lock:
            if seat := self._crowd.enter(self._sender(client_address[0])):
                self._seats[request] = seat
        return seat is not None

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        with self._lock:
            if seat := self._seats.pop(request, None):
                seat.leave()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Either end may go away in the middle as often as it likes."""
        if not isinstance(sys.exc_info()[1], (OSError, http.client.HTTPException)):
            log.exception("a request of %s to the forwarder", client_address[0])


class Index:
    """An index or a mirror: what of it may be fetched, and how."""

    def __init__(self, upstream: Upstream, authorities: str | None = None) -> None:
        self._upstream = upstream
        self._roots = tuple(unquote(path).rstrip("/") + "/" for path in upstream.paths)
        self._linked: set[str] = set()
        default = f"(?::{upstream.port})?" if upstream.port == PORTS[upstream.scheme] else ""
        host = re.escape(upstream.origin.partition("://")[2])
        origin = rf"(?:{upstream.scheme}:)?//{host}{default}(?=[/?#\s\"'<>]|\Z)"
        self._origin = re.compile(origin.encode(), re.IGNORECASE)
        self._trust = ssl.create_default_context(cadata=authorities)
        if not upstream.verified:
            self._trust.check_hostname, self._trust.verify_mode = False, ssl.CERT_NONE
        # Without urllib's handlers for redirects and errors: those are answers, too.
        self._opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler({upstream.scheme: upstream.via} if upstream.via else {}),
            urllib.request.HTTPHandler(),
            urllib.request.HTTPSHandler(context=self._trust),
        ):
            self._opener.add_handler(handler)

    def may_fetch(self, target: str) -> bool:
        where = _where(target)
        below = f"{where.partition('?')[0]}/".startswith(self._roots)
        return bool(where) and (below or _METADATA.sub("", where) in self._linked)

    def open(self, method: str, target: str, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        """Raises OSError, HTTPException and ValueError."""
        sent = {**headers, "Authorization": self._upstream.authorization}
        asked = urllib.request.Request(self._upstream.origin + target, headers=sent, method=method)  # noqa: S310 - http, https
        answer: http.client.HTTPResponse = self._opener.open(asked, timeout=PATIENCE)
        return answer

    def page(self, target: str, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """A page as servers get it. What it links to may be fetched from now on. Raises HTTPException."""
        rest = b""
        for piece in pieces:
            text = rest + piece
            # No link goes across the beginning of an element or of an object.
            end = max(text.rfind(b"<"), text.rfind(b"{"), 0)
            rest = text[end:]
            if len(rest) > 2 * _PIECE:
                raise http.client.HTTPException("a page that cannot be read")
            if end:
                yield self._read(target, text[:end])
        if rest:
            yield self._read(target, rest)

    def _read(self, target: str, text: bytes) -> bytes:
        seen, here = self._as_seen(text), self._upstream.as_seen
        if len(self._linked) > MOST_LINKS:
            self._linked.clear()
        for link in _LINK.finditer(seen):
            with suppress(ValueError):
                place = urljoin(here + target, link[1].decode("latin-1").replace("&amp;", "&")).partition("#")[0]
                own = place.removeprefix(here)
                if own != place and not self.may_fetch(own) and (where := _where(own)):
                    self._linked.add(where)
        return seen

    def moved(self, target: str, location: str) -> str:
        """The place of a redirect as servers get it. Raises ValueError."""
        return urljoin(self._upstream.as_seen + target, self._as_seen(location.encode("latin-1")).decode("latin-1"))

    def _as_seen(self, text: bytes) -> bytes:
        return self._origin.sub(self._upstream.as_seen.encode(), _USERINFO.sub(b"", text))


def _where(target: str) -> str:
    """The target as its index reads it; empty if two programs might read it in different ways."""
    path, mark, query = target.partition("?")
    return unquote(path) + mark + query if len(target) <= 4096 and _TARGET.fullmatch(target) else ""


class _Request(BaseHTTPRequestHandler):
    """One request, after which the connection is closed."""

    protocol_version = "HTTP/1.1"
    timeout = PATIENCE

    def version_string(self) -> str:
        return "skylift"

    def log_message(self, format: str, *args: Any) -> None:
        """Logs nothing: servers would fill the log."""

    def say(self, status: int, words: str) -> None:
        """Answers in the forwarder's own words."""
        body = f"skylift: {words}\n".encode()
        self.answer(status, {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(body))})
        if self.command != "HEAD":
            self.wfile.write(body)

    def answer(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()


class _IndexRequest(_Request):
    def __init__(self, index: Index, *args: Any) -> None:
        self._index = index
        super().__init__(*args)

    def do_GET(self) -> None:
        if not self._index.may_fetch(self.path):
            return self.say(404, "this is neither below the index nor a file that it links to")
        asked = {name: value for name in _ASKED if (value := self.headers.get(name)) and value.isprintable()}
        try:
            answer = self._index.open(self.command, self.path, asked)
        except (OSError, http.client.HTTPException, ValueError) as error:
            # The others' words may have a part of a URL in them.
            why = str(error) if isinstance(error, OSError) else type(error).__name__
            return self.say(502, f"the index cannot be reached from this server's host: {why}")
        with closing(answer):
            return self._pass_on(answer)

    do_HEAD = do_GET

    def _pass_on(self, answer: http.client.HTTPResponse) -> None:
        headers = {name: value for name in _ANSWERED if (value := answer.getheader(name))}
        page = headers.get("Content-Type", "").lower().startswith(_PAGES)
        if answer.status in (301, 302, 303, 307, 308):
            place = self._index.moved(self.path, answer.getheader("Location", ""))
            return self.answer(answer.status, {"Location": place, "Content-Length": "0"})
        if answer.status not in (200, 206, 304) or (page and (answer.status == 206 or "Content-Encoding" in headers)):
            said = f"the index answers {answer.status} to the password that this server's host has for it"
            return self.say(answer.status if answer.status >= 400 else 502, said)
        pieces: Iterable[bytes] = iter(partial(answer.read, _PIECE), b"")
        chunked = self.command == "GET" and answer.status != 304 and (page or "Content-Length" not in headers)
        if page:
            headers.pop("Content-Length", None)
            pieces = self._index.page(self.path, pieces)
        self.answer(answer.status, {**headers, **({"Transfer-Encoding": "chunked"} if chunked else {})})
        for piece in pieces:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        if chunked and not answer.length:  # not where the index went away in the middle
            self.wfile.write(b"0\r\n\r\n")
        return None


class _Tunnel(_Request):
    """A request to a proxy, and whatever follows on its connection."""

    rbufsize = 0  # what follows the head is read from the socket

    def __init__(self, upstream: Upstream, *args: Any) -> None:
        self._upstream = upstream
        super().__init__(*args)

    def handle_expect_100(self) -> bool:
        return True  # the proxy answers

    def _forward(self) -> None:
        lines = [f"{name}: {value}" for name, value in self.headers.items() if name.lower() not in _OWN]
        if not _FOR_PROXY.fullmatch(self.path) or self.headers.defects or not all(map(str.isprintable, lines)):
            return self.say(400, "this is not a request to a proxy")
        close = [] if self.command == "CONNECT" else ["Connection: close"]
        first = f"{self.command} {self.path} {self.request_version}"
        lines = [first, *lines, *close, f"Proxy-Authorization: {self._upstream.authorization}", "", ""]
        try:
            proxy = socket.create_connection((self._upstream.host, self._upstream.port), PATIENCE)
        except OSError as error:
            return self.say(502, f"the proxy cannot be reached from this server's host: {error}")
        with closing(proxy):
            proxy.sendall("\r\n".join(lines).encode("latin-1"))
            for one in (proxy, self.connection):
                one.settimeout(IDLE)
            back = threading.Thread(target=_pump, args=(self.connection, proxy), daemon=True)
            back.start()
            _pump(proxy, self.connection)
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            back.join()
        return None

    # Not TRACE, which a proxy may answer with all that it was sent.
    do_CONNECT = do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _forward


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(64 * 1024):
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
