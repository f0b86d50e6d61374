"""A package index and a proxy that ask for a password, for tests of what keeps it."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SECRET = "s3cret-w0rd"
AUTHORIZATION = "Basic bWU6czNjcmV0LXcwcmQ="


@dataclass
class Answer:
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass
class Index:
    """`answers` by target; `asked` is what came: method, target and headers."""

    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    port: int = 0

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def page(self, target: str, *links: str) -> None:
        body = "".join(f'<a href="{link}">x</a>\n' for link in links).encode()
        self.answers[target] = Answer(200, {"Content-Type": "text/html; charset=utf-8"}, body)

    def json_page(self, target: str, *links: str) -> None:
        body = json.dumps({"meta": {"api-version": "1.0"}, "files": [{"url": link} for link in links]}).encode()
        self.answers[target] = Answer(200, {"Content-Type": "application/vnd.pypi.simple.v1+json"}, body)


@contextmanager
def index(certificate: Path | None = None) -> Iterator[Index]:
    """Over TLS with a certificate, whose key is in the same file."""
    made = Index()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            made.asked.append((self.command, self.path, headers))
            answer = made.answers.get(self.path, Answer(404))
            if headers.get("authorization") != AUTHORIZATION:
                answer = Answer(401, {"WWW-Authenticate": 'Basic realm="x"'}, b"no")
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if "Content-Length" not in answer.headers:
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        do_HEAD = do_POST = do_PUT = do_DELETE = do_TRACE = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with serving(Handler, certificate) as port:
        made.port = port
        yield made


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler], certificate: Path | None = None) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if certificate is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
        # The handshake is the business of each connection's own thread.
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def said(port: int, request: bytes, host: str = "127.0.0.1") -> bytes:
    """All that comes back for these bytes."""
    with socket.create_connection((host, port), timeout=30) as connection:
        connection.sendall(request)
        found = b""
        while piece := connection.recv(65536):
            found += piece
    return found
