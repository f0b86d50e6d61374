"""A program that is started again when it fails: how often, after what, in which folder, and what the record says."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.agent_bench import Machine, Metadata, until
from support.shipped_job import Shipped
from support.spot_counting import attempt, notice

from skylift.agent.job.outcome import Outcome
from skylift.agent.lifecycle.retries import LONGEST, Retries
from skylift.agent.spot.spot_notice import ACTION
from skylift.client.job.job import Program
from skylift.client.job.server_record import parse_status, tries_of
from skylift.client.job.settings import Settings
from skylift.client.plan.plan_job import Order
from skylift.client.remote.api import Api
from skylift.contract.record import Retry
from skylift.contract.states import State

# Leaves a line in its folder each time, and ends with what its arguments say for that time.
TRIES = """
import os, sys
with open("tries.txt", "a") as file:
    file.write(os.environ["SKYLIFT_ATTEMPT"] + "\\n")
number = len(open("tries.txt").readlines())
print("try", number, flush=True)
code = int(sys.argv[1:][number - 1])
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
"""
WAITS = """
import os, sys, time
print("try", os.environ["SKYLIFT_ATTEMPT"], flush=True)
while not os.path.exists("go"):
    time.sleep(0.02)
sys.exit(3)
"""


@pytest.fixture
def second(api: Api, settings: Settings, endpoint: str, shipped: Shipped, tmp_path: Path) -> Iterator[Shipped]:
    """The server that comes after the first."""
    with Metadata() as metadata:
        metadata.instance = "i-0fedcba9876543210"
        with Machine(endpoint, metadata) as machine:
            yield Shipped(api, settings, machine, shipped.folder)


def ship(
    shipped: Shipped,
    source: str,
    *args: str,
    times: int = 3,
    on: tuple[tuple[int, int], ...] = (),
    pause: float = 0.05,
    spot: dict[str, Any] | None = None,
    **order: Any,
) -> None:
    (shipped.folder / "job.py").write_text(source)
    record: dict[str, Any] = {"retry": {"times": times, "on": on, "pause": pause}}
    record |= {"spot": spot} if spot is not None else {}
    shipped.ship_order(Order(Program("script", "job.py", args), retry=Retry(times, on), **order), **record)


def run(shipped: Shipped, *codes: int, **how: Any) -> dict[str, Any]:
    ship(shipped, TRIES, *map(str, codes), **how)
    shipped.boot()
    shipped.machine.wait()
    return shipped.status()


def codes_of(status: dict[str, Any]) -> list[int]:
    return [each["exit_code"] for each in status["tries"]]


def test_a_program_that_fails_is_started_again_in_its_folder_as_it_left_it(shipped: Shipped, tmp_path: Path) -> None:
    status = run(shipped, 75, -signal.SIGSEGV, 0, outputs=["tries.txt"], env=["SECRET=1"])
    assert (status["state"], status["exit_code"]) == ("succeeded", 0)
    assert shipped.stream("stdout") == b"try 1\ntry 2\ntry 3\n"
    assert shipped.bring_home(tmp_path) == ["tries.txt"]
    assert (tmp_path / "tries.txt").read_text() == "1\n2\n3\n"
    told = parse_status("status.json", json.dumps(status).encode())
    assert [(each.number, each.exit_code, each.signal) for each in tries_of(told)] == [
        (1, 75, None),
        (2, 139, "SIGSEGV"),
        (3, 0, None),
    ]
    assert told.tries[0].reason == "The program exited with 75."
    assert [each.pause for each in told.tries] == [0.05, 0.1, None]
    assert told.retries == 2
    for each in told.tries:
        assert each.began is not None
        assert each.ended is not None
        assert each.seconds is not None
        assert status["started"] <= each.began <= each.ended <= status["ended"]
    assert told.program_seconds is not None
    assert told.program_seconds >= sum(each.seconds or 0 for each in told.tries) + 0.15
    assert shipped.read(shipped.prefix.env) is None, "values of --env are gone at the end"


def test_the_last_failure_is_the_jobs_end(shipped: Shipped) -> None:
    status = run(shipped, 1, 2, 3, 4, times=2)
    assert (status["state"], status["exit_code"]) == ("failed", 3)
    assert codes_of(status) == [1, 2, 3]


@pytest.mark.parametrize(("codes", "ran"), [((75, 134, 0), 3), ((75, 1, 0), 2), ((2, 0), 1)])
def test_only_codes_that_are_named_count(shipped: Shipped, codes: tuple[int, ...], ran: int) -> None:
    status = run(shipped, *codes, on=((75, 75), (130, 140)))
    assert status["exit_code"] == codes[ran - 1]
    assert codes_of(status) == list(codes[:ran])


def test_without_retries_nothing_is_said_of_tries(shipped: Shipped) -> None:
    assert "tries" not in shipped.run("raise SystemExit(1)")


def test_a_command_that_cannot_be_started_is_not_tried_again(shipped: Shipped, machine: Machine) -> None:
    retry = {"times": 3, "on": [], "pause": 0.05}
    shipped.ship_order(Order(Program("command", "nosuchcmd"), retry=Retry(3)), retry=retry)
    shipped.boot()
    machine.wait()
    status = shipped.status()
    assert (status["exit_code"], status["tries"]) == (127, [])


def test_what_a_try_left_running_ends_before_the_next(shipped: Shipped) -> None:
    source = (
        "import os, subprocess, sys\n"
        "if os.path.exists('left'):\n"
        "    sys.exit(os.path.exists('/proc/' + open('left').read()) * 9)\n"
        "open('left', 'w').write(str(subprocess.Popen(['sleep', '600']).pid))\n"
        "sys.exit(1)\n"
    )
    ship(shipped, source)
    shipped.boot()
    shipped.machine.wait()
    assert codes_of(shipped.status()) == [1, 0]


def test_ctrl_c_is_no_failure(shipped: Shipped, machine: Machine) -> None:
    ship(shipped, WAITS)
    shipped.boot()
    door = shipped.door()
    door.send(stream={"stdout": 0, "stderr": 0})
    frames = door.frames()
    until(lambda: next(frames)[0] == "o", "the program to have begun")
    door.send(signal="INT")
    machine.wait()
    status = shipped.status()
    assert (status["signal"], codes_of(status)) == ("SIGINT", [130])


@pytest.mark.parametrize("order", [{"cancel": True}, {"signal": "INT"}])
def test_between_two_tries_one_can_end_it(shipped: Shipped, machine: Machine, order: dict[str, Any]) -> None:
    ship(shipped, WAITS, pause=50)
    shipped.boot()
    shipped.go()
    until(lambda: shipped.status().get("tries"), "the first try to have ended")
    shipped.door().send(**order)
    machine.wait()
    status = shipped.status()
    assert (status["state"], status["exit_code"]) == ("cancelled" if "cancel" in order else "failed", 3)
    assert codes_of(status) == [3]


def test_the_cap_is_one_for_all_of_them(shipped: Shipped) -> None:
    """What could only begin after it is not waited for."""
    status = run(shipped, 3, 0, pause=40, max_time=30)
    assert (status["state"], status["exit_code"], codes_of(status)) == ("failed", 3, [3])


def test_the_cap_ends_a_later_try_as_well(shipped: Shipped, machine: Machine) -> None:
    source = "import os, sys, time\nif os.environ['SKYLIFT_ATTEMPT'] == '1': sys.exit(1)\ntime.sleep(600)\n"
    ship(shipped, source, max_time=3)
    shipped.boot()
    machine.wait()
    status = shipped.status()
    assert (status["state"], status["exit_code"]) == ("timed-out", 124)
    assert codes_of(status) == [1, 124]
    assert status["program_seconds"] < 20


def test_a_successor_of_the_supervisor_starts_it_again_too(shipped: Shipped, machine: Machine) -> None:
    """Killed while the first one runs, and between two: nothing is counted twice, and --env is there still."""
    source = WAITS.replace("sys.exit(3)", "sys.exit(0 if os.environ['SKYLIFT_ATTEMPT'] == '3' else 3)").replace(
        '"try",', '"try", os.environ["SECRET"],'
    )
    ship(shipped, source, pause=1.5, env=["SECRET=s3"])
    shipped.boot()
    until((machine.home / "job/job.py").exists, "the job to be unpacked")
    until(lambda: b"try" in shipped.stream("stdout"), "the program to have begun")
    machine.lose_supervisor()
    shipped.go()
    until(lambda: shipped.status().get("tries"), "the first try to have ended")
    machine.lose_supervisor()
    machine.wait()
    status = shipped.status()
    assert (status["state"], codes_of(status)) == ("succeeded", [3, 3, 0])
    assert shipped.stream("stdout") == b"try s3 1\ntry s3 2\ntry s3 3\n"


def test_a_server_that_is_taken_away_is_no_failure_and_the_next_one_knows_of_those(
    shipped: Shipped, machine: Machine, metadata: Metadata, second: Shipped
) -> None:
    source = (
        "import os, sys, time\n"
        "print('try', os.environ['SKYLIFT_ATTEMPT'], flush=True)\n"
        "if os.environ['SKYLIFT_ATTEMPT'] == '2':\n"
        "    open('up', 'w').close()\n"
        "    time.sleep(600)\n"
        "sys.exit(5)\n"
    )
    ship(shipped, source, times=2, spot={"checkpoint": "", "beat": 0.2})
    second.prefix = shipped.prefix
    shipped.boot()
    until((machine.home / "job/up").exists, "the second try to have begun")
    metadata.more[ACTION] = notice(120)
    machine.wait()
    assert [each["exit_code"] for each in attempt(shipped, 1)["tries"]] == [5]
    second.boot()
    second.machine.wait()
    status = shipped.status()
    assert (status["exit_code"], status["attempt"]) == (5, 2)
    # One on the first server, and one and the last on the second: two times were all.
    assert codes_of(status) == [5, 5, 5]
    assert shipped.stream("stdout") == b"try 1\ntry 2\ntry 3\ntry 4\n"
    told = parse_status("status.json", json.dumps(status).encode())
    assert [each.number for each in tries_of(told)] == [1, 3, 4]


def test_pauses_grow_up_to_a_minute() -> None:
    retries, pauses = Retries(Retry(100), []), []
    outcome = Outcome(State.FAILED, "It exited with 1.", 1)
    while (pause := retries.pause(outcome, 1e6)) is not None:
        pauses.append(pause)
        retries.add(outcome, 1, "", "", 0.0, pause)
    assert pauses[:7] == [1, 2, 4, 8, 16, 32, 60]
    assert len(pauses) == 100
    assert max(pauses) == LONGEST


@pytest.mark.parametrize(
    ("state", "code", "again"),
    [
        (State.FAILED, 1, True),
        (State.SUCCEEDED, 0, False),
        (State.CANCELLED, 143, False),
        (State.TIMED_OUT, 124, False),
        (State.IDLE, 124, False),
        (State.INTERRUPTED, 75, False),
        (State.OUT_OF_MEMORY, 121, False),
    ],
)
def test_what_is_a_failure_of_its_own(state: State, code: int, again: bool) -> None:
    assert (Retries(Retry(1), []).pause(Outcome(state, "", code), 100) is not None) == again


def test_want_of_memory_is_one_where_it_is_named() -> None:
    outcome = Outcome(State.OUT_OF_MEMORY, "", 121)
    assert Retries(Retry(1, ((121, 121),)), []).pause(outcome, 100) == 1.0
    assert Retries(Retry(1, ((1, 120),)), []).pause(outcome, 100) is None


@pytest.mark.parametrize("tries", [{}, [1], [{}] * 1001, "many"])
def test_what_is_no_list_of_tries_is_no_attempt(tries: object) -> None:
    from skylift.agent.job.attempts import parse

    assert parse(json.dumps({"instance": "i-1", "tries": tries}).encode()) is None
