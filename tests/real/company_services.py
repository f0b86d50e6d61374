"""Services that take a password: FOLDER INDEX_PORT PROXY_PORT TLS_PORT. Each request is a line in FOLDER.

A package index; a proxy; and over TLS, with the certificate in FOLDER/tls, another index and a repository of apt's."""

from __future__ import annotations

import hashlib
import ssl
import subprocess
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

AUTHORIZATION = "Basic bWU6czNjcmV0LXcwcmQ="
WHEEL, TLS_WHEEL = "from_the_company-1.0-py3-none-any.whl", "over_tls-1.0-py3-none-any.whl"


def make_wheel(place: Path) -> None:
    name = place.name.partition("-")[0]
    info, said = f"{name}-1.0.dist-info", name.replace("_", " ")
    with zipfile.ZipFile(place, "w") as wheel:
        wheel.writestr(f"{name}.py", f"said = '{said}'\n")
        metadata = f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\n"
        wheel.writestr(f"{info}/METADATA", metadata)
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


def make_repository(place: Path) -> None:
    """As Debian's mirrors are, with one package, and signed by nobody."""
    tree = place / "from-the-company"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "opt").mkdir()
    (tree / "opt/from-the-company").write_text("by apt\n")
    control = "Package: from-the-company\nVersion: 1.0\nArchitecture: all\nMaintainer: me <me@example.test>\n"
    control += "Description: a package\n"
    (tree / "DEBIAN/control").write_text(control)
    package = place / "pool/from-the-company_1.0_all.deb"
    package.parent.mkdir()
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", tree, package], check=True, capture_output=True)
    body = package.read_bytes()
    found = f"Filename: pool/{package.name}\nSize: {len(body)}\nSHA256: {hashlib.sha256(body).hexdigest()}\n"
    listed = (control + found).encode()
    suite = place / "dists/trixie"
    (suite / "main/binary-all").mkdir(parents=True)
    (suite / "main/binary-all/Packages").write_bytes(listed)
    digest = f" {hashlib.sha256(listed).hexdigest()} {len(listed)} main/binary-all/Packages\n"
    (suite / "Release").write_text(f"Suite: trixie\nArchitectures: all\nComponents: main\nSHA256:\n{digest}")


class Service(BaseHTTPRequestHandler):
    folder: Path
    name, header = "index", "Authorization"

    def do_GET(self) -> None:
        with (self.folder / f"asked.{self.name}").open("a") as file:
            file.write(f"{self.command} {self.path} {self.headers.get(self.header)}\n")
        if self.headers.get(self.header) != AUTHORIZATION:
            return self.say(407 if self.name == "proxy" else 401, b"no")
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


class Tls(Service):
    name = "tls"

    def serve(self) -> None:
        if self.path in ("/tls/simple/", "/tls/simple/over-tls/"):
            return self.say(200, f'<a href="/files/{TLS_WHEEL}">{TLS_WHEEL}</a>'.encode(), "text/html")
        file = self.folder / {f"/files/{TLS_WHEEL}": TLS_WHEEL}.get(self.path, self.path[1:])
        if (self.path.startswith("/debian/") or self.path.startswith("/files/")) and file.is_file():
            return self.say(200, file.read_bytes())
        return self.say(404, b"nothing here")


class Proxy(Service):
    name, header = "proxy", "Proxy-Authorization"

    def serve(self) -> None:
        if self.command == "TRACE":
            return self.say(200, str(self.headers).encode())
        return self.say(200, f"{self.command} {self.path}".encode())


def main() -> None:
    folder = Service.folder = Path(sys.argv[1])
    for name in ("index", "proxy", "tls"):
        (folder / f"asked.{name}").touch()
    for name in (WHEEL, TLS_WHEEL):
        make_wheel(folder / name)
    make_repository(folder / "debian")
    index, proxy, tls = (
        ThreadingHTTPServer(("0.0.0.0", int(port)), service)
        for port, service in zip(sys.argv[2:], (Service, Proxy, Tls), strict=True)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls")
    tls.socket = context.wrap_socket(tls.socket, server_side=True, do_handshake_on_connect=False)
    for server in (index, tls):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    proxy.serve_forever()


if __name__ == "__main__":
    main()
