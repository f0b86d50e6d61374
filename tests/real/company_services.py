"""A package index and a proxy that take a password: FOLDER INDEX_PORT PROXY_PORT. Each request is a line in FOLDER."""

from __future__ import annotations

import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

AUTHORIZATION = "Basic bWU6czNjcmV0LXcwcmQ="
WHEEL = "from_the_company-1.0-py3-none-any.whl"


def make_wheel(place: Path) -> None:
    info = "from_the_company-1.0.dist-info"
    with zipfile.ZipFile(place, "w") as wheel:
        wheel.writestr("from_the_company.py", "said = 'from the company'\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: from-the-company\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


class Service(BaseHTTPRequestHandler):
    folder: Path
    name, header = "index", "Authorization"

    def do_GET(self) -> None:
        with (self.folder / self.name).open("a") as file:
            file.write(f"{self.command} {self.path} {self.headers.get(self.header)}\n")
        if self.headers.get(self.header) != AUTHORIZATION:
            return self.say(401 if self.name == "index" else 407, b"no")
        return self.serve()

    do_POST = do_TRACE = do_HEAD = do_GET

    def serve(self) -> None:
        host = self.headers["Host"]
        if self.path in ("/pypi/simple/", "/pypi/simple/from-the-company/"):
            # As some indexes do it: the whole URL, outside of the index's own.
            return self.say(200, f'<a href="http://{host}/files/{WHEEL}">{WHEEL}</a>'.encode(), "text/html")
        if self.path == f"/files/{WHEEL}":
            return self.say(200, (self.folder / WHEEL).read_bytes())
        return self.say(404, b"nothing here")

    def say(self, status: int, body: bytes, kind: str = "application/octet-stream") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Proxy(Service):
    name, header = "proxy", "Proxy-Authorization"

    def serve(self) -> None:
        if self.command == "TRACE":
            return self.say(200, str(self.headers).encode())
        return self.say(200, f"{self.command} {self.path}".encode())


def main() -> None:
    Service.folder = Path(sys.argv[1])
    for name in ("index", "proxy"):
        (Service.folder / name).touch()
    make_wheel(Service.folder / WHEEL)
    index, proxy = (
        ThreadingHTTPServer(("0.0.0.0", int(port)), service)
        for port, service in zip(sys.argv[2:], (Service, Proxy), strict=True)
    )
    threading.Thread(target=index.serve_forever, daemon=True).start()
    proxy.serve_forever()


if __name__ == "__main__":
    main()
