"""A job that goes on on another server: what the one leaves, and what the next one makes of it."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.agent_bench import Machine, Metadata, until
from support.shipped_job import Shipped
from support.spot_counting import COUNTS, attempt, notice, ship

from skylift.agent.job.outcome import is_answer
from skylift.agent.spot.spot_notice import ACTION, ADVICE, Notice
from skylift.client.job.settings import Settings
from skylift.client.remote.api import Api


@pytest.fixture
def second(api: Api, settings: Settings, endpoint: str, shipped: Shipped, tmp_path: Path) -> Iterator[Shipped]:
    """The server that comes after the first."""
    with Metadata() as metadata:
        metadata.instance = "i-0fedcba9876543210"
        with Machine(endpoint, metadata) as machine:
            yield Shipped(api, settings, machine, shipped.folder)


def test_at_the_notice_the_next_server_goes_on_where_this_one_was(
    shipped: Shipped, machine: Machine, metadata: Metadata, second: Shipped
) -> None:
    ship(shipped, second, COUNTS, outputs=["part-*.txt"])
    shipped.boot()
    until((machine.home / "job/up").exists, "the program to have begun")
    metadata.more[ACTION] = notice(120)
    machine.wait()
    assert machine.off_commands()[-1].startswith("shutdown -P now")
    status = shipped.status()
    assert (status["state"], status["final"], status["attempt"]) == ("interrupted", False, 1)
    assert "exit_code" not in status
    assert "interrupted" in attempt(shipped, 1)["over"]
    second.boot()
    second.machine.wait()
    status = shipped.status()
    assert (status["state"], status["exit_code"], status["attempt"]) == ("succeeded", 0, 2)
    assert shipped.stream("stdout") == b"attempt 1 from 0\ntold to end at 1\nattempt 2 from 1\ndone at 2\n"
    assert status["streams"]["stdout"] == len(shipped.stream("stdout"))
    assert [each.path for each in shipped.manifest().results] == ["part-1.txt", "part-2.txt"]
    assert attempt(shipped, 2)["over"]["final"]["state"] == "succeeded"


def test_exit_0_after_a_notice_is_the_end(shipped: Shipped, machine: Machine, metadata: Metadata) -> None:
    source = COUNTS.replace("sys.exit(75)", "sys.exit(0)")
    ship(shipped, shipped, source)
    shipped.boot()
    until((machine.home / "job/up").exists, "the program to have begun")
    metadata.more[ACTION] = notice(120)
    machine.wait()
    status = shipped.status()
    assert (status["state"], status["final"], status["exit_code"]) == ("succeeded", True, 0)


def test_a_server_that_died_is_ended_and_its_checkpoint_and_log_are_gone_on_from(
    shipped: Shipped, machine: Machine, second: Shipped
) -> None:
    source = COUNTS.replace("count += 1\n", "count += 1\nsave()\n")
    ship(shipped, second, source)
    shipped.boot()
    until(lambda: attempt(shipped, 1).get("checkpoint"), "the checkpoint to be sent")
    until(lambda: shipped.stream("stdout"), "the output to be sent")
    machine.go_off()
    assert "over" not in attempt(shipped, 1)
    # What it sent at the last moment, and could not tell of any more.
    sent = len(shipped.stream("stdout"))
    shipped.put(f"{shipped.prefix.stream('stdout')}{sent:020d}", b"the last words\n")
    second.boot()
    second.machine.wait()
    assert shipped.stream("stdout") == b"attempt 1 from 0\nthe last words\nattempt 2 from 1\ndone at 2\n"
    assert "its server is ended" in second.machine.console()


def test_a_server_too_many_leaves_a_living_one_alone(shipped: Shipped, machine: Machine, second: Shipped) -> None:
    # Its silence would have to last for six seconds, whoever is held up.
    ship(shipped, second, COUNTS, beat=2)
    shipped.boot()
    until((machine.home / "job/up").exists, "the program to have begun")
    second.boot()
    second.machine.wait()
    assert "another server has it" in second.machine.console()
    assert attempt(shipped, 2) == {}
    shipped.go()
    machine.wait()
    assert shipped.stream("stdout") == b"attempt 1 from 0\ndone at 1\n"


def test_a_server_that_comes_after_the_end_goes_at_once(shipped: Shipped, machine: Machine, second: Shipped) -> None:
    ship(shipped, second, "print('once')")
    shipped.boot()
    machine.wait()
    before = shipped.status()
    second.boot()
    second.machine.wait()
    assert shipped.status() == before
    assert shipped.stream("stdout") == b"once\n"


def test_advice_to_move_ends_nothing(shipped: Shipped, machine: Machine, metadata: Metadata) -> None:
    ship(shipped, shipped, COUNTS)
    metadata.more[ADVICE] = json.dumps({"noticeTime": "2026-11-25T20:00:00Z"}).encode()
    shipped.boot()
    until(lambda: shipped.status().get("rebalance"), "the advice to be told")
    shipped.go()
    machine.wait()
    assert shipped.stream("stdout") == b"attempt 1 from 0\ndone at 1\n"


def test_a_notice_that_is_taken_back_kills_nobody(shipped: Shipped, machine: Machine, metadata: Metadata) -> None:
    """The program takes no notice of SIGTERM; with the notice standing, it would be killed at its last moment."""
    source = COUNTS.replace("    save()\n    print", "    return print")
    ship(shipped, shipped, source)
    shipped.boot()
    until((machine.home / "job/up").exists, "the program to have begun")
    metadata.more[ACTION] = notice(3600)
    until(lambda: b"told to end" in shipped.stream("stdout"), "SIGTERM to be heard")
    del metadata.more[ACTION]
    until(lambda: "withdrawn" in machine.console(), "the supervisor to see that")
    shipped.go()
    machine.wait()
    assert shipped.status()["state"] == "succeeded"


LEAVES_AS_TOLD = COUNTS.replace("    save()\n    print", "    print").replace(
    "    sys.exit(75)\n",
    """    while not os.path.exists("saved"):
        time.sleep(0.02)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.raise_signal(signal.SIGTERM)
""",
)
"""What it saves takes its time, and then it ends as SIGTERM ends a program."""


def take_back(metadata: Metadata, shipped: Shipped) -> None:
    del metadata.more[ACTION]
    until(lambda: shipped.status().get("notice") is None, "the supervisor to see that the notice is gone")


@pytest.mark.parametrize("heir", [False, True], ids=["one supervisor", "a successor"])
def test_a_failure_after_a_notice_that_was_taken_back_is_the_end(
    shipped: Shipped, machine: Machine, metadata: Metadata, *, heir: bool
) -> None:
    source = COUNTS.replace("    save()\n    print", "    return print") + "sys.exit(3)\n"
    ship(shipped, shipped, source)
    shipped.boot()
    until((machine.home / "job/up").exists, "the program to have begun")
    metadata.more[ACTION] = notice(3600)
    until(lambda: b"told to end" in shipped.stream("stdout"), "SIGTERM to be heard")
    until(lambda: shipped.status().get("notice"), "the notice to be told")
    if heir:
        # The one that follows has never seen the notice itself.
        del metadata.more[ACTION]
        machine.lose_supervisor()
    else:
        take_back(metadata, shipped)
    shipped.go()
    machine.wait()
    status = shipped.status()
    assert (status["state"], status["final"], status["exit_code"]) == ("failed", True, 3)
    assert attempt(shipped, 1)["over"]["final"]["exit_code"] == 3


def test_who_is_on_the_way_out_when_the_notice_is_taken_back_goes_on_elsewhere(
    shipped: Shipped, machine: Machine, metadata: Metadata, second: Shipped
) -> None:
    ship(shipped, second, LEAVES_AS_TOLD)
    shipped.boot()
    until((machine.home / "job/up").exists, "the program to have begun")
    metadata.more[ACTION] = notice(3600)
    until(lambda: b"told to end" in shipped.stream("stdout"), "SIGTERM to be heard")
    until(lambda: shipped.status().get("notice"), "the notice to be told")
    take_back(metadata, shipped)
    (machine.home / "job/saved").touch()
    machine.wait()
    assert (shipped.status()["state"], shipped.status()["final"]) == ("interrupted", False)
    second.boot()
    second.machine.wait()
    assert (shipped.status()["state"], shipped.status()["attempt"]) == ("succeeded", 2)


def test_a_notice_after_one_that_was_taken_back_is_heeded(
    shipped: Shipped, machine: Machine, metadata: Metadata
) -> None:
    """The program leaves at the second SIGTERM."""
    first = "    if not os.path.exists('told'):\n        open('told', 'w').close()\n        return\n    save()\n"
    ship(shipped, shipped, COUNTS.replace("    save()\n    print", first + "    print"))
    shipped.boot()
    until((machine.home / "job/up").exists, "the program to have begun")
    metadata.more[ACTION] = notice(3600)
    until((machine.home / "job/told").exists, "SIGTERM to be heard")
    until(lambda: shipped.status().get("notice"), "the notice to be told")
    take_back(metadata, shipped)
    metadata.more[ACTION] = notice(1800)
    machine.wait()
    assert (shipped.status()["state"], shipped.status()["final"]) == ("interrupted", False)


def test_a_notice_that_is_given_anew_counts_with_its_new_time(
    shipped: Shipped, machine: Machine, metadata: Metadata
) -> None:
    """And the program is not told twice: it may be in the middle of what it does about it."""
    source = COUNTS.replace("    save()\n    print", "    return print")
    ship(shipped, shipped, source)
    shipped.boot()
    until((machine.home / "job/up").exists, "the program to have begun")
    metadata.more[ACTION] = notice(3600)
    until(lambda: b"told to end" in shipped.stream("stdout"), "SIGTERM to be heard")
    metadata.more[ACTION] = notice(3)
    machine.wait()
    assert (shipped.status()["state"], shipped.status()["final"]) == ("interrupted", False)
    assert shipped.stream("stdout").count(b"told to end") == 1


def test_who_is_ended_by_ctrl_c_while_a_notice_stands_has_ended(
    shipped: Shipped, machine: Machine, metadata: Metadata
) -> None:
    """Somebody has asked for that: no other server begins it again."""
    source = COUNTS.replace("    save()\n    print", "    return print")
    ship(shipped, shipped, source)
    shipped.boot()
    until((machine.home / "job/up").exists, "the program to have begun")
    metadata.more[ACTION] = notice(3600)
    until(lambda: b"told to end" in shipped.stream("stdout"), "SIGTERM to be heard")
    door = shipped.door()
    door.send(signal="INT")
    door.close()
    machine.wait()
    status = shipped.status()
    assert (status["state"], status["final"], status["exit_code"]) == ("failed", True, 130)


def test_what_an_end_says_of_a_notice() -> None:
    """(code, does it stand, has its time come) -> whether the job goes on elsewhere."""
    now = time.time()
    later, past = now + 60, now - 1
    assert is_answer(75, stands=True, when=later, ended=now)
    assert is_answer(-signal.SIGKILL, stands=True, when=later, ended=now)
    assert not is_answer(0, stands=True, when=later, ended=now)
    for code in (3, 75, -signal.SIGKILL, -signal.SIGINT, -signal.SIGSEGV):
        assert not is_answer(code, stands=False, when=later, ended=now)
    for code in (-signal.SIGTERM, 128 + signal.SIGTERM):
        assert is_answer(code, stands=False, when=later, ended=now)
        assert not is_answer(code, stands=False, when=past, ended=now)


def test_who_does_not_heed_a_notice_is_killed_in_time_for_what_is_to_be_sent(
    shipped: Shipped, machine: Machine, metadata: Metadata
) -> None:
    source = COUNTS.replace("    save()\n    print", "    return print")
    ship(shipped, shipped, source)
    shipped.boot()
    until((machine.home / "job/up").exists, "the program to have begun")
    metadata.more[ACTION] = notice(3)
    machine.wait()
    assert (shipped.status()["state"], shipped.status()["final"]) == ("interrupted", False)


def test_a_successor_of_the_supervisor_passes_on_too(
    shipped: Shipped, machine: Machine, metadata: Metadata, second: Shipped
) -> None:
    ship(shipped, second, COUNTS)
    shipped.boot()
    until((machine.home / "job/up").exists, "the program to have begun")
    machine.lose_supervisor()
    metadata.more[ACTION] = notice(120)
    machine.wait()
    second.boot()
    second.machine.wait()
    assert shipped.stream("stdout") == b"attempt 1 from 0\ntold to end at 1\nattempt 2 from 1\ndone at 2\n"


def test_values_of_env_are_there_until_the_end(
    shipped: Shipped, machine: Machine, metadata: Metadata, second: Shipped
) -> None:
    ship(shipped, second, COUNTS.replace('print("attempt", attempt', 'print(os.environ["KEY"]'), env=["KEY=value"])
    key = shipped.prefix.env
    shipped.put(key, b'{"KEY": "value"}')
    shipped.boot()
    until((machine.home / "job/up").exists, "the program to have begun")
    metadata.more[ACTION] = notice(120)
    machine.wait()
    assert shipped.read(key)
    second.boot()
    second.machine.wait()
    assert shipped.stream("stdout").count(b"value from") == 2
    assert shipped.read(key) is None


def test_who_watches_another_servers_part_is_sent_to_the_prefix(
    shipped: Shipped, machine: Machine, metadata: Metadata, second: Shipped
) -> None:
    ship(shipped, second, COUNTS.replace("if attempt > 1", "if attempt > 2"))
    shipped.boot()
    until((machine.home / "job/up").exists, "the program to have begun")
    metadata.more[ACTION] = notice(120)
    machine.wait()
    base = len(shipped.stream("stdout"))
    second.boot()
    door = second.door()
    door.send(stream={"stdout": 0, "stderr": 0})
    assert list(door.frames()) == []
    door.close()
    door = second.door()
    door.send(stream={"stdout": base, "stderr": 0})
    second.go()
    shown = b"".join(data for kind, data in door.frames() if kind == "o")
    assert shown == b"attempt 2 from 1\ndone at 2\n"
    door.close()
    second.machine.wait()


def test_a_checkpoint_that_does_not_fit_says_so(shipped: Shipped, machine: Machine, second: Shipped) -> None:
    ship(shipped, second, COUNTS)
    first = {"instance": "i-0aaaaaaaaaaaaaaaa", "bases": {}, "over": {"interrupted": "then"}}
    huge = {"key": "server/checkpoint/1-0", "sha256": "0" * 64, "size": 1 << 60, "kind": "file", "mode": 0o644}
    huge.update(attempt=1, time=1.5)
    place = f"{shipped.prefix.base}/server/attempts/1.json"
    shipped.put(place, json.dumps({**first, "checkpoint": huge}).encode())
    second.boot()
    second.machine.wait()
    status = shipped.status()
    assert (status["state"], status["exit_code"]) == ("broken", 125)
    assert "does not fit" in status["reason"]


def test_the_last_moment_leaves_time_for_what_is_to_be_sent() -> None:
    now = time.time()
    assert Notice("terminate", now + 120).last_moment(now) == now + 90
    assert Notice("terminate", now + 3).last_moment(now) == pytest.approx(now + 2)
    assert Notice("terminate", now - 5).last_moment(now) == now - 5


def test_a_notice_that_is_there_from_the_first_moment(
    shipped: Shipped, machine: Machine, metadata: Metadata, second: Shipped
) -> None:
    """Whether the program has begun by then or not, its next server has it."""
    ship(shipped, second, COUNTS)
    metadata.more[ACTION] = notice(120)
    shipped.boot()
    machine.wait()
    assert (shipped.status()["state"], shipped.status()["final"]) == ("interrupted", False)
    second.boot()
    second.machine.wait()
    assert (shipped.status()["state"], shipped.status()["attempt"]) == ("succeeded", 2)


FOLDER = """
import os, sys, time
if not os.path.exists("state"):
    os.makedirs("state/step-1")
    open("state/step-1/model", "w").write("worth keeping")
    os.link("state/step-1/model", "state/best")
    os.symlink("step-1", "state/latest")
    print("begun", flush=True)
    while not os.path.exists("go"): time.sleep(0.02)
    os.symlink("/etc/passwd", "state/outside")
    while True: time.sleep(0.02)
print(os.readlink("state/latest"), open("state/latest/model").read(), os.stat("state/best").st_nlink, flush=True)
"""


def test_a_folder_with_links_is_gone_on_from_and_what_leads_out_is_told(
    shipped: Shipped, machine: Machine, second: Shipped
) -> None:
    """Also by a supervisor that has come in the place of the one that sent it."""
    ship(shipped, second, FOLDER, checkpoint="state")
    shipped.boot()
    until(lambda: attempt(shipped, 1).get("checkpoint"), "the checkpoint to be sent")
    machine.lose_supervisor()
    until(lambda: attempt(shipped, 1).get("earlier"), "its successor to send it too")
    shipped.go()
    told = until(lambda: shipped.status().get("checkpoint_refused"), "the refusal to be told")
    assert told == "outside is a link to /etc/passwd, which is not in the checkpoint's folder."
    assert machine.console().count(told) == 1
    machine.go_off()
    second.boot()
    second.machine.wait()
    assert shipped.stream("stdout") == b"begun\nstep-1 worth keeping 2\n"
