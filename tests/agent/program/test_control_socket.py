"""The socket, whatever is sent to it: nobody keeps it from whoever comes next."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.agent_bench import Door, until

from skylift.agent.job.ledger import Ledger
from skylift.agent.job.status import Status
from skylift.agent.program.control import JobControl
from skylift.agent.program.control_socket import ControlSocket
from skylift.agent.program.program import UserProcess
from skylift.agent.program.stream import READ, Stream

RUNS = """
import os, pathlib, resource, sys, threading
from skylift.agent.program.control_socket import ControlSocket
from skylift.agent.job.status import Status
control = ControlSocket(pathlib.Path(sys.argv[1]), os.getegid(), None, [], Status("x", threading.Condition()))
few = len(os.listdir("/proc/self/fd")) + 8
resource.setrlimit(resource.RLIMIT_NOFILE, (few, few))
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "x.sock"


@pytest.fixture
def served(path: Path, tmp_path: Path) -> Iterator[Path]:
    status = Status("x", threading.Condition())
    streams = [Stream(name, tmp_path, status.changed, (os.geteuid(), os.getegid())) for name in ("stdout", "stderr")]
    streams[0].append(b"what it says")
    program = UserProcess(Ledger(tmp_path / "ledger"), os.pipe()[0])
    ControlSocket(path, os.getegid(), JobControl(program), streams, status)
    yield path
    for stream in streams:
        stream.finish()


def connect(path: Path) -> socket.socket:
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    found.connect(str(path))
    found.settimeout(60)
    return found


def is_answered(path: Path) -> bool:
    door = Door(path)
    door.send(stream={"stdout": 0, "stderr": 0}, once=True)
    found = next(door.frames())
    door.close()
    return found == ("o", b"what it says")


def test_all_output_comes_before_the_word_that_the_job_has_ended(path: Path, tmp_path: Path) -> None:
    """Also when it ends while a part of the output is being sent."""
    status = Status("x", threading.Condition())

    class EndsMeanwhile(Stream):
        def read(self, offset: int, limit: int) -> tuple[int, bytes]:
            found = super().read(offset, limit)
            status.set(final=True)
            return found

    stdout = EndsMeanwhile("stdout", tmp_path, status.changed, (os.geteuid(), os.getegid()))
    stdout.append(b"x" * (3 * READ))
    program = UserProcess(Ledger(tmp_path / "ledger"), os.pipe()[0])
    ControlSocket(path, os.getegid(), JobControl(program), [stdout], status)
    door, received = Door(path), 0
    door.send(stream={"stdout": 0, "stderr": 0})
    for kind, data in door.frames():
        if kind == "o":
            received += len(data)
        elif json.loads(data)["final"]:
            break
    assert received == 3 * READ
    door.close()
    stdout.finish()


def test_a_program_that_connects_again_and_again_keeps_nobody_away(served: Path) -> None:
    before, held = threading.active_count(), [connect(served) for _ in range(200)]
    assert is_answered(served)
    until(lambda: threading.active_count() - before < 70, "the oldest connections to be hung up on")
    assert held[0].recv(1) == b""
    for each in held:
        each.close()


def test_a_server_without_descriptors_takes_connections_once_it_has_some(path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", RUNS, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    held = [connect(path) for _ in range(20)]
    until(lambda: "cannot be taken yet" in process.stdout.readline(), "descriptors to run out")  # type: ignore[union-attr]
    for each in held:
        each.close()
    last = connect(path)
    last.sendall(b"no order\n")
    assert last.recv(1) == b""
    process.communicate("")


@pytest.mark.parametrize(
    "line",
    [
        b"no order",
        b"5",
        b"[]",
        b'["stream"]',
        b'"stream"',
        b"[" * 100_000,
        b'{"stream": 1}',
        b'{"stream": {"stdout": "x", "stderr": 0}}',
        b'{"stream": {"stdout": 1e999, "stderr": 0}}',
        b'{"stream": {"stdout": -5, "stderr": 0}}',
        b'{"stream": {"stdout": 0, "stderr": 0}, "since": "x"}',
        b'{"signal": "_DFL"}',
        b'{"signal": "NONE"}',
        b'{"signal": 9}',
        b"x" * (3 << 20),
    ],
)
def test_no_order_breaks_what_serves_it(served: Path, line: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    broken: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", broken.append)
    connection = connect(served)
    try:
        connection.sendall(line + b"\n")
        assert connection.recv(1) == b""
    except (BrokenPipeError, ConnectionResetError):
        pass  # it was hung up on before it had said all
    assert is_answered(served)
    connection.close()
    assert broken == []
