"""The forwarder: indexes, mirrors and proxies as servers have them. It adds the passwords that servers do not know.

Of an index it fetches what is below its URL, and files of the same origin that a page of the index links to; nothing
else, and by no other method than GET and HEAD. It follows no redirect. What it sends is written anew, and so is what it
answers, but for the body. Each request has a connection and a thread of its own.
"""

from __future__ import annotations

import http.client
import json
import logging
import re
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from functools import partial
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from skylift.cloud.domain.upstream import PORTS, Upstream, basic
from skylift.cloud.wire.crowd import Crowd

log = logging.getLogger("skylift.cloud.wire")

MOST = 512
"""The most connections to an upstream at a time; half of them from one server."""
PATIENCE = 60.0
"""Seconds in which either end must go on with a request."""
IDLE = 3600.0
"""Seconds of silence after which a connection through a proxy is closed."""
LARGEST_PAGE = 64 << 20
MOST_LINKS = 200_000

_PATH = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,=:@%-]*)+")
_QUERY = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*")
_SEGMENT = re.compile(r"(?!\.\.)(?!\.$)[^/\\;%\x00-\x1f\x7f]+")
_BESIDE = re.compile(r"\.(?:metadata|asc|provenance)$")
_PAGES = ("text/html", "application/vnd.pypi.simple.")
_ASKED = ("Accept", "User-Agent", "Range", "If-Range", "If-None-Match", "If-Modified-Since", "Cache-Control")
_ANSWERED = (
    "Content-Type Content-Length Content-Encoding Content-Range Accept-Ranges ETag Last-Modified Cache-Control Date "
    "X-PyPI-Last-Serial"
).split()
_OWN = ("proxy-authorization", "proxy-connection", "connection", "keep-alive", "max-forwards")
"""Headers that are between a client and its proxy."""
_FOR_PROXY = re.compile(r"https?://[\x21-\x7e]+|[A-Za-z0-9._:\[\]-]+:[0-9]{1,5}")

Where = tuple[tuple[str, ...], str]
"""The decoded segments of a path, and the query."""


class Forwarder:
    """Listens for each upstream, from `start` to `close`."""

    def __init__(self, upstreams: Iterable[Upstream], authorities: str | None = None) -> None:
        """`authorities` are certificates in place of those that this machine trusts."""
        self._upstreams, self._authorities = tuple(upstreams), authorities
        self._listeners: list[_Listener] = []

    def start(self, listen: Callable[[int], socket.socket]) -> None:
        """`listen` gives the socket for a port that servers know."""
        for upstream in self._upstreams:
            handler: Callable[..., _Request] = partial(_Tunnel, upstream)
            if upstream.kind == "index":
                handler = partial(_IndexRequest, Index(upstream, self._authorities))
            listener = _Listener(listen(upstream.listen), handler)
            threading.Thread(target=listener.serve_forever, name="forwarder", daemon=True).start()
            self._listeners.append(listener)

    def close(self) -> None:
        """Accept no more; what is under way ends with the process."""
        for listener in self._listeners:
            listener.shutdown()
            listener.server_close()
        self._listeners.clear()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, sock: socket.socket, handler: Callable[..., BaseHTTPRequestHandler]) -> None:
        super().__init__(sock.getsockname(), handler, bind_and_activate=False)
        self.socket.close()
        self.socket = sock
        self._crowd, self._lock = Crowd(MOST), threading.Lock()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In the request's thread."""
        with self._lock:
            seat = self._crowd.enter(client_address[0])
        if seat is not None:
            try:
                super().finish_request(request, client_address)
            finally:
                with self._lock:
                    seat.leave()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Servers may go away in the middle as often as they like."""
        if not isinstance(sys.exc_info()[1], OSError):
            log.exception("a request of %s to the forwarder", client_address[0])


def _where(target: str) -> Where | None:
    """None for a target that two programs might read in two ways."""
    path, _, query = target.partition("?")
    if len(target) > 4096 or not _PATH.fullmatch(path) or not _QUERY.fullmatch(query):
        return None
    segments = tuple(unquote(segment) for segment in path.split("/")[1:])
    whole = all(map(_SEGMENT.fullmatch, segments[:-1])) and (not segments[-1] or _SEGMENT.fullmatch(segments[-1]))
    return (segments, query) if whole else None


class Index:
    """An index or a mirror: what of it may be fetched, and how."""

    def __init__(self, upstream: Upstream, authorities: str | None = None) -> None:
        self._upstream = upstream
        self._trust = ssl.create_default_context(cadata=authorities)
        if not upstream.verified:
            self._trust.check_hostname, self._trust.verify_mode = False, ssl.CERT_NONE
        self._roots = [tuple(filter(None, path.split("/"))) for path in map(unquote, upstream.paths)]
        self._linked: set[Where] = set()
        origin = f"{upstream.scheme}://(?:[^/\\s\"'<>@]*@)?{re.escape(upstream.origin.partition('://')[2])}"
        default = f"(?::{upstream.port})?" if upstream.port == PORTS[upstream.scheme] else ""
        self._origin = re.compile(f"{origin}{default}(?=/)".encode(), re.IGNORECASE)

    def may_fetch(self, target: str) -> bool:
        where = _where(target)
        if where is None:
            return False
        if any(where[0][: len(root)] == root for root in self._roots):
            return True
        *folder, name = where[0]
        return ((*folder, _BESIDE.sub("", name)), where[1]) in self._linked

    def open(
        self, method: str, target: str, headers: Mapping[str, str]
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Raises OSError and HTTPException."""
        upstream, via = self._upstream, urlsplit(self._upstream.via)
        if via.scheme not in ("", "http"):
            raise OSError("the proxy on the way is no HTTP proxy")
        host, port = (via.hostname or "", via.port or 80) if via.scheme else (upstream.host, upstream.port)
        credentials = via.netloc.rpartition("@")[0]
        for_proxy = {"Proxy-Authorization": basic(credentials)} if credentials else {}
        headers = {**headers, "Authorization": upstream.authorization, "Accept-Encoding": "identity"}
        connection: http.client.HTTPConnection
        if upstream.scheme == "https":
            connection = http.client.HTTPSConnection(host, port, timeout=PATIENCE, context=self._trust)
            if via.scheme:
                connection.set_tunnel(upstream.host, upstream.port, for_proxy)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=PATIENCE)
            if via.scheme:
                target, headers = upstream.origin + target, {**headers, **for_proxy}
        try:
            connection.request(method, target, headers={**headers, "Connection": "close"})
            return connection, connection.getresponse()
        except (OSError, http.client.HTTPException):
            connection.close()
            raise

    def page(self, target: str, kind: str, body: bytes) -> bytes:
        """A page as servers get it. What it links to may be fetched from now on."""
        if len(self._linked) > MOST_LINKS:
            self._linked.clear()
        base = self._upstream.origin + target
        for link in _links(kind, body.decode(errors="replace")):
            with suppress(ValueError):
                if (own := self._own(urljoin(base, link))) and (where := _where(own)):
                    self._linked.add(where)
        return self._origin.sub(self._upstream.as_seen.encode(), body)

    def moved(self, target: str, location: str) -> str:
        """The place of a redirect as servers get it; empty for none that they may know. Raises ValueError."""
        absolute = urljoin(self._upstream.origin + target, location)
        own, parts = self._own(absolute), urlsplit(absolute)
        if own is not None:
            return self._upstream.as_seen + own
        plain = parts.scheme in PORTS and re.fullmatch(r"[\x21-\x7e]+", absolute)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if plain else ""

    def _own(self, url: str) -> str | None:
        """The target of a URL of this origin."""
        parts, upstream = urlsplit(url), self._upstream
        port = parts.port or PORTS.get(parts.scheme)
        if (parts.scheme, parts.hostname, port) != (upstream.scheme, upstream.host, upstream.port):
            return None
        return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _links(kind: str, text: str) -> Iterator[str]:
    if kind.startswith("text/html"):
        parser = _Links()
        parser.feed(text)
        yield from (urljoin(parser.base, link) for link in parser.found)
        return
    with suppress(ValueError, TypeError, KeyError, RecursionError):
        yield from [str(file["url"]) for file in json.loads(text)["files"]]


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.base, self.found = "", list[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        link = dict(attrs).get("href")
        if link and tag == "a":
            self.found.append(link)
        elif link and tag == "base":
            self.base = self.base or link


class _Request(BaseHTTPRequestHandler):
    """One request, after which the connection is closed."""

    protocol_version = "HTTP/1.1"
    timeout = PATIENCE

    def version_string(self) -> str:
        return "skylift"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: servers would fill the log."""

    def say(self, status: int, words: str) -> None:
        """An answer of the forwarder's own."""
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
        asked = {name: value for name in _ASKED if (value := self.headers.get(name)) and value.isprintable()}
        try:
            if not self._index.may_fetch(self.path):
                return self.say(404, "this is neither below the index nor a file that it links to")
            connection, answer = self._index.open(self.command, self.path, asked)
        except (OSError, http.client.HTTPException) as error:
            return self.say(502, f"the index cannot be reached from this server's host: {error}")
        with closing(connection):
            return self._pass_on(answer)

    do_HEAD = do_GET

    def _pass_on(self, answer: http.client.HTTPResponse) -> None:
        headers = {name: value for name in _ANSWERED if (value := answer.getheader(name))}
        page = headers.get("Content-Type", "").startswith(_PAGES)
        if answer.status in (301, 302, 303, 307, 308):
            place = self._index.moved(self.path, answer.getheader("Location", ""))
            return self.answer(answer.status, {"Location": place, "Content-Length": "0"})
        if answer.status in (401, 403, 407):
            return self.say(answer.status, "the index refuses the password that this server's host has for it")
        if answer.status not in (200, 304) and (page or answer.status != http.client.PARTIAL_CONTENT):
            return self.say(answer.status, f"the index answers {answer.status}")
        if not page or answer.status != http.client.OK:
            self.answer(answer.status, headers)
            while piece := answer.read(64 * 1024):
                self.wfile.write(piece)
            return None
        body = answer.read(LARGEST_PAGE + 1)
        if len(body) > LARGEST_PAGE or "Content-Encoding" in headers:
            return self.say(502, "the index answers with a page that cannot be read")
        body = self._index.page(self.path, headers["Content-Type"], body)
        self.answer(answer.status, {**headers, "Content-Length": str(len(body))})
        if self.command != "HEAD":
            self.wfile.write(body)
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
            return self.say(400, "this is no request to a proxy")
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
