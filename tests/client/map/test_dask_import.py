"""Dask's environment as the coordinator asks for it, from a server's process that answers as it is told."""

from __future__ import annotations

import json
import socket
import sys
import threading
from pathlib import Path

import pytest

from skylift.client.map.dask_import import NoDask, import_dask

VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"


def ask(folder: Path, answer: bytes) -> None:
    path = str(folder / "inputs.sock")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()

        def serve() -> None:
            connection, _ = listening.accept()
            with connection, connection.makefile("rb") as lines:
                assert json.loads(next(lines)) == {"dask": True}
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            import_dask(path)
        finally:
            thread.join()


def test_what_is_in_it_can_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = tmp_path / "venv/lib" / VERSION / "site-packages"
    packages.mkdir(parents=True)
    (packages / "only_in_it.py").write_text("IT = 1")
    monkeypatch.setattr(sys, "path", list(sys.path))
    ask(tmp_path, json.dumps({"python": str(tmp_path / "venv/bin/python")}).encode() + b"\n")
    import only_in_it  # type: ignore[import-not-found]

    assert (only_in_it.IT, sys.path[1]) == (1, str(packages))


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "the server's own process is gone"),
        (b'{"failed": "There is no room."}\n', "There is no room."),
        (b'{"python": "/nowhere/bin/python"}\n', "not of this server's " + VERSION),
    ],
)
def test_why_there_is_none(tmp_path: Path, answer: bytes, why: str) -> None:
    path = list(sys.path)
    with pytest.raises(NoDask, match=why):
        ask(tmp_path, answer)
    assert sys.path == path


def test_a_server_without_its_own_process(tmp_path: Path) -> None:
    with pytest.raises(NoDask, match="No such file"):
        import_dask(str(tmp_path / "none"))
