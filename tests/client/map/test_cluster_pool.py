"""Dask over several servers: this process is the coordinator, and another one is the worker of another server."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.agent_bench import Metadata

from skylift.agent.spot.spot_notice import ACTION
from skylift.agent.workers.map_server import LEFT
from skylift.client.dask.authority import issue
from skylift.client.map.cluster_pool import ClusterPool, reserve
from skylift.client.map.dask_import import NoDask

HERE, THERE = "i-0a", "i-0b"

# A worker as its server's process starts it, but for the ports.
WORKER = """
import asyncio, json, os, sys
from skylift.client.map import worker
from skylift.agent.remote.aws import Metadata
told = json.loads(sys.argv[1])
os.environ["SKYLIFT_MAP_SOCKET"] = told["socket"]
sys.exit(asyncio.run(worker.work(told, Metadata(told["imds"]), "127.0.0.1", 0)))
"""


class Programs:
    """The server's own process, at the other end of the socket. An input that is `held` ends when it is told to."""

    def __init__(self, path: Path, server: str) -> None:
        self.path, self._server = str(path), server
        self.held, self.ran = threading.Event(), list[int]()
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(self.path)
        self._listening.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listening.accept()
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            for each in json.loads(next(lines))["inputs"]:
                self.ran.append(each["index"])
                if each["text"] == "held":
                    self.held.wait()
                outcome = {"index": each["index"], "state": "succeeded", "exit_code": 0, "server": self._server}
                connection.sendall(json.dumps({"outcome": outcome}).encode() + b"\n")


class Case:
    def __init__(self, folder: Path) -> None:
        now = time.time()
        self.identities = {
            part: each.encode() for part, each in issue("m", ("scheduler", "worker"), now, now + 600).items()
        }
        self.here, self.there = Programs(folder / "here", HERE), Programs(folder / "there", THERE)
        self.pool = ClusterPool(self.here.path, HERE, 1, "127.0.0.1", self.identities, ports=(0,))
        self.pool.begin()
        until(lambda: self.pool.address)

    @contextmanager
    def worker(
        self, identity: dict[str, str] | None = None, alone: float = 30, imds: str = "http://127.0.0.1:9"
    ) -> Iterator[subprocess.Popen[bytes]]:
        key = {"scheduler": self.pool.address, **(identity or self.identities["worker"])}
        told = {"dask": key, "instance": THERE, "slots": 2, "socket": self.there.path, "alone": alone, "imds": imds}
        told["looking"] = 0.05
        with subprocess.Popen([sys.executable, "-c", WORKER, json.dumps(told)], stderr=subprocess.PIPE) as process:
            try:
                yield process
            finally:
                process.kill()

    def ends(self, *numbers: int) -> dict[int, Any]:
        found: dict[int, Any] = {}
        until(lambda: found.update(self.pool.ended(0.1)) or set(numbers) <= set(found))
        return found

    def submit(self, number: int, text: str = "") -> None:
        self.pool.submit(number, {"program": {}, "inputs": [{"index": number, "text": text}]})


def until(what: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Case]:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SKYLIFT_MAP_SOCKET", "")
    made = Case(tmp_path)
    yield made
    made.here.held.set()
    made.pool.close()


def test_servers_come_take_their_share_and_are_lost_without_a_verdict(case: Case) -> None:
    pool = case.pool
    assert (pool.slots, pool.others()) == (1, {})
    with case.worker() as process:
        until(lambda: pool.slots == 3)
        for number in range(12):
            case.submit(number)
        assert all(each is not None for each in case.ends(*range(12)).values())
        assert case.here.ran and case.there.ran and sorted(case.here.ran + case.there.ran) == list(range(12))
        for number in range(20, 23):
            case.submit(number, "held")
        until(lambda: len(case.here.ran) + len(case.there.ran) == 15)
        assert {each.instance: each.running for each in pool.servers()} == {HERE: 1, THERE: 2}
        assert pool.others() == {THERE: True}
        # One that has something to do gets no more, and may not be ended.
        assert not pool.pause(THERE)
        assert pool.slots == 1
        process.send_signal(signal.SIGKILL)
        lost = set(case.there.ran) & {20, 21, 22}
        found = case.ends(*lost)
        assert [found[number] for number in lost] == [None, None]
        until(lambda: pool.others() == {})
    case.here.held.set()
    (own,) = {20, 21, 22} - lost
    assert case.ends(own)[own] is not None
    assert {each.instance: each.done for each in pool.servers()}[HERE] == len(case.here.ran)


def test_a_server_with_a_spot_notice_ends_what_it_has_and_gets_nothing_more(case: Case) -> None:
    pool, later = case.pool, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    with Metadata() as metadata, case.worker(imds=metadata.url):
        until(lambda: pool.slots == 3)
        for number in range(3):
            case.submit(number, "held")
        until(lambda: len(case.here.ran) + len(case.there.ran) == 3)
        assert pool.leaving() == set()
        metadata.more[ACTION] = json.dumps({"action": "terminate", "time": later}).encode()
        until(lambda: pool.leaving() == {THERE})
        assert pool.slots == 1
        assert not pool.pause(THERE), "it has something to do"
        case.here.held.set()
        case.there.held.set()
        assert all(each is not None for each in case.ends(0, 1, 2).values())
        until(lambda: pool.pause(THERE))
        there = len(case.there.ran)
        for number in range(3, 9):
            case.submit(number)
        case.ends(*range(3, 9))
        assert len(case.there.ran) == there
        # A notice that is withdrawn was none.
        del metadata.more[ACTION]
        until(lambda: pool.leaving() == set() and pool.slots == 3)


def test_a_task_that_was_handed_out_as_the_last_other_server_was_lost_runs_here(case: Case) -> None:
    with case.worker() as process:
        until(lambda: case.pool.slots == 3)
        case.submit(1, "held")
        until(lambda: case.here.ran == [1])
        case.pool.pause(THERE)
        process.send_signal(signal.SIGKILL)
        for number in (2, 3):
            # As if they had been on their way: no server takes them.
            case.submit(number)
        assert case.pool.ended(0.1) == []
        case.here.held.set()
        assert all(each is not None for each in case.ends(1, 2, 3).values())
    assert (sorted(case.here.ran), case.there.ran) == ([1, 2, 3], [])


def test_dask_is_started_once_and_when_it_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SKYLIFT_MAP_SOCKET", "")
    asked, told = list[int](), threading.Event()

    def import_dask() -> None:
        asked.append(1)
        told.wait()
        raise NoDask("there is none")

    pool = ClusterPool(str(tmp_path / "here"), HERE, 1, "127.0.0.1", {}, import_dask, ports=(0,))
    assert (asked, pool.failed, pool.address) == ([], False, "")
    pool.begin()
    pool.begin()
    until(lambda: asked)
    assert not pool.failed
    told.set()
    until(lambda: pool.failed)
    pool.begin()
    pool.ended(0)
    why = "Dask cannot be started, so all inputs run on this one server: there is none"
    assert (asked, capfd.readouterr().err.count(why)) == ([1], 1)


def test_inputs_run_here_before_dask_is_there_and_where_it_cannot_be_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SKYLIFT_MAP_SOCKET", "")
    here = Programs(tmp_path / "here", HERE)
    pool = ClusterPool(here.path, HERE, 2, "127.0.0.1", {}, ports=(0,))
    assert (pool.address, pool.slots, pool.others(), pool.leaving(), pool.pause(THERE)) == ("", 2, {}, set(), True)
    pool.submit(1, {"program": {}, "inputs": [{"index": 1, "text": ""}]})
    until(lambda: here.ran == [1])
    pool.begin()
    until(lambda: pool.failed)
    pool.submit(2, {"program": {}, "inputs": [{"index": 2, "text": ""}]})
    found: dict[int, Any] = {}
    until(lambda: found.update(pool.ended(0.1)) or set(found) == {1, 2})
    assert None not in found.values()
    assert (pool.address, pool.slots) == ("", 2)
    pool.ended(0)
    why = "Dask cannot be started, so all inputs run on this one server: KeyError: 'scheduler'"
    assert capfd.readouterr().err.count(why) == 1


def test_an_input_that_listens_where_dask_would_keeps_no_server_away(case: Case) -> None:
    """Dask's port is taken before the first input runs. A program that an earlier coordinator has left may have it."""
    with socket.socket() as taken, socket.socket() as late:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        first = taken.getsockname()[1]
        with reserve("127.0.0.1", (first, 0)) as reserved:
            second = reserved.getsockname()[1]
            assert second != first
            late.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with pytest.raises(OSError, match="in use"):
                late.bind(("0.0.0.0", second))
        pool = ClusterPool(case.here.path, HERE, 1, "127.0.0.1", case.identities, ports=(first, 0))
        pool.begin()
        until(lambda: pool.address)
        assert not pool.address.endswith(f":{first}")
        pool.close()
        alone = ClusterPool(case.here.path, HERE, 1, "127.0.0.1", case.identities, ports=(first,))
        assert (alone.failed, alone.address) == (True, "")


def test_a_server_that_is_gone_without_a_word_is_dropped(case: Case) -> None:
    with case.worker() as process:
        until(lambda: case.pool.slots == 3)
        assert case.pool.pause(THERE)
        process.send_signal(signal.SIGSTOP)
        case.pool.drop(THERE)
        assert (case.pool.slots, case.pool.others()) == (1, {})


def test_nobody_comes_in_without_a_key_of_this_map(case: Case) -> None:
    now = time.time()
    other = issue("other", ("worker",), now, now + 600)["worker"].encode()
    with case.worker(other, alone=1) as process:
        assert process.wait(60) == LEFT
        assert case.pool.others() == {}
    host, port = case.pool.address.removeprefix("tls://").split(":")
    with socket.create_connection((host, int(port))) as plain:
        plain.sendall(b"\0" * 64)
        with pytest.raises(ConnectionResetError):
            assert plain.recv(1) == b""
            raise ConnectionResetError


def test_a_worker_that_finds_no_coordinator_leaves(case: Case) -> None:
    address = case.pool.address
    with case.worker() as process:
        until(lambda: case.pool.slots == 3)
        case.pool.drop(THERE)
        process.wait(60)
    host, port = address.removeprefix("tls://").split(":")
    case.identities["worker"]["scheduler"] = f"tls://{host}:{int(port) % 60_000 + 1}"
    with case.worker(alone=1) as process:
        assert process.wait(60) == LEFT
