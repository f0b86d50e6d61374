"""The program's standard input, as the server passes it on from the job's record."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.agent_bench import Machine, Metadata, children_of, cmdline, until
from support.shipped_job import Shipped
from support.spot_counting import notice, ship

from skylift.agent.spot.spot_notice import ACTION
from skylift.client.job.job import Program
from skylift.client.job.settings import Settings
from skylift.client.plan.plan_job import Order
from skylift.client.remote.api import Api
from skylift.contract.record import Terminal

# Says what it has read, a line at a time, and at the end of file how much that was.
READS = """
import os, sys
print("up", flush=True)
size = 0
for line in sys.stdin.buffer:
    size += len(line)
    print("read", line, flush=True)
print("end", size, flush=True)
"""
DIGESTS = """
import hashlib, sys
digest = hashlib.sha256()
while data := sys.stdin.buffer.read1(1 << 20):
    digest.update(data)
print(digest.hexdigest())
"""


class Record:
    """The client's hand in a job's record."""

    def __init__(self, api: Api, shipped: Shipped) -> None:
        self._api, self._shipped = api, shipped
        self.offset = 0

    def write(self, data: bytes, *, last: bool = False) -> None:
        key = f"{self._shipped.prefix.base}/in/stdin/{self.offset:020}"
        bucket, more = self._shipped._bucket, {"Metadata": {"last": "1"}} if last else {}
        self._api.call("s3", "put_object", Bucket=bucket, Key=key, Body=data, **more)
        self.offset += len(data)


@pytest.fixture
def record(api: Api, shipped: Shipped) -> Record:
    return Record(api, shipped)


@pytest.fixture
def second(api: Api, settings: Settings, endpoint: str, shipped: Shipped) -> Iterator[Shipped]:
    """The server that comes after the first."""
    with Metadata() as metadata:
        metadata.instance = "i-0fedcba9876543210"
        with Machine(endpoint, metadata) as machine:
            yield Shipped(api, settings, machine, shipped.folder)


def reading(shipped: Shipped) -> Iterator[bytes]:
    """Lines of the program's standard output, as they come."""
    door = shipped.door()
    door.send(stream={"stdout": 0, "stderr": 0})
    rest = b""
    for kind, data in door.frames():
        *lines, rest = (rest + (data if kind == "o" else b"")).split(b"\n")
        yield from lines
    door.close()


def has_same_pipe(feed: int, others: list[int]) -> bool:
    """One of them has what the process that fills the pipe writes to."""
    pipe = Path(f"/proc/{feed}/fd/1").stat()
    for file in (each for other in others for each in Path(f"/proc/{other}/fd").iterdir()):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            if os.path.samestat(pipe, file.stat()):
                return True
    return False


def feeds(machine: Machine) -> list[int]:
    """Who fills pipes of this machine's programs."""
    assert machine.process is not None
    everybody = [machine.process.pid, *machine.supervisors]
    return [child for parent in everybody for child in children_of(parent) if b"feed_stdin" in cmdline(child)]


def test_line_by_line_to_the_end_of_file(shipped: Shipped, machine: Machine, record: Record) -> None:
    shipped.ship(READS, stdin=True)
    shipped.boot()
    lines = reading(shipped)
    assert next(lines) == b"up"
    bell = shipped.door()
    for word in (b"one\n", b"two\n", bytes(range(11, 256)) + b"\n"):
        record.write(word)
        bell.send(stdin=True)
        assert next(lines) == b"read " + repr(word).encode()
    record.write(b"", last=True)
    assert next(lines) == b"end %d" % record.offset
    bell.close()
    machine.wait()
    assert shipped.status()["exit_code"] == 0


def test_what_was_there_before_the_program_and_the_end_with_it(shipped: Shipped, record: Record) -> None:
    job = shipped.ship(DIGESTS, stdin=True)
    data, digest = os.urandom(3 << 20), hashlib.sha256()
    for _ in range(8):
        digest.update(data)
        record.write(data)
    digest.update(b"rest")
    record.write(b"rest", last=True)
    shipped.boot()
    shipped.machine.wait()
    assert shipped.stream("stdout").decode() == digest.hexdigest() + "\n"
    told = json.loads(shipped.read(f"{shipped.prefix.base}/server/stdin.json") or b"")
    assert 16 << 20 <= told["taken"] <= record.offset, job.name


def test_without_one_it_is_empty_as_before(shipped: Shipped) -> None:
    shipped.run("import os, sys\nprint(repr(sys.stdin.read()), os.path.realpath('/dev/stdin'))\n")
    assert shipped.stream("stdout") == b"'' /dev/null\n"


def test_one_that_never_comes_holds_nobody_up(shipped: Shipped, machine: Machine) -> None:
    """A client may have an open pipe that nobody writes to."""
    assert shipped.run("print('done')", stdin=True)["state"] == "succeeded"
    assert shipped.stream("stdout") == b"done\n"


def test_a_program_that_has_had_enough_ends(shipped: Shipped, record: Record) -> None:
    job = "import sys\nprint(sys.stdin.readline(), end='')\nsys.stdin.close()\n"
    shipped.ship(job, stdin=True)
    record.write(b"first\n" + bytes(4 << 20))
    record.write(bytes(4 << 20))
    shipped.boot()
    shipped.machine.wait()
    assert shipped.stream("stdout") == b"first\n"
    assert shipped.status()["state"] == "succeeded"


def test_it_can_be_opened_by_its_name_and_waited_for(shipped: Shipped, record: Record) -> None:
    source = "import select, sys\nselect.select([0], [], [])\nprint(open('/dev/stdin').read(), end='')\n"
    shipped.ship(source, stdin=True)
    record.write(b"named\n", last=True)
    shipped.boot()
    shipped.machine.wait()
    assert shipped.stream("stdout") == b"named\n"


def test_it_outlives_its_supervisor(shipped: Shipped, machine: Machine, record: Record) -> None:
    shipped.ship(READS, stdin=True)
    shipped.boot()
    lines = reading(shipped)
    assert next(lines) == b"up"
    record.write(b"one\n")
    assert next(lines) == b"read b'one\\n'"
    machine.lose_supervisor()
    bell = shipped.door()
    record.write(b"two\n")
    bell.send(stdin=True)
    until(lambda: b"two" in shipped.stream("stdout"), "what came after that")
    record.write(b"three\n", last=True)
    bell.send(stdin=True)
    bell.close()
    machine.wait()
    said = [b"read b'%s\\n'" % each for each in (b"one", b"two", b"three")]
    assert shipped.stream("stdout").splitlines() == [b"up", *said, b"end 14"]
    assert shipped.status()["exit_code"] == 0


def test_one_that_breaks_off_does_not_look_like_its_end(shipped: Shipped, machine: Machine, record: Record) -> None:
    shipped.ship(READS, stdin=True)
    shipped.boot()
    lines = reading(shipped)
    assert next(lines) == b"up"
    record.write(b"half\n")
    assert next(lines) == b"read b'half\\n'"
    (feed,) = feeds(machine)
    os.kill(feed, signal.SIGKILL)
    machine.wait()
    status = shipped.status()
    assert (status["state"], status["exit_code"]) == ("broken", 125)
    assert "input broke off" in status["reason"]
    assert b"end" not in shipped.stream("stdout")


def test_one_that_breaks_off_with_its_supervisor_is_no_success(
    shipped: Shipped, machine: Machine, record: Record
) -> None:
    """The program sees an end of file then, which nobody is left to hold off."""
    shipped.ship(READS, stdin=True)
    shipped.boot()
    lines = reading(shipped)
    assert next(lines) == b"up"
    (feed,), (supervisor,) = feeds(machine), machine.supervisors
    for each in (supervisor, feed):
        os.kill(each, signal.SIGKILL)
    machine.wait()
    status = shipped.status()
    assert (status["state"], status["exit_code"]) == ("broken", 125)
    assert "input broke off" in status["reason"]


def test_one_that_breaks_off_after_its_supervisor_does_not_look_like_its_end(
    shipped: Shipped, machine: Machine, record: Record
) -> None:
    shipped.ship(READS, stdin=True)
    shipped.boot()
    lines = reading(shipped)
    assert next(lines) == b"up"
    (feed,) = feeds(machine)
    machine.lose_supervisor()
    until(lambda: has_same_pipe(feed, machine.supervisors), "the next supervisor to hold the pipe")
    os.kill(feed, signal.SIGKILL)
    machine.wait()
    assert shipped.status()["state"] == "broken"
    assert b"end" not in shipped.stream("stdout")


def test_a_reboot_meanwhile_hides_no_input_that_broke_off(shipped: Shipped, machine: Machine, record: Record) -> None:
    deaf = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    shipped.ship(deaf + "print('up', flush=True)\ntime.sleep(60)\n", stdin=True)
    shipped.boot()
    assert next(reading(shipped)) == b"up"
    (feed,) = feeds(machine)
    os.kill(feed, signal.SIGKILL)
    ledger = machine.root / "var/lib/skylift" / shipped.prefix.job / "ledger"
    until(lambda: '"ending"' in ledger.read_text(), "the program to be ended")
    machine.go_off()
    shipped.boot()
    machine.wait()
    assert (shipped.status()["state"], shipped.status()["exit_code"]) == ("broken", 125)
    assert "Standard input broke off" in shipped.status()["reason"]


def test_a_program_that_ends_while_nobody_is_there_has_read_what_it_wanted(
    shipped: Shipped, machine: Machine, record: Record
) -> None:
    """Who fills the pipe sees that nobody reads any more, and its end is none that breaks off."""
    shipped.ship("import sys\nprint('up', flush=True)\nsys.stdin.readline()\n", stdin=True)
    shipped.boot()
    lines = reading(shipped)
    assert next(lines) == b"up"
    (feed,), (supervisor,) = feeds(machine), machine.supervisors
    os.kill(supervisor, signal.SIGSTOP)
    record.write(b"enough\n")
    until(lambda: b"feed_stdin" not in cmdline(feed), "the end of who fills the pipe")
    os.kill(supervisor, signal.SIGKILL)
    machine.wait()
    assert shipped.status()["state"] == "succeeded"


def test_the_next_server_has_it_from_its_first_byte(
    shipped: Shipped, machine: Machine, metadata: Metadata, second: Shipped, record: Record
) -> None:
    source = (
        "import os, signal, sys\n"
        "print('read', sys.stdin.readline(), end='', flush=True)\n"
        "if os.environ['SKYLIFT_ATTEMPT'] == '1':\n    open('up', 'w').close()\n    signal.pause()\n"
        "print('rest', sys.stdin.read(), flush=True)\n"
    )
    ship(shipped, second, source, checkpoint="", stdin=True)
    record.write(b"first\n")
    shipped.boot()
    until((machine.home / "job/up").exists, "the program to have begun")
    metadata.more[ACTION] = notice(120)
    machine.wait()
    record.write(b"second", last=True)
    second.boot()
    second.machine.wait()
    assert second.status()["state"] == "succeeded"
    assert second.stream("stdout") == b"read first\nread first\nrest second\n"


def test_nobody_is_left_who_fills_it(shipped: Shipped, machine: Machine, record: Record) -> None:
    shipped.ship("import sys\nprint('up', flush=True)\nsys.stdin.read()\n", stdin=True)
    shipped.boot()
    lines = reading(shipped)
    assert next(lines) == b"up"
    (feed,) = feeds(machine)
    # A cap would end it as well, and on a machine with much to do before it has been looked at.
    door = shipped.door()
    door.send(cancel=True)
    machine.wait()
    door.close()
    assert shipped.status()["state"] == "cancelled"
    assert b"feed_stdin" not in cmdline(feed)


@pytest.mark.parametrize("order", [{"stdin": [5, "AAAA"]}, {"stdin": -1}, {"stdin": {"offset": -5}}, {"stdin": None}])
def test_whoever_claims_to_be_standard_input_is_none(
    shipped: Shipped, machine: Machine, record: Record, order: dict[str, Any]
) -> None:
    """The socket takes only the word that there is more in the record, which a server cannot write."""
    shipped.ship(READS, stdin=True)
    shipped.boot()
    lines = reading(shipped)
    assert next(lines) == b"up"
    liar = shipped.door()
    for _ in range(5000):
        liar.send(**order)
    record.write(b"true\n", last=True)
    assert [next(lines), next(lines)] == [b"read b'true\\n'", b"end 5"]
    liar.close()
    machine.wait()


def test_a_terminal_has_its_keys_and_no_other_input(shipped: Shipped) -> None:
    (shipped.folder / "job.py").write_text("pass")
    order = Order(Program("script", "job.py"), stdin=True)
    assert shipped.ship_order(order).stdin
    assert not shipped.ship_order(replace(order, terminal=Terminal())).stdin
