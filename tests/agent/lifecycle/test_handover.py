"""One server, one job after the other: what goes on to the next, what does not, and when nobody comes."""

from __future__ import annotations

import json
import os
import threading
import time
from typing import Any

import pytest
from support.agent_bench import PATIENCE, Machine, until
from support.leaf_package import project
from support.package_index import sdist
from support.shipped_job import Shipped

from skylift.agent.lifecycle.handover import Handover
from skylift.agent.remote.aws import Unreachable
from skylift.client.job.job import Program
from skylift.client.job.record import JobKeys
from skylift.client.plan.plan_job import Order

KEEP = 120
CAP = 900
"""Seconds that a job has with Shipped."""
LONGER_CAP = 3600


class Line:
    """Jobs that have one machine, in turn."""

    def __init__(self, shipped: Shipped, machine: Machine) -> None:
        self.shipped, self.machine = shipped, machine

    def first(self, source: str, *, keep: int = KEEP, **more: Any) -> JobKeys:
        prefix = self.ship(source, keep, **more)
        self.shipped.boot()
        return self._ended(prefix)

    def next(self, source: str, last: JobKeys, *, keep: int = 0, **more: Any) -> JobKeys:
        prefix = self.ship(source, keep, **more)
        self.claim(last, job=prefix.job)
        return self._ended(prefix)

    def claim(self, last: JobKeys, **content: Any) -> None:
        self.shipped.put(last.next, json.dumps(content).encode())

    def ship(self, source: str, keep: int, **more: Any) -> JobKeys:
        (self.shipped.folder / "job.py").write_text(source)
        self.shipped.ship_order(Order(Program("script", "job.py"), keep=keep), **more)
        return self.shipped.prefix

    def _ended(self, prefix: JobKeys) -> JobKeys:
        def final() -> bool:
            assert self.machine.process is not None
            # In this order: the end of the server comes after the final status.
            over = self.machine.process.poll() is not None
            status = self.status(prefix)
            assert not over or status.get("final"), self.machine.console()
            return bool(status.get("final"))

        until(final, f"the end of {prefix.job}")
        return prefix

    def status(self, prefix: JobKeys) -> Any:
        return json.loads(self.shipped.read(prefix.status) or b"{}")

    def timers(self) -> tuple[list[int], list[int], list[int]] | None:
        """When the timers of the first job, of the wait and of the second job were given, which their minutes tell
        apart. None before there is one of each. A supervisor that is started anew gives its own again."""
        given = [(at, each.rpartition("+")[2]) for at, each in self.machine.timed_off_commands() if "+" in each]
        first, wait, second = (
            [at for at, minutes in given if least < int(minutes) <= most]
            for least, most in ((KEEP // 60 + 2, CAP // 60), (0, KEEP // 60 + 2), (CAP // 60, LONGER_CAP // 60))
        )
        return (first, wait, second) if first and wait and second else None

    def output(self, prefix: JobKeys) -> bytes:
        self.shipped.prefix = prefix
        return self.shipped.stream("stdout")


@pytest.fixture
def line(shipped: Shipped, machine: Machine) -> Line:
    return Line(shipped, machine)


def test_the_next_job_has_the_server_and_nothing_of_the_last(line: Line) -> None:
    """Neither its files nor a program that it has left behind; and its own cap, told to the operating system."""
    leaves = (
        "import subprocess\nopen('left', 'w')\nleft = subprocess.Popen(['sleep', '1234'], start_new_session=True)\n"
    )
    first = line.first(leaves + "print(left.pid)\n")
    left = int(line.output(first))
    looks = (
        "import os\n"
        f"try: words = open('/proc/{left}/cmdline').read()\n"
        "except OSError: words = ''\n"
        "print(os.listdir(), '1234' in words)\n"
    )
    second = line.next(looks, first, deadline=int(time.time()) + LONGER_CAP)
    line.machine.wait()
    expected = b"['job.py'] False\n" if os.geteuid() == 0 else b"['job.py'] True\n"
    assert line.output(second) == expected
    assert line.status(second)["instance"] == line.status(first)["instance"]
    armed, waiting, armed_again = until(line.timers, "a timer for each job, and one for the wait between them")
    # Each takes the place of the one before: the wait's must not be what ends the second job.
    assert max(armed) <= min(waiting)
    assert max(waiting) <= min(armed_again)
    until(lambda: "shutdown -P now" in line.machine.off_commands(), "the server to be turned off")


def test_host_keys_are_published_for_a_job_that_the_server_has(line: Line) -> None:
    """Who hands a server over has them already, so that the claim comes first."""
    line.machine.show_host_key("ssh-ed25519 AAAA root@here")
    first = line.first("print(1)")
    second = line.next("print(2)", first, keep=KEEP)
    until(lambda: line.shipped.read(second.host_keys), "its host keys")
    third = line.ship("print(3)", keep=0)
    line.shipped.put(f"{third.base}/server/attempts/1.json", b'{"instance": "i-another"}')
    line.claim(second, job=third.job)
    line.machine.wait()
    assert line.shipped.read(third.host_keys) is None


def test_a_line_of_three(line: Line) -> None:
    first = line.first("print(1)")
    second = line.next("print(2)", first, keep=KEEP)
    third = line.next("import sys; print(3); sys.exit(7)", second)
    line.machine.wait()
    assert [line.output(each) for each in (first, second, third)] == [b"1\n", b"2\n", b"3\n"]
    assert line.status(third)["exit_code"] == 7


def test_a_server_that_reboots_knows_whose_it_is(line: Line) -> None:
    """Its user data still names the first job."""
    first = line.first("print(1)")
    second = line.ship("import time; print(2); time.sleep(999)", keep=0)
    line.claim(first, job=second.job)
    until(lambda: line.output(second) == b"2\n", "the second to run")
    line.machine.go_off()
    line.shipped.prefix = first
    line.shipped.boot()
    line.machine.wait()
    assert (line.status(second)["state"], line.output(second)) == ("rebooted", b"2\n")
    assert (line.status(first)["state"], line.output(first)) == ("succeeded", b"1\n")


def test_what_goes_wrong_after_a_jobs_end_changes_nothing_of_it(line: Line) -> None:
    """The record of the next job is not to be read."""
    first = line.first("print(1)")
    before = line.status(first)
    other = JobKeys("other")
    line.shipped.put(other.record, b'{"deadline": "never"}')
    line.claim(first, job="other")
    assert line.machine.process is not None
    line.machine.process.wait(PATIENCE)
    assert line.status(first) == before
    assert "shutdown -P now" in line.machine.off_commands()
    assert "never" in line.machine.console()


@pytest.mark.parametrize(("keep", "more"), [(0, 500), (1, 500), (600, 0)])
def test_a_server_stays_as_long_as_was_promised_before_it_was_taken(line: Line, keep: int, more: int) -> None:
    promised = time.time() + (more or 60)
    second = line.next("print(2)", line.first("print(1)"), keep=keep, promised=promised)
    stays = line.status(second)["kept_until"]
    assert stays == promised if more else promised + 500 < stays < time.time() + keep


def test_a_promise_that_is_over_keeps_no_server(line: Line) -> None:
    second = line.next("print(2)", line.first("print(1)"), promised=time.time() - 1)
    line.machine.wait()
    assert "kept_until" not in line.status(second)


def test_nobody_comes(line: Line) -> None:
    """The server says that it does not wait any longer, so that nobody counts on it."""
    first = line.first("print(1)", keep=1)
    line.machine.wait()
    assert json.loads(line.shipped.read(first.next) or b"") == {"job": None}
    assert "shutdown -P now" in line.machine.off_commands()


class Away:
    """A prefix in which another job was written at the last moment, while S3 does not answer every time."""

    def __init__(self) -> None:
        self.answers: list[Any] = [Unreachable("503"), b'{"job": "next"}', b'{"deadline": 9}']

    def put(self, key: str, body: bytes, first: bool = False) -> bool:
        return False

    def get(self, key: str) -> bytes:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, bytes)
        return answer


def test_a_job_that_comes_at_the_last_moment_is_asked_for_again() -> None:
    prefix: Any = Away()
    handover = Handover(prefix, "last", lambda job: prefix, threading.Event(), threading.Event())
    assert handover.wait(until=0) == {"job": "next", "deadline": 9.0}


def test_a_claim_that_is_nested_too_deep_is_none() -> None:
    prefix: Any = Away()
    prefix.answers = [b"[" * 200_000]
    handover = Handover(prefix, "last", lambda job: prefix, threading.Event(), threading.Event())
    assert handover.wait(until=0) is None


@pytest.mark.parametrize("claim", [b"not json", b"[]", b'{"job": "../other"}', b'{"job": 3}', b"itself"])
def test_what_is_no_claim_ends_the_wait(line: Line, claim: bytes) -> None:
    """A program may write there, too; all that it gets is a server that goes off."""
    first = line.first("print(1)")
    line.shipped.put(first.next, claim if claim != b"itself" else json.dumps({"job": first.job}).encode())
    line.machine.wait()
    assert "shutdown -P now" in line.machine.off_commands()
    assert line.output(first) == b"1\n", "it did not run twice"


def test_cancel_ends_the_wait(line: Line) -> None:
    first = line.first("print(1)")
    line.shipped.put(first.cancel, b"")
    line.machine.wait()
    assert json.loads(line.shipped.read(first.next) or b"") == {"job": None}


def test_an_environment_stays_unless_it_was_changed(line: Line, uv: Machine) -> None:
    (line.shipped.folder / "requirements.txt").write_text("leaf==1.0\n")
    named = {"prebuilt": {"place": "envs/recipe/ami-1/me-1", "sha256": "", "shared": False}}
    first = line.first("import leaf; print(leaf.VERSION)\n", **named)
    assert line.status(first)["environment"] == "built", uv.console()
    second = line.next("import leaf; open(leaf.__file__, 'a').write('# changed')\n", first, keep=KEEP, **named)
    assert line.status(second)["environment"] == "kept"
    third = line.next("import leaf; print('changed' in open(leaf.__file__).read())\n", second, keep=KEEP, **named)
    assert (line.status(third)["environment"], line.output(third)) == ("built", b"False\n")
    other = {"prebuilt": {**named["prebuilt"], "place": "envs/other/ami-1/me-1"}}
    fourth = line.next("print()\n", third, **other)
    assert line.status(fourth)["environment"] == "built"
    for name in ("proven.json", "pin.json"):
        pin = line.shipped.read(f"envs/recipe/ami-1/me-1/{name}")
        assert pin is None, "what was built there is shared with nobody"
    line.machine.wait()


@pytest.mark.parametrize(("kind", "how"), [("requirements", "kept"), ("sdist", "built"), ("project", "built")])
def test_another_project_gets_what_is_made_of_wheels_alone(line: Line, uv: Machine, kind: str, how: str) -> None:
    """If it has the project's own package or one that was built, code of these has run in it before it was noted."""
    if kind == "project":
        project(line.shipped.folder, "leaf<2")
    else:
        (line.shipped.folder / "requirements.txt").write_text("leaf==3.0\n" if kind == "sdist" else "leaf==1.0\n")
    if kind == "sdist":
        sdist(uv.root / "packages", "leaf", "3.0", "")
    named, other = (
        {"prebuilt": {"place": f"envs/recipe/ami-1/{each}-1", "sha256": "", "shared": False}} for each in ("me", "you")
    )
    first = line.first("import leaf; print(leaf.VERSION)\n", **named)
    assert line.status(first)["environment"] == "built", uv.console()
    second = line.next("import leaf; print(leaf.VERSION)\n", first, keep=KEEP, **named)
    assert line.status(second)["environment"] == "kept", uv.console()
    third = line.next("import leaf; print(leaf.VERSION)\n", second, **other)
    assert line.status(third)["environment"] == how, uv.console()
    line.machine.wait()
