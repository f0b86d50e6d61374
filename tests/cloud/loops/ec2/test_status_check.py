"""What the status checks say, with a kernel that says what a test wants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from instance_scene import INTERFACE
from support.fresh_state import fresh_state
from support.plain_instance import plain_instance

from skylift.cloud.domain.instance import FailedCheck, Instance
from skylift.cloud.domain.network import NetworkInterface, Subnet, Vpc
from skylift.cloud.loops.ec2 import status_check
from skylift.cloud.loops.ec2.status_check import Looks, StatusChecks
from skylift.cloud.store.database import Database

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


class Scene:
    """A server that runs, looked at every ten seconds, and what is amiss with it."""

    def __init__(self, directory: Path) -> None:
        self.now = NOON
        self.database = Database(fresh_state(directory), clock=lambda: self.now)
        self.boot: int | None = 1
        self.silent = self.sizes = self.network = ""
        self.plugged = True
        self.woken = 0
        self.checks = self.begin()
        with self.database.write() as tx:
            tx.add(Vpc(id="vpc-1", cidr="10.0.0.0/16"))
            tx.add(Subnet(id="subnet-1", vpc_id="vpc-1", cidr="10.0.1.0/24", zone="us-east-1a"))
            tx.add(plain_instance(state="running", booted=True))
            tx.add(replace(INTERFACE, attachment="attached"))

    def begin(self) -> StatusChecks:
        def show_sizes(servers: Mapping[str, int]) -> str:
            looked_at = self.boot and self.row.state == "running" and not self.row.rebooting
            assert servers == ({"i-1": self.boot} if looked_at else {})
            return self.sizes

        looks = Looks(
            lambda _: self.boot, lambda _: self.silent, show_sizes, lambda vpc: self.network, lambda _: self.plugged
        )
        return StatusChecks(self.database, looks, self.wake)

    def wake(self) -> None:
        self.woken += 1

    @property
    def attachment(self) -> str:
        with self.database.read() as tx:
            found = tx.get(NetworkInterface, id="eni-1")
        assert found is not None
        return found.attachment

    def change(self, **changes: object) -> None:
        with self.database.write() as tx:
            tx.save(replace(self.row, **changes))  # type: ignore[arg-type]

    @property
    def row(self) -> Instance:
        with self.database.read() as tx:
            found = tx.get(Instance, id="i-1")
        assert found is not None
        return found

    def look(self, times: int = 1) -> tuple[str, str]:
        """What both checks say after so many looks."""
        for _ in range(times):
            self.now += timedelta(seconds=10)
            self.checks.step()
        own, system = self.row.instance_check, self.row.system_check
        return own.reason if own else "", system.reason if system else ""


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.database.close()


def test_nothing_is_written_of_a_server_that_answers(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.look()
    monkeypatch.setattr(scene.database, "write", lambda: pytest.fail("something is written"))
    assert scene.look(3) == ("", "")


def test_a_server_that_does_not_answer_fails_its_check_at_the_second_look(scene: Scene) -> None:
    scene.look()
    scene.silent = "sshd is stopped"
    assert scene.look() == ("", "")
    assert scene.look() == ("sshd is stopped", "")
    since = scene.now
    scene.silent = "sshd does not run"
    assert scene.look(2) == ("sshd does not run", "")
    assert scene.row.instance_check == FailedCheck(since, "sshd does not run")
    # Another process of the cloud goes on with it.
    scene.checks = scene.begin()
    assert scene.look(2) == ("sshd does not run", "")
    assert scene.row.instance_check == FailedCheck(since, "sshd does not run")
    scene.silent = ""
    assert scene.look() == ("", "")


def test_one_look_that_finds_something_is_no_failure(scene: Scene) -> None:
    """A server that shuts down has no sshd any more."""
    scene.look()
    for _ in range(3):
        scene.silent, scene.network = "sshd does not run", "its network: no"
        assert scene.look() == ("", "")
        scene.silent = scene.network = ""
        assert scene.look() == ("", "")


def test_a_server_that_has_just_begun_may_take_its_time(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """cloud-init may have to do before sshd. It is looked at all the same: what this machine has for it is not its."""
    scene.silent, scene.network = "sshd does not run", "its network: no"
    assert scene.look(4) == ("", "its network: no")
    monkeypatch.setattr(status_check, "BOOT", 0.0)
    assert scene.look(2) == ("sshd does not run", "its network: no")


def test_the_next_boot_may_take_its_time_again(scene: Scene) -> None:
    scene.look()
    scene.silent = "sshd does not run"
    assert scene.look(2) == ("sshd does not run", "")
    scene.change(rebooting=True)
    scene.look()
    scene.boot = 2
    scene.change(rebooting=False, instance_check=None)
    assert scene.look(2) == ("", "")


def test_a_server_without_a_process_fails_both(scene: Scene) -> None:
    scene.boot = None
    assert scene.look(2) == ("it does not run", "")
    scene.change(rebooting=True)
    assert scene.look(2) == ("it does not run", ""), "who reboots is not looked at"


@pytest.mark.parametrize("what", ["sizes", "network"])
def test_what_this_machine_cannot_mend_fails_the_systems_check(scene: Scene, what: str) -> None:
    setattr(scene, what, "it cannot be started")
    assert scene.look(2) == ("", "it cannot be started")
    setattr(scene, what, "")
    assert scene.look() == ("", "")


def test_an_interface_that_was_taken_away_is_to_be_plugged_in_again(scene: Scene) -> None:
    scene.plugged = False
    assert scene.look() == ("", "")
    assert (scene.attachment, scene.woken) == ("attaching", 1)
    # As long as that does not succeed.
    assert scene.look(2) == ("", "its network interface eni-1 was taken away")
    assert scene.woken == 1
    scene.plugged = True
    assert scene.look() == ("", "")


def test_one_that_its_owner_takes_away_is_not(scene: Scene) -> None:
    scene.plugged = False
    with scene.database.write() as tx:
        tx.save(replace(INTERFACE, attachment="detaching"))
    assert scene.look(3) == ("", "")
    assert (scene.attachment, scene.woken) == ("detaching", 0)


def test_a_server_that_is_told_to_end_is_not_looked_at(scene: Scene) -> None:
    scene.look()
    scene.silent = "sshd does not run"
    scene.look()
    scene.change(state="shutting-down", desired="terminated")
    assert scene.look(2) == ("", "")
