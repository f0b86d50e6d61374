"""The socket on which a map's server is asked for inputs, where inputs that run have used up what it needs."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from skylift.agent.workers.map_server import outcomes_in, serve


class Scarce:
    """A socket that fails to accept for want of descriptors, as often as it is said."""

    def __init__(self, listening: socket.socket, failures: int) -> None:
        self.listening, self.failures = listening, failures

    def accept(self) -> Any:
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return self.listening.accept()


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as found:
        found.bind(str(tmp_path / "sock"))
        found.listen()
        yield found


def answer(connection: socket.socket) -> None:
    with connection:
        connection.sendall(connection.recv(10).upper())


def ask(listening: socket.socket, served: socket.socket, down: threading.Event) -> bytes:
    thread = threading.Thread(target=serve, args=(served, answer, down), daemon=True)
    thread.start()
    found = b""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(30)
        asking.connect(listening.getsockname())
        asking.sendall(b"it")
        found = asking.recv(10)
    down.set()
    listening.shutdown(socket.SHUT_RDWR)
    thread.join()
    return found


def test_a_connection_for_which_there_is_no_descriptor_waits_for_one(listening: socket.socket) -> None:
    served = cast(socket.socket, Scarce(listening, 2))
    assert ask(listening, served, threading.Event()) == b"IT"


def test_a_connection_for_which_there_is_no_thread_waits_for_one(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, failures = threading.Thread.start, [1, 1]

    def start_later(thread: Any) -> None:
        if thread._target is answer and failures:
            failures.pop()
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_later)
    assert ask(listening, listening, threading.Event()) == b"IT"
    assert not failures


def test_a_server_that_goes_down_waits_for_nothing(listening: socket.socket) -> None:
    down = threading.Event()
    down.set()
    serve(cast(socket.socket, Scarce(listening, 2)), answer, down)


@pytest.mark.parametrize("kind", ["number", "fifo", "endless", "text", "none"])
def test_a_count_of_outcomes_is_a_number_or_none(tmp_path: Path, kind: str) -> None:
    """Processes of Dask's user may put anything in its place, and root reads it."""
    path = tmp_path / "outcomes"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "endless":
        path.symlink_to("/dev/zero")
    elif kind != "none":
        path.write_text("12" if kind == "number" else "twelve")
    assert outcomes_in(path) == (12 if kind == "number" else 0)
