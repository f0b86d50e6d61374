"""What bounds a job on its server: long logs, idleness, memory, and an S3 that cannot be reached."""

from __future__ import annotations

import http.client
import json
import os
import threading
import time
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from support.agent_bench import Machine, Metadata, until
from support.shipped_job import Shipped
from support.waiting_job import go

from skylift.agent.job.outcome import judge
from skylift.agent.machine.memory import Memory
from skylift.agent.machine.power import RESERVE
from skylift.agent.program.program import GRACE
from skylift.agent.program.stream import SEGMENT, Stream
from skylift.client.job.job import Program
from skylift.client.job.tags import TAG_UNDELIVERED
from skylift.client.plan.plan_job import Order
from skylift.client.remote.api import Api
from skylift.contract.states import State

WAITS = """
import os, time
print("up", flush=True)
while not os.path.exists("go"):
    time.sleep(0.02)
open("r.txt", "w").write("worth keeping")
"""


def ship(shipped: Shipped, source: str, outputs: tuple[str, ...] = (), **record: Any) -> None:
    (shipped.folder / "job.py").write_text(source)
    shipped.ship_order(Order(Program("script", "job.py"), outputs=outputs), **record)


def test_of_a_log_over_its_cap_head_and_tail_are_kept(shipped: Shipped, machine: Machine) -> None:
    total = 6 * SEGMENT + 12345
    ship(
        shipped,
        "import sys\n"
        f"left, block, n = {total}, 1 << 16, 0\n"
        "while left:\n"
        "    data = (b'%015d\\n' % n * (block // 16))[:min(block, left)]\n"
        "    sys.stdout.buffer.write(data)\n"
        "    left -= len(data)\n"
        "    n += 1\n",
        log_cap=4 * SEGMENT,
    )
    shipped.boot()
    machine.wait()
    status = shipped.status()
    assert status["streams"]["stdout"] == total
    start, end = status["cut"]["stdout"]
    assert (start, end) == (2 * SEGMENT, 4 * SEGMENT)
    pieces = shipped.pieces("stdout")
    kept = sorted(pieces)
    assert [piece for piece in kept if start <= piece < end] == []
    whole = b"".join(b"%015d\n" % (n >> 12) for n in range(-(-total // 16)))[:total]
    assert b"".join(pieces[piece] for piece in kept if piece < start) == whole[:start]
    assert b"".join(pieces[piece] for piece in kept if piece >= end) == whole[end:]


def test_a_watcher_of_a_cut_log_is_told_where_it_goes_on(tmp_path: Path) -> None:
    stream = Stream("stdout", tmp_path, threading.Condition(), (os.geteuid(), os.getegid()), 2 * SEGMENT)
    for number in range(4):
        stream.append(bytes([number]) * SEGMENT)
    stream.append(b"end")
    stream.finish()
    assert stream.cut == (SEGMENT, 3 * SEGMENT)
    assert stream.read(SEGMENT - 3, 10) == (SEGMENT - 3, b"\0\0\0")
    assert stream.read(SEGMENT, 4) == (3 * SEGMENT, b"\3\3\3\3")
    assert stream.read(4 * SEGMENT, 10) == (4 * SEGMENT, b"end")


def test_a_line_of_a_hundred_megabytes_is_whole(shipped: Shipped, machine: Machine) -> None:
    ship(shipped, "import sys\nsys.stdout.write('x' * 100_000_000 + '\\n')\nsys.stderr.write('done')\n")
    shipped.boot()
    machine.wait()
    assert shipped.status()["streams"] == {"stdout": 100_000_001, "stderr": 4}
    assert "cut" not in shipped.status() or shipped.status()["cut"] == {}
    pieces = shipped.pieces("stdout")
    assert sum(len(piece) for piece in pieces.values()) == 100_000_001
    assert set(b"".join(pieces.values())[:-1]) == {ord("x")}


def test_an_idle_program_is_ended(shipped: Shipped, machine: Machine) -> None:
    ship(shipped, "import signal\nprint('up', flush=True)\nsignal.pause()\n", idle=1)
    shipped.boot()
    machine.wait()
    status = shipped.status()
    assert (status["state"], status["exit_code"]) == ("idle", 124)
    assert "--idle" in status["reason"]


def test_a_program_that_works_without_a_word_is_not_idle(shipped: Shipped, machine: Machine) -> None:
    ship(shipped, "import time\nbegan = time.monotonic()\nwhile time.monotonic() < began + 3.5: pass\n", idle=3)
    shipped.boot()
    machine.wait()
    assert shipped.status()["state"] == "succeeded"


def test_who_set_the_cap_is_named(shipped: Shipped, machine: Machine) -> None:
    ship(shipped, "import signal\nsignal.pause()\n", max_time=1, cap="--max-cost")
    shipped.boot()
    machine.wait()
    assert (shipped.status()["state"], shipped.status()["exit_code"]) == ("timed-out", 124)
    assert "--max-cost" in shipped.status()["reason"]


def test_results_come_while_the_program_runs(shipped: Shipped, machine: Machine) -> None:
    ship(
        shipped,
        "import os, time\n"
        "open('a.txt', 'w').write('first')\n"
        "while not os.path.exists('go'): time.sleep(0.02)\n"
        "open('b.txt', 'w').write('second')\n",
        outputs=("*.txt",),
        sync_every=1,
    )
    shipped.boot()
    # It may be looked at before it is written, and before all of it is.
    until(lambda: shipped.read(shipped.prefix.result("a.txt")) == b"first", "a result while the program runs")

    def noted() -> Any:
        found = json.loads(shipped.read(shipped.prefix.manifest) or b"{}")
        return [(each["path"], each["size"]) for each in found.get("results", [])] == [("a.txt", 5)] and found

    early = until(noted, "the manifest that says so")
    assert not early["final"]
    assert not shipped.status().get("final")
    go(machine)
    machine.wait()
    final = json.loads(shipped.read(shipped.prefix.manifest) or b"")
    assert final["final"]
    assert [each["path"] for each in final["results"]] == ["a.txt", "b.txt"]


@pytest.mark.parametrize("version", [1, 2])
def test_memory_as_the_kernel_accounts_for_it(tmp_path: Path, version: int) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal:        2097152 kB\n")
    if version == 2:
        (tmp_path / "proc/self/cgroup").write_text("0::/system.slice/skylift.service\n")
        group = tmp_path / "sys/fs/cgroup/system.slice/skylift.service"
        events, limit, text = "memory.events", "memory.max", "low 0\noom 1\noom_kill {}\n"
    else:
        (tmp_path / "proc/self/cgroup").write_text("5:cpu,cpuacct:/\n4:memory:/elsewhere\n1:name=systemd:/x\n")
        group = tmp_path / "sys/fs/cgroup/memory"
        events, limit, text = "memory.oom_control", "memory.limit_in_bytes", "oom_kill_disable 0\noom_kill {}\n"
    group.mkdir(parents=True)
    (group / events).write_text(text.format(3))
    (group / limit).write_text(f"{512 << 20}\n")
    memory = Memory(tmp_path)
    assert (memory.kills(), memory.limit()) == (0, 512 << 20)
    (group / events).write_text(text.format(4))
    assert memory.kills() == 1
    (group / limit).write_text("max\n" if version == 2 else "9223372036854771712\n")
    assert memory.limit() == 2 << 30


def test_verdicts_tell_apart() -> None:
    words = {State.TIMED_OUT: "cap", State.IDLE: "idle", State.CANCELLED: "cancelled"}
    limit = 512 << 20

    def short(code: int, ending: State | None = None, kills: int = 0) -> tuple[str, int, str | None]:
        found = judge(code, ending, words, kills, limit)
        return found.state, found.exit_code, found.signal

    assert short(0) == ("succeeded", 0, None)
    assert short(3) == ("failed", 3, None)
    assert short(-9) == ("failed", 137, "SIGKILL")
    assert short(-9, kills=1) == ("out-of-memory", 121, "SIGKILL")
    assert short(-15, State.TIMED_OUT) == ("timed-out", 124, "SIGTERM")
    assert short(-15, State.IDLE) == ("idle", 124, "SIGTERM")
    assert short(-15, State.CANCELLED) == ("cancelled", 143, "SIGTERM")
    assert "512 MiB" in judge(-9, None, words, 1, limit).reason
    # A program that goes on without the child that it lost says so by its own exit code.
    assert short(1, kills=2) == ("failed", 1, None)
    assert "2 of its processes" in judge(1, None, words, 2, limit).reason


class Gate:
    """In front of the endpoint: passes all on, until it is told that S3 cannot be reached."""

    def __init__(self, endpoint: str) -> None:
        gate, self.shut, self.slow = self, False, 0.0
        self.stops: list[str] = []
        self.tags: list[str] = []
        self.sent: list[str] = []
        self.keeps_until = ""
        target = urllib.parse.urlsplit(endpoint).netloc

        class Handler(BaseHTTPRequestHandler):
            def _pass(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                if b"Action=StopInstances" in body:
                    gate.stops.append(body.decode())
                elif b"Action=CreateTags" in body:
                    gate.tags.append(body.decode())
                elif gate.shut or (self.command == "DELETE" and not gate.has_had(gate.keeps_until)):
                    self.send_error(503)
                    return
                elif gate.slow and "/server/results/" in self.path:
                    time.sleep(gate.slow)
                gate.sent.append(self.path)
                connection = http.client.HTTPConnection(target)
                connection.request(self.command, self.path, body, dict(self.headers))
                answer = connection.getresponse()
                content = answer.read()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in {"content-length", "connection", "transfer-encoding", "server", "date"}:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
                connection.close()

            do_GET = do_PUT = do_POST = do_DELETE = _pass

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def has_had(self, name: str) -> bool:
        return not name or any(path.endswith(name) for path in self.sent)


@pytest.fixture
def gate(endpoint: str, machine: Machine) -> Iterator[Gate]:
    found = Gate(endpoint)
    machine.write_environment(AWS_ENDPOINT_URL=found.url)
    yield found
    found.server.shutdown()
    found.server.server_close()


def test_secrets_are_gone_before_the_end_is_told(shipped: Shipped, machine: Machine, gate: Gate) -> None:
    """S3 takes all but their removal until the job is nearly over, and then there is nobody left to try again."""
    gate.keeps_until = "/server/manifest.json"
    shipped.ship("import time; time.sleep(2)", env=["TOKEN=s3cr3t"])
    shipped.boot()
    machine.wait()
    assert shipped.status()["state"] == "succeeded"
    assert shipped.read(shipped.prefix.env) is None


def test_results_that_cannot_be_delivered_stay_on_a_stopped_disk(
    shipped: Shipped, machine: Machine, metadata: Metadata, api: Api, gate: Gate
) -> None:
    image = api.call("ec2", "describe_images", Owners=["amazon"])["Images"][0]["ImageId"]
    made = api.call("ec2", "run_instances", ImageId=image, MinCount=1, MaxCount=1, InstanceType="t3.small")
    metadata.instance = made["Instances"][0]["InstanceId"]
    ship(shipped, WAITS, outputs=("r.txt",))
    shipped.boot(900, "--patience=1")
    until(lambda: shipped.stream("stdout") == b"up\n", "the program's first line in S3")
    gate.shut = True
    go(machine)
    until(lambda: gate.stops, "the server to ask for its own stop")
    assert f"InstanceId.1={metadata.instance}" in gate.stops[0]
    # What is stopped and has no tag is terminated after its deadline.
    assert f"ResourceId.1={metadata.instance}&Tag.1.Key={quote(TAG_UNDELIVERED, safe='')}&" in gate.tags[0]
    assert machine.process is not None
    assert machine.process.poll() is None, "a stopped server is not turned off: that would terminate it"
    assert len(machine.off_commands()) == 1
    assert not shipped.status()["final"]
    assert (machine.home / "job" / "r.txt").read_text() == "worth keeping"
    # Its user starts it again, long after its deadline.
    machine.go_off()
    gate.shut = False
    shipped.boot(-3600)
    machine.wait()
    assert (shipped.status()["state"], shipped.status()["final"]) == ("succeeded", True)
    assert shipped.read(shipped.prefix.result("r.txt")) == b"worth keeping"
    *_, armed, last = machine.off_commands()
    assert armed in {"shutdown -P +18", "shutdown -P +19"}
    assert last == "shutdown -P now"


def test_more_than_can_be_sent_in_time_stays_on_a_stopped_disk(
    shipped: Shipped, machine: Machine, metadata: Metadata, api: Api, gate: Gate
) -> None:
    """Everything goes well, and slowly; before the timer comes, the server asks to be stopped. Started again, it sends
    what is left."""
    image = api.call("ec2", "describe_images", Owners=["amazon"])["Images"][0]["ImageId"]
    made = api.call("ec2", "run_instances", ImageId=image, MinCount=1, MaxCount=1, InstanceType="t3.small")
    metadata.instance = made["Instances"][0]["InstanceId"]
    source = "for number in range(200): open(f'{number}.bin', 'wb').write(bytes(300_000))\nopen('up', 'w').close()\n"
    ship(shipped, source, outputs=("*.bin",))
    gate.slow = 3.0
    shipped.boot(RESERVE + GRACE + 30)
    until(lambda: gate.stops, "the server to ask for its own stop")
    assert f"InstanceId.1={metadata.instance}" in gate.stops[0]
    assert not shipped.status()["final"]
    assert machine.off_commands() == machine.off_commands()[:1], "a server that stops is not turned off"
    came = len([each for each in range(200) if shipped.read(shipped.prefix.result(f"{each}.bin"))])
    assert 0 < came < 200
    machine.go_off()
    gate.slow = 0.0
    gate.sent.clear()
    shipped.boot(-3600)
    machine.wait()
    assert (shipped.status()["state"], shipped.status()["final"]) == ("succeeded", True)
    assert len(shipped.manifest().results) == 200
    assert len([each for each in gate.sent if "/server/results/" in each]) <= 200 - came + 4


def test_results_are_tried_again_where_a_server_cannot_be_stopped(
    shipped: Shipped, machine: Machine, gate: Gate
) -> None:
    """As a one-time spot server, which EC2 refuses to stop; here it does not know it at all."""
    ship(shipped, WAITS, outputs=("r.txt",))
    shipped.boot(900, "--patience=1")
    until(lambda: shipped.stream("stdout") == b"up\n", "the program's first line in S3")
    gate.shut = True
    go(machine)
    until(lambda: "tried again until it goes off" in machine.console(), "the refusal")
    gate.shut = False
    machine.wait()
    assert shipped.status()["state"] == "succeeded"
    assert shipped.read(shipped.prefix.result("r.txt")) == b"worth keeping"
    assert len(gate.stops) == 1


def test_an_outage_of_s3_shorter_than_patience_costs_nothing(shipped: Shipped, machine: Machine, gate: Gate) -> None:
    ship(shipped, WAITS + "print('down')\n", outputs=("r.txt",))
    shipped.boot()
    until(lambda: shipped.stream("stdout") == b"up\n", "the program's first line in S3")
    gate.shut = True
    go(machine)
    until(
        lambda: "output cannot be uploaded yet" in machine.console() or "trying again" in machine.console(),
        "a failed try",
    )
    gate.shut = False
    machine.wait()
    assert shipped.status()["state"] == "succeeded"
    assert shipped.stream("stdout") == b"up\ndown\n"
    assert shipped.read(shipped.prefix.result("r.txt")) == b"worth keeping"
    assert gate.stops == []


SAYS = "import signal\nopen('r.txt', 'w').write('so far')\nprint('up', flush=True)\nsignal.pause()\n"


def test_deadline_leaves_time_for_the_results(shipped: Shipped, machine: Machine) -> None:
    """A cap that reaches beyond the deadline ends the program while its results can still be sent."""
    ship(shipped, SAYS, outputs=("r.txt",), max_time=100_000)
    began, spared = time.time(), 133
    shipped.boot(spared)
    machine.wait()
    if not shipped.stream("stdout"):
        # It was ended before it came to say anything.
        ship(shipped, SAYS, outputs=("r.txt",), max_time=100_000)
        began, spared = time.time(), 160
        shipped.boot(spared)
        machine.wait()
    assert shipped.status()["state"] == "timed-out"
    assert time.time() - began < spared
    assert [each.path for each in shipped.manifest().results] == ["r.txt"]
