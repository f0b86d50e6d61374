"""The pool of a map on one server, against a process of the server that is at the other end of the socket."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from skylift.client.map.thread_pool import ThreadPool

HERE = "i-0a"


class Programs:
    """Answers for each input once `go` is set. One that is "withheld" has no outcome, and at one that is "gone" the
    connection ends."""

    def __init__(self, path: Path) -> None:
        self.path, self.go, self.asked = str(path), threading.Event(), threading.Semaphore(0)
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(self.path)
        self._listening.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listening.accept()
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        # One that ends does not wait for its answers.
        with suppress(BrokenPipeError), connection, connection.makefile("rb") as lines:
            request = json.loads(next(lines))
            self.asked.release()
            self.go.wait()
            for each in request["inputs"]:
                if each["text"] == "gone":
                    return
                answer: dict[str, Any] = {"outcome": {"index": each["index"]}}
                if each["text"] == "withheld":
                    answer = {"withheld": "the server goes down"}
                connection.sendall(json.dumps(answer).encode() + b"\n")


def request(*texts: str) -> dict[str, Any]:
    return {"program": {}, "inputs": [{"index": number, "text": text} for number, text in enumerate(texts)]}


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Programs]:
    monkeypatch.setenv("SKYLIFT_MAP_SOCKET", "")
    made = Programs(tmp_path / "inputs.sock")
    yield made
    made.go.set()


def all_ended(pool: ThreadPool, count: int) -> dict[int, list[Any] | None]:
    found: dict[int, list[Any] | None] = {}
    until = time.monotonic() + 60
    while len(found) < count:
        assert time.monotonic() < until
        found.update(pool.ended(0.1))
    return found


def test_tasks_run_at_the_same_time_and_a_task_without_verdict_is_a_loss(programs: Programs) -> None:
    pool = ThreadPool(programs.path, HERE, 3, "t3.small")
    assert pool.slots == 3
    pool.submit(1, request("a", "b"))
    pool.submit(2, request("a", "withheld", "b"))
    pool.submit(3, request("gone"))
    for _ in range(3):
        assert programs.asked.acquire(timeout=60)
    (server,) = pool.servers()
    assert (server.instance, server.running, server.done, server.instance_type) == (HERE, 6, 0, "t3.small")
    programs.go.set()
    assert all_ended(pool, 3) == {1: [{"index": 0}, {"index": 1}], 2: None, 3: None}
    (server,) = pool.servers()
    assert (server.running, server.done) == (0, 2)


def test_nothing_that_ends_is_not_waited_for(programs: Programs) -> None:
    assert ThreadPool(programs.path, HERE, 1).ended(0.01) == []


def test_a_coordinator_that_ends_does_not_wait_for_what_runs(programs: Programs) -> None:
    source = f"""
from skylift.client.map.thread_pool import ThreadPool
pool = ThreadPool({programs.path!r}, "i-0a", 1)
pool.submit(1, {request("a")!r})
input()
"""
    with subprocess.Popen([sys.executable, "-c", source], stdin=subprocess.PIPE) as process:
        assert programs.asked.acquire(timeout=60)
        process.communicate(b"\n", timeout=60)
        assert process.returncode == 0


def test_a_task_for_which_there_is_no_thread_begins_later(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    """An input may use up all processes of its server for a while."""
    pool, start, failures = ThreadPool(programs.path, HERE, 2), threading.Thread.start, [1, 1]

    def start_later(thread: Any) -> None:
        if thread._target == pool._run and failures:
            failures.pop()
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_later)
    pool.submit(1, request("a"))
    programs.go.set()
    ended = list[tuple[int, list[Any] | None]]()
    while not ended:
        ended = pool.ended(0.1)
    assert ended == [(1, [{"index": 0}])]
    assert not failures
