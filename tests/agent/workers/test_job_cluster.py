"""A job's Dask cluster on its own server: how many servers it keeps, and what becomes of a program without one."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import ZipFile

import pytest
from support.agent_bench import Metadata, cmdline, those_in, until
from support.shipped_job import Shipped

from skylift.agent.lifecycle.retries import LONGEST
from skylift.agent.program.program import GRACE
from skylift.agent.remote.aws import Metadata as AskedMetadata
from skylift.agent.spot.spot_notice import ACTION
from skylift.agent.worker import seconds_alone, work_until_notice
from skylift.agent.workers import job_cluster
from skylift.agent.workers.job_cluster import (
    ALONE,
    FAILURES,
    NODE,
    SOON,
    STARTING,
    ClusterOptions,
    OtherServers,
    cluster_argv,
)
from skylift.agent.workers.worker_group import GroupMember, GroupState, end_servers
from skylift.client.dask import node
from skylift.client.job.job import Program
from skylift.client.job.record import JobKeys, parse_record
from skylift.client.plan.plan_job import Order
from skylift.client.ship.archive import whole_archive
from skylift.contract.map_progress import ServerTime, times_in
from skylift.contract.record import Retry


@dataclass
class Servers:
    """A group in which a server that is asked for is there at the next look."""

    desired: int = 0
    there: dict[str, bool] = field(default_factory=dict)
    room: int = 1000
    made: int = 0
    deleted: bool = False

    def look(self) -> GroupState | None:
        if self.deleted:
            return None
        while len(self.there) < min(self.desired, self.room):
            self.made += 1
            self.there[f"i-{self.made}"] = True
        return GroupState(self.desired, [GroupMember(each, alive, "t3.small") for each, alive in self.there.items()])

    def resize(self, desired: int) -> None:
        self.desired = desired

    def terminate(self, instance: str) -> None:
        del self.there[instance]
        self.desired -= 1

    def why_not(self) -> str:
        return "EC2 has no room." if self.room < self.desired else ""


class Case:
    def __init__(self, wanted: int) -> None:
        self.group, self.prepared, self.told, self.now = Servers(), list[str](), list[str](), 1000.0
        self.wanted = wanted
        self.start({})

    def start(self, seen: dict[str, list[Any]], *, strangers: bool = False) -> None:
        how: Any = (self.prepared.append, seen, lambda: self.now, self.told.append)
        self.others = OtherServers(self.group, self.wanted, *how, strangers=strangers)

    def start_again(self, after: float) -> None:
        """The program has failed, and its keeper has ended with it. A new one comes later."""
        self.now += after
        self.start(self.others.seen)

    def look(self, after: float = 1.0) -> None:
        self.now += after
        self.others.step()


def test_each_server_gets_its_key_once_and_a_lost_one_is_replaced() -> None:
    case = Case(2)
    for _ in range(3):
        case.look()
    assert case.prepared == ["i-1", "i-2"]
    case.group.there["i-1"] = False
    for _ in range(3):
        case.look(SOON)
    assert (case.prepared, list(case.group.there)) == (["i-1", "i-2", "i-3"], ["i-2", "i-3"])
    assert case.told == []


def test_servers_that_are_lost_at_once_are_not_replaced_for_ever() -> None:
    case = Case(1)
    for _ in range(10 * FAILURES):
        case.look()
        for each in case.group.there:
            case.group.there[each] = False
    assert len(case.prepared) <= FAILURES
    assert case.group.made <= FAILURES + 1
    assert case.told == [f"{FAILURES} servers in a row were lost soon after their start. No other is started."]


def test_losses_between_two_starts_of_the_program_do_not_count() -> None:
    case = Case(FAILURES)
    for _ in range(2):
        case.look()
    case.group.there = dict.fromkeys(case.group.there, False)
    case.start_again(SOON / 2)
    for _ in range(3):
        case.look()
    assert len(case.prepared) == 2 * FAILURES
    assert case.told == []


def test_a_job_that_has_moved_has_other_servers_than_before() -> None:
    """Those that are there look for the scheduler of a server that is gone."""
    case = Case(FAILURES)
    for _ in range(2):
        case.look()
    case.start({}, strangers=True)
    for _ in range(3):
        case.look()
    new = [f"i-{number}" for number in range(FAILURES + 1, 2 * FAILURES + 1)]
    assert (list(case.group.there), case.prepared[FAILURES:], case.told) == (new, new, [])


def test_servers_that_were_asked_for_and_have_not_come_are_not_waited_for() -> None:
    case = Case(2)
    case.group.desired, case.group.room = 2, 0
    case.start({}, strangers=True)
    case.look()
    assert (case.group.desired, case.prepared) == (2, [])
    case.group.room = 2
    case.look()
    assert case.prepared == ["i-1", "i-2"]


def test_a_worker_that_its_scheduler_has_ended_has_a_successor(tmp_path: Path) -> None:
    script = f"import os, sys; os.mkdir({str(tmp_path / 'first')!r})"

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)

    assert work_until_notice(start, None, 0.05) == 1
    assert (tmp_path / "first").is_dir()


def test_a_worker_whose_server_is_taken_back_is_asked_to_leave_and_has_none(tmp_path: Path, metadata: Metadata) -> None:
    """With exit code 0, as one that has handed over what it had."""
    script = (
        "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(0)); open(sys.argv[1], 'x'); time.sleep(3600)"
    )
    started = list[int]()

    def start() -> subprocess.Popen[bytes]:
        started.append(1)
        return subprocess.Popen([sys.executable, "-c", script, str(tmp_path / f"up-{len(started)}")])

    ended = list[int]()
    thread = threading.Thread(target=lambda: ended.append(work_until_notice(start, AskedMetadata(metadata.url), 0.05)))
    thread.start()
    until((tmp_path / "up-1").exists, "the worker to be up")
    later = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    metadata.more[ACTION] = json.dumps({"action": "terminate", "time": later}).encode()
    thread.join(60)
    assert (ended, started) == ([0], [1])


def test_servers_wait_for_the_scheduler_of_a_program_that_is_started_again() -> None:
    assert seconds_alone(Retry(9)) > LONGEST + GRACE + STARTING
    assert seconds_alone(None) == ALONE


def test_a_scheduler_that_ends_takes_its_servers_along_and_the_next_one_has_others() -> None:
    case = Case(3)
    case.group.room = 2
    for _ in range(2):
        case.look()
    end_servers(case.group)
    assert (case.group.there, case.group.desired) == ({}, 0)
    case.group.room = 1000
    case.start_again(1)
    for _ in range(2):
        case.look()
    assert list(case.group.there) == ["i-3", "i-4", "i-5"]


def test_that_the_group_is_gone_is_told_once() -> None:
    case = Case(2)
    case.look()
    case.group.deleted = True
    for _ in range(3):
        case.look()
    end_servers(case.group)
    assert case.told == ["The Auto Scaling group of the other servers is gone. The program has none but its own."]


def test_no_room_is_told_once_and_tried_again() -> None:
    case = Case(3)
    case.group.room = 1
    for _ in range(4):
        case.look()
    assert case.told == ["There are 2 servers, and not 4: EC2 has no room."]
    case.group.room = 3
    case.look()
    assert case.prepared == ["i-1", "i-2", "i-3"]


def test_the_servers_time_is_read_as_a_maps_is() -> None:
    case = Case(2)
    for _ in range(4):
        case.look(10)
    told = json.dumps({"others": case.others.times()}).encode()
    assert times_in(told) == (ServerTime("t3.small", "on-demand", 2, 40.0),)


def test_both_ends_know_the_same_port() -> None:
    assert job_cluster.SCHEDULER == node.SCHEDULER


# The scheduler's part, without Dask; the worker's has nothing to do.
LISTENS = """
import json, os, socket, time
if json.loads(os.environ["SKYLIFT_DASK"])["part"] == "scheduler":
    listening = socket.create_server((%r, %d))
time.sleep(3600)
"""
TELLS = "grep '^Sig[BI]' /proc/self/status; ls /proc/self/fd; env | sort"


class Bare(NamedTuple):
    """`argv` starts a program with a cluster, and writes into `failure` why there is none."""

    argv: list[str]
    descriptor: int
    failure: Path


@pytest.fixture
def bare(tmp_path: Path, metadata: Metadata) -> Iterator[Bare]:
    """A cluster of which nothing but a scheduler's port is there."""
    pid = os.getpid()
    # One of its own: other tests may listen, too.
    address = f"127.{64 + (pid >> 16)}.{pid >> 8 & 255}.{pid & 255}"
    metadata.more["/latest/meta-data/local-ipv4"] = address.encode()
    part = {"ca": "CA", "cert": "C", "key": "K"}
    (tmp_path / ".skylift-dask").mkdir()
    (tmp_path / ".skylift-dask/keys.json").write_text(
        json.dumps(dict.fromkeys(("scheduler", "worker", "client"), part))
    )
    archive = tmp_path / "supervisor.pyz"
    with ZipFile(io.BytesIO(whole_archive())) as whole, ZipFile(archive, "w") as mine:
        for each in whole.namelist():
            mine.writestr(each, LISTENS % (address, job_cluster.SCHEDULER) if each == NODE else whole.read(each))
    with (tmp_path / "failure").open("w") as failure:
        options = ClusterOptions(
            archive=str(archive),
            bucket="b",
            prefix="jobs/bare",
            region="us-east-1",
            imds=metadata.url,
            endpoint="",
            group="g",
            servers=2,
            python=sys.executable,
            script="",
            failure=failure.fileno(),
            moves=False,
        )
        argv = cluster_argv(sys.executable, options, ["sh", "-c", TELLS])
        yield Bare(argv, failure.fileno(), tmp_path / "failure")
    until(lambda: not end_those_in(tmp_path), "everybody to be gone")


def end_those_in(folder: Path) -> list[int]:
    """Again for each that is there by now: the keeper may be starting one."""
    found = those_in(folder)
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return found


def outcome_of(argv: list[str], folder: Path, *descriptors: int, **env: str) -> tuple[int, str, str]:
    """Into files: the cluster's keeper has its standard error for as long as it lives."""
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), **env}
    with (folder / "stdout").open("w+") as stdout, (folder / "stderr").open("w+") as stderr:
        code = subprocess.run(
            argv,
            check=False,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            pass_fds=descriptors,
        ).returncode
        return code, (folder / "stdout").read_text(), (folder / "stderr").read_text()


def test_the_program_starts_as_without_a_cluster(bare: Bare, tmp_path: Path) -> None:
    """Signals, descriptors and variables: Python changes some of them when it starts."""
    code, told, troubles = outcome_of(bare.argv, tmp_path, bare.descriptor, LANG="C")
    lines = [each for each in told.splitlines() if not each.startswith(("DASK_", "SKYLIFT_SERVERS="))]
    expected = outcome_of(["sh", "-c", TELLS], tmp_path, LANG="C")
    assert (code, lines, troubles) == (0, expected[1].splitlines(), "")
    assert bare.failure.read_text() == ""


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("{", "JSONDecodeError: Expecting property name"),
        ("{}", "KeyError: 'scheduler'"),
        ('{"scheduler": {}, "worker": {}}', "KeyError: 'client'"),
        (None, "FileNotFoundError: [Errno 2] No such file or directory: '/nonexistent/h/.skylift-dask'"),
    ],
)
def test_whatever_hinders_the_cluster_is_told_in_words(
    bare: Bare, tmp_path: Path, keys: str | None, words: str
) -> None:
    home = tmp_path if keys is not None else Path("/nonexistent/h")
    (tmp_path / ".skylift-dask/keys.json").write_text(keys or "")
    assert outcome_of(bare.argv, tmp_path, bare.descriptor, HOME=str(home)) == (123, "", "")
    assert words in bare.failure.read_text()


def test_a_signal_ends_the_start_without_a_traceback(bare: Bare, tmp_path: Path, metadata: Metadata) -> None:
    # Nobody listens there.
    metadata.more["/latest/meta-data/local-ipv4"] = b"127.63.0.1"
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    with (tmp_path / "stderr").open("w") as stderr:
        how: Any = {"cwd": tmp_path, "env": env, "stderr": stderr, "pass_fds": (bare.descriptor,)}
        with subprocess.Popen(bare.argv, **how) as waiting:
            until(lambda: any(b"node.py" in cmdline(each) for each in those_in(tmp_path)), "its scheduler")
            waiting.send_signal(signal.SIGINT)
    assert (waiting.returncode, (tmp_path / "stderr").read_text()) == (-signal.SIGINT, "")


@pytest.fixture
def keyed(shipped: Shipped, metadata: Metadata) -> Shipped:
    metadata.more["/latest/meta-data/local-ipv4"] = b"127.0.0.1"
    order = Order(Program("script", "job.py"), name="many")
    (shipped.folder / "job.py").write_text("print('never')\n")
    retry = {"times": 2, "on": [], "pause": 0.05}
    shipped.ship_order(order, cluster={"servers": 2, "group": "skylift-workers.many"}, retry=retry)
    part = {"ca": "CA", "cert": "C", "key": "K"}
    shipped.put(JobKeys("many").dask, json.dumps(dict.fromkeys(("scheduler", "worker", "client"), part)).encode())
    return shipped


def test_a_program_whose_scheduler_cannot_start_does_not_start(keyed: Shipped) -> None:
    """Its environment has no Dask after all, nor would it at another time."""
    keyed.boot()
    keyed.machine.wait()
    status = keyed.status()
    assert (status["state"], status["exit_code"], len(status["tries"])) == ("environment-failed", 123, 1), status
    assert status["reason"] == "The Dask cluster of the program could not be started."
    assert status["detail"].startswith("Dask's scheduler has ended at its start:")
    assert "No module named" in status["detail"]
    assert (keyed.stream("stdout"), keyed.stream("stderr")) == (b"", b"")
    assert keyed.read(JobKeys("many").dask) is None, "its keys are gone"
    record = parse_record("record.json", keyed.read(JobKeys("many").record) or b"")
    assert record.group
    assert not record.is_map
