"""A package index on this machine, whose packages are the files of a folder, each with its hash."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@contextmanager
def package_index(folder: Path) -> Iterator[str]:
    """Its URL."""

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(folder))

        def do_GET(self) -> None:
            found = re.fullmatch(r"/simple/([a-z0-9-]+)/", self.path)
            if found is None:
                super().do_GET()
                return
            files = [each for each in folder.iterdir() if re.split(r"-[0-9]", each.name)[0].lower() == found[1]]
            links = [f'<a href="/{each.name}#sha256={_sha256(each)}">{each.name}</a>' for each in sorted(files)]
            body = f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>".encode()
            self.send_response(200 if links else 404)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/simple"
    server.shutdown()
    server.server_close()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def sdist(folder: Path, name: str, version: str, code: str) -> None:
    """A package that has to be built, with a build system of its own that runs `code`."""
    made = f'''
import os, sys, zipfile
{code}
def build_wheel(place, *_):
    name = "{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(place, name), "w") as file:
        file.writestr("{name}.py", "VERSION = {version!r}")
        info = "{name}-{version}.dist-info/"
        file.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n")
        file.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        file.writestr(info + "RECORD", "")
    return name
'''
    files = {
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "made"\nbackend-path = ["."]\n',
        "made.py": made,
        "PKG-INFO": f"Metadata-Version: 1.0\nName: {name}\nVersion: {version}\n",
    }
    with tarfile.open(folder / f"{name}-{version}.tar.gz", "w:gz") as archive:
        for place, text in files.items():
            member = tarfile.TarInfo(f"{name}-{version}/{place}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
