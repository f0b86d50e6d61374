"""Supervisors that are killed, and servers that go down, in the middle of a job: who comes next goes on from there."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.agent_bench import Machine, Metadata, until
from support.shipped_job import Shipped
from support.waiting_job import go

from skylift.agent.job.ledger import Ledger
from skylift.agent.job.status import Status
from skylift.agent.program.shipper import Shipper
from skylift.agent.program.stream import SEGMENT, Stream

# A second copy would say so. What it writes while nobody is there to read must be there in the end.
COUNTS = """
import os, sys, time
with open("starts", "a") as file:
    print("started", file=file)
n = 0
while not os.path.exists("go"):
    os.write(1, b"%09d\\n" % n)
    n += 1
    time.sleep(0.001)
os.write(2, b"%d" % n)
open("r.txt", "w").write("worth keeping")
sys.exit(7)
"""


def counted(shipped: Shipped) -> None:
    total = int(shipped.stream("stderr"))
    assert shipped.stream("stdout") == b"".join(b"%09d\n" % number for number in range(total))


def results(shipped: Shipped) -> list[str]:
    return [each.path for each in shipped.manifest().results]


def program_of(shipped: Shipped) -> int:
    """Its pid, which S3 may be told of after the first of its output."""
    return int(until(lambda: shipped.status().get("pid"), "the program's number in S3"))


def starts(machine: Machine) -> str:
    return (machine.home / "job" / "starts").read_text()


def test_a_killed_supervisor_has_a_successor_who_goes_on(shipped: Shipped, machine: Machine) -> None:
    shipped.ship(COUNTS, outputs=["*.txt"])
    shipped.boot()
    until(lambda: shipped.stream("stdout"), "output in S3")
    for _ in range(3):
        machine.lose_supervisor()
    door = shipped.door()
    door.send(stream={"stdout": 0, "stderr": 0})
    assert next(data for kind, data in door.frames() if kind == "o").startswith(b"000000000\n")
    go(machine)
    machine.wait()
    door.close()
    status = shipped.status()
    assert (status["state"], status["exit_code"], status["final"]) == ("failed", 7, True)
    counted(shipped)
    assert results(shipped) == ["r.txt"]
    assert starts(machine) == "started\n"


def test_an_end_that_comes_while_nobody_is_there(shipped: Shipped, machine: Machine) -> None:
    """The keeper is the program's parent then, and learns of its end."""
    shipped.ship(COUNTS, outputs=["*.txt"])
    shipped.boot()
    until(lambda: shipped.stream("stdout"), "output in S3")
    assert machine.process is not None
    (lost,) = machine.supervisors
    program = int(until(lambda: shipped.status().get("pid"), "the program's pid in S3"))
    # Stopped, the keeper notices neither end before both have come.
    os.kill(machine.process.pid, signal.SIGSTOP)
    os.kill(lost, signal.SIGKILL)
    go(machine)
    until(lambda: (machine.home / "job/r.txt").exists() and has_ended(program), "the program's end")
    os.kill(machine.process.pid, signal.SIGCONT)
    machine.wait()
    assert (shipped.status()["state"], shipped.status()["exit_code"]) == ("failed", 7)
    counted(shipped)
    assert starts(machine) == "started\n"


def has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_cap_outlives_the_supervisor_who_set_it(shipped: Shipped, machine: Machine) -> None:
    shipped.ship(COUNTS, max_time=5)
    shipped.boot()
    until(lambda: shipped.stream("stdout"), "output in S3")
    machine.lose_supervisor()
    machine.wait()
    status = shipped.status()
    assert (status["state"], status["exit_code"], status["signal"]) == ("timed-out", 124, "SIGTERM")


def test_what_ended_the_program_is_told_by_whoever_sees_its_end(shipped: Shipped, machine: Machine) -> None:
    shipped.ship(
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: open('asked', 'w').close())\n"
        "print('up', flush=True)\n"
        "while not os.path.exists('go'): time.sleep(0.01)\n"
        "raise SystemExit(5)\n"
    )
    shipped.boot()
    until(lambda: shipped.stream("stdout"), "output in S3")
    shipped.put(shipped.prefix.cancel, b"")
    until((machine.home / "job/asked").exists, "SIGTERM")
    machine.lose_supervisor()
    go(machine)
    machine.wait()
    assert (shipped.status()["state"], shipped.status()["exit_code"]) == ("cancelled", 5)


@pytest.mark.parametrize("when", range(6))
def test_killed_while_it_prepares_or_delivers(shipped: Shipped, machine: Machine, when: int) -> None:
    """At another moment each time: the ledger's first lines, or the status in S3."""
    moments: list[Any] = [
        lambda: True,
        (machine.root / "var/lib/skylift/supervisor.pyz").exists,
        shipped.status,
        *(partial(noted, shipped, machine, word) for word in (b'"start"', b'"pid"', b'"end"')),
    ]
    shipped.ship(
        "with open('starts', 'a') as file: print('started', file=file)\nopen('r.txt', 'w').write('x')\nprint('ran')\n",
        outputs=["r.txt"],
    )
    shipped.boot()
    process = machine.process
    assert process is not None
    found = until(lambda: machine.supervisors or process.poll() is not None, "the supervisor")
    until(moments[when], "the moment")
    # A zombie's number is nobody else's: where it was over already, nothing happens.
    with contextlib.suppress(ProcessLookupError):
        for supervisor in found if isinstance(found, list) else []:
            os.kill(supervisor, signal.SIGKILL)
    machine.wait()
    status = shipped.status()
    assert (status["state"], status["exit_code"], status["final"]) == ("succeeded", 0, True)
    assert shipped.stream("stdout") == b"ran\n"
    assert results(shipped) == ["r.txt"]
    assert starts(machine) == "started\n"


def noted(shipped: Shipped, machine: Machine, word: bytes) -> bool:
    place = ledger(shipped, machine)
    return place.exists() and word in place.read_bytes()


def ledger(shipped: Shipped, machine: Machine) -> Path:
    return machine.root / "var/lib/skylift" / shipped.prefix.job / "ledger"


def test_a_keeper_that_is_killed_is_not_missed_by_the_job(shipped: Shipped, machine: Machine) -> None:
    shipped.ship(COUNTS, outputs=["*.txt"])
    shipped.boot()
    until(lambda: shipped.stream("stdout"), "output in S3")
    lose_keeper(machine)
    go(machine)
    until(lambda: shipped.status().get("final"), "the final status")
    assert shipped.status()["exit_code"] == 7
    counted(shipped)
    until(lambda: not machine.pairs, "everybody to leave")


def lose_keeper(machine: Machine) -> None:
    """Another pair stands by when this returns."""
    assert machine.process is not None
    before = machine.pairs
    machine.process.kill()
    machine.process.wait()
    until(lambda: len(machine.pairs - before) == 2, "a second pair")


def test_a_keeper_that_hears_of_a_shutdown_first_stays(shipped: Shipped, machine: Machine) -> None:
    """A shutdown says SIGTERM to everybody, not to all of them at once."""
    shipped.ship(COUNTS)
    shipped.boot()
    until(lambda: shipped.stream("stdout"), "output in S3")
    assert machine.process is not None
    machine.process.terminate()
    until(lambda: noted(shipped, machine, b'"down"'), "the keeper to hear of it")
    go(machine)
    until(lambda: shipped.status().get("final"), "the final status")
    until(lambda: not machine.pairs, "the supervisor to leave")
    assert (shipped.status()["state"], shipped.status()["exit_code"]) == ("failed", 7)
    assert "stands by" not in machine.console()


def test_how_a_program_ends_in_a_shutdown_is_noted(shipped: Shipped, machine: Machine) -> None:
    """It may have taken its time to save its work, when its supervisor was gone."""
    shipped.ship(COUNTS)
    shipped.boot()
    until(lambda: shipped.stream("stdout"), "output in S3")
    (supervisor,) = machine.supervisors
    assert machine.process is not None
    for pid in (machine.process.pid, supervisor):
        os.kill(pid, signal.SIGTERM)
    until(lambda: not machine.supervisors, "the supervisor to end")
    assert not noted(shipped, machine, b'"end": 7')
    go(machine)
    assert machine.process.wait() == -signal.SIGTERM
    assert noted(shipped, machine, b'"end": 7')


def test_when_both_are_killed_the_job_says_that_nobody_knows_its_end(shipped: Shipped, machine: Machine) -> None:
    """What there is comes home all the same, once the program has ended, and it is not started again."""
    shipped.ship(COUNTS, outputs=["*.txt"])
    shipped.boot()
    until(lambda: shipped.stream("stdout"), "output in S3")
    (supervisor,) = machine.supervisors
    lose_keeper(machine)
    os.kill(supervisor, signal.SIGKILL)
    until(lambda: "takes over" in machine.console(), "the other pair to see it")
    assert not shipped.status()["final"]
    go(machine)
    until(lambda: shipped.status().get("final"), "the final status")
    assert (shipped.status()["state"], shipped.status()["exit_code"]) == ("broken", 125)
    assert "not known" in shipped.status()["reason"]
    counted(shipped)
    assert results(shipped) == ["r.txt"]
    assert starts(machine) == "started\n"
    until(lambda: not machine.pairs, "everybody to leave")


def test_a_server_that_is_rebooted_says_so_and_never_starts_its_program_again(
    shipped: Shipped, machine: Machine
) -> None:
    shipped.ship(COUNTS.replace("import os", "open('half.txt', 'w').write('so far')\nimport os"), outputs=["*.txt"])
    shipped.boot()
    until(lambda: shipped.stream("stdout"), "output in S3")
    machine.go_off()
    shipped.boot()
    machine.wait()
    status = shipped.status()
    assert (status["state"], status["exit_code"], status["final"]) == ("rebooted", 122, True)
    assert status["started"]
    assert shipped.stream("stdout").startswith(b"000000000\n")
    assert status["streams"]["stdout"] == len(shipped.stream("stdout"))
    assert results(shipped) == ["half.txt"]
    assert starts(machine) == "started\n"
    assert machine.off_commands()[-1] == "shutdown -P now"


@pytest.mark.parametrize(
    ("order", "state", "exit_code"),
    [({"max_time": 1}, "timed-out", 124), ({"idle": 1}, "idle", 124), ({}, "cancelled", 137)],
)
def test_what_was_ending_the_program_before_the_reboot_is_its_end(
    shipped: Shipped, machine: Machine, order: dict[str, int], state: str, exit_code: int
) -> None:
    """It takes its time after SIGTERM, and the server goes off before that is over."""
    shipped.ship(
        "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(90)", **order
    )
    shipped.boot()
    until(lambda: shipped.stream("stdout"), "output in S3")
    if not order:
        shipped.put(shipped.prefix.cancel, b"")
    until(lambda: noted(shipped, machine, b'"ending"'), "the reason of its end")
    machine.go_off()
    shipped.boot()
    machine.wait()
    status = shipped.status()
    assert (status["state"], status["exit_code"], status["final"]) == (state, exit_code, True)
    assert status["program_seconds"] > 0


def test_started_again_after_its_deadline_it_has_time_to_deliver(shipped: Shipped, machine: Machine) -> None:
    shipped.ship(COUNTS.replace("import os", "open('half.txt', 'w').write('so far')\nimport os"), outputs=["*.txt"])
    shipped.boot()
    until(lambda: shipped.stream("stdout"), "output in S3")
    machine.go_off()
    shipped.boot(-3600)
    machine.wait()
    assert shipped.status()["state"] == "rebooted"
    assert results(shipped) == ["half.txt"]
    assert machine.off_commands()[-2] in {"shutdown -P +18", "shutdown -P +19"}


def test_short_of_memory_the_kernel_takes_the_program_first(shipped: Shipped, machine: Machine) -> None:
    shipped.ship(COUNTS)
    shipped.boot()
    until(lambda: shipped.stream("stdout"), "output in S3")
    (supervisor,) = machine.supervisors
    program = program_of(shipped)
    assert [int(Path(f"/proc/{pid}/oom_score_adj").read_text()) for pid in (supervisor, program)] == [0, 500]
    go(machine)
    machine.wait()


def test_a_reboot_before_the_program_has_started_costs_only_time(
    shipped: Shipped, machine: Machine, metadata: Metadata
) -> None:
    shipped.ship("print('ran')")
    claim = json.dumps({"instance": metadata.instance}).encode()
    shipped.put(f"{shipped.prefix.base}/server/attempts/1.json", claim)
    ledger(shipped, machine).parent.mkdir(parents=True)
    # Beyond any process's number.
    Ledger(ledger(shipped, machine)).note(helper=1 << 22)
    shipped.boot()
    machine.wait()
    assert shipped.status()["state"] == "succeeded"
    assert shipped.stream("stdout") == b"ran\n"


def test_an_end_before_the_reboot_is_the_programs_own(shipped: Shipped, machine: Machine) -> None:
    shipped.ship("open('r.txt', 'w').write('x')\nprint('ran')\nraise SystemExit(3)\n", outputs=["r.txt"])
    shipped.boot()
    until(lambda: noted(shipped, machine, b'"end"'), "its end")
    machine.go_off()
    shipped.boot()
    machine.wait()
    assert (shipped.status()["state"], shipped.status()["exit_code"]) == ("failed", 3)
    assert shipped.stream("stdout") == b"ran\n"
    assert results(shipped) == ["r.txt"]


def test_an_end_by_the_shutdown_is_the_reboots(shipped: Shipped, machine: Machine) -> None:
    """A shutdown sends SIGTERM to everybody: a program that ends well by it has not come to its end."""
    shipped.ship(
        "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"
        "print('up', flush=True)\nwhile True: time.sleep(0.1)\n"
    )
    shipped.boot()
    until(lambda: shipped.stream("stdout"), "output in S3")
    assert machine.process is not None
    ours = [*machine.supervisors, machine.process.pid]
    # Nobody sees another one end before he is told himself.
    for pid in ours:
        os.kill(pid, signal.SIGSTOP)
    for pid in (program_of(shipped), *ours):
        os.kill(pid, signal.SIGTERM)
    for pid in ours:
        os.kill(pid, signal.SIGCONT)
    assert machine.process.wait() == -signal.SIGTERM
    machine.go_off()
    shipped.boot()
    machine.wait()
    assert (shipped.status()["state"], shipped.status()["exit_code"]) == ("rebooted", 122)


def test_a_log_is_gone_on_with_where_it_was(tmp_path: Path) -> None:
    def stream() -> Stream:
        return Stream("stdout", tmp_path, threading.Condition(), (os.geteuid(), os.getegid()), 2 * SEGMENT)

    first = stream()
    for number in range(4):
        first.append(bytes([number]) * SEGMENT)
    first.append(b"one ")
    first.finish()
    second = stream()
    assert (second.size, second.cut) == (4 * SEGMENT + 4, (SEGMENT, 3 * SEGMENT))
    second.append(b"two")
    second.finish()
    assert second.read(4 * SEGMENT, 10) == (4 * SEGMENT, b"one two")


def test_half_a_line_of_the_ledger_says_nothing(tmp_path: Path) -> None:
    kept = Ledger(tmp_path / "ledger")
    kept.note(pid=1, end=3)
    with (tmp_path / "ledger").open("a") as file:
        file.write('{"end": 4, "en')
    kept.note(ending="idle")
    assert kept.read() == {"pid": 1, "end": 3, "ending": "idle"}


def test_two_that_read_one_ledger_at_a_time_miss_nothing(tmp_path: Path) -> None:
    """A supervisor is a fork of its keeper, and has the ledger's descriptor in common with it."""
    kept = Ledger(tmp_path / "ledger")
    told = {"start": {"arrived": {f"data/{n:04d}": [n, n] for n in range(500)}}, "pid": 12}
    for name, value in told.items():
        kept.note(**{name: value})
    other = os.fork()
    missed = sum(kept.read() != told for _ in range(3000))
    if other == 0:
        os._exit(min(missed, 255))
    _, status = os.waitpid(other, 0)
    assert (missed, os.waitstatus_to_exitcode(status)) == (0, 0)


def test_a_line_that_is_being_written_counts_once_it_is_whole(tmp_path: Path) -> None:
    kept = Ledger(tmp_path / "ledger")
    kept.note(pid=1)
    with (tmp_path / "ledger").open("a") as file:
        file.write('\n{"end": ')
        file.flush()
        assert kept.latest("pid", "end") == {"pid": 1}
        file.write("3}\n")
    assert kept.latest("pid", "end") == {"pid": 1, "end": 3}
    assert kept.read() == {"pid": 1, "end": 3}


def test_half_a_line_of_what_was_shipped_says_nothing(tmp_path: Path) -> None:
    """A number that was cut off would have pieces overlap, and output told twice."""
    streams = [
        Stream(name, tmp_path, threading.Condition(), (os.geteuid(), os.getegid())) for name in ("stdout", "stderr")
    ]
    sent: dict[str, bytes] = {}

    class Prefix:
        def put(self, key: str, body: bytes, first: bool = False, times: str = "") -> bool:
            sent[key] = body
            return True

    def shipper() -> Shipper:
        return Shipper(Prefix(), streams, Status("job", threading.Condition()), tmp_path)  # type: ignore[arg-type]

    streams[0].append(b"x" * 100)
    streams[1].append(b"y" * 100)
    shipper().finish(0)
    whole = (tmp_path / "shipped").read_text()
    assert shipper().shipped == {"stdout": 100, "stderr": 100}
    lines = whole.splitlines(keepends=True)
    for cut in range(len(lines[-1])):
        half = "".join(lines[:-1]) + lines[-1][:cut]
        (tmp_path / "shipped").write_text(half + "\n")
        told = shipper()
        told.finish(0)
        assert told.shipped == {"stdout": 100, "stderr": 100}
    pieces = {key: len(body) for key, body in sent.items() if "status" not in key}
    assert pieces == {f"server/{name}/{0:020d}": 100 for name in ("stdout", "stderr")}
    for stream in streams:
        stream.finish()
