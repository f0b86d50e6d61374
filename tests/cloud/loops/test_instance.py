"""The loop against a fake of compute: machines that are dictionary entries, and end when told to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from skylift.cloud.compute.oci import ServerPlan
from skylift.cloud.compute.rootfs import SeedFile
from skylift.cloud.compute.server import EXIT_POWEROFF, EXIT_REBOOT, RuntimeRefused, ServerError
from skylift.cloud.instance import Console, Instance
from skylift.cloud.loops.instance import Blueprint, Cables, InstanceLoop, settle
from skylift.cloud.network import Address, NetworkInterface, PrivateAddress, Subnet, Vpc
from skylift.cloud.store.database import Database, Tx

NOW = datetime(2026, 1, 1, tzinfo=UTC)
INSTANCE = Instance(
    id="i-1",
    reservation_id="r-1",
    launch_index=0,
    image_id="ami-1",
    type="t3.micro",
    zone="us-east-1a",
    vpc_id="vpc-1",
    subnet_id="subnet-1",
    launched=NOW,
    uid_base=1_000_000_000,
    root_gib=8,
)
INTERFACE = NetworkInterface(
    id="eni-1",
    vpc_id="vpc-1",
    subnet_id="subnet-1",
    mac="02:00:00:00:00:01",
    private_ip="10.0.1.5",
    group_ids=(),
    created=NOW,
    public_ip="127.40.1.1",
    instance_id="i-1",
    attachment_id="eni-attach-1",
    attachment="attaching",
)


class FakeMachines:
    """Servers as a table: id -> running. What was done is kept as a list of words."""

    def __init__(self) -> None:
        self.table: dict[str, bool] = {}
        self.disks: set[str] = set()
        self.exits: dict[str, int] = {}
        self.done: list[str] = []
        self.refuses: set[str] = set()
        self.deaf = False
        self.made: set[str] = set()
        """Those that a killed process had made and not yet started."""
        self.ended: Callable[[str, int | None], None] = lambda *_: None

    def create(self, plan: ServerPlan, seed: Iterable[SeedFile]) -> int:
        self._do("create", plan.id)
        self.table[plan.id] = False
        return 1

    def start(self, server_id: str) -> None:
        self._do("start", server_id)
        self.table[server_id] = True

    def running(self) -> dict[str, int]:
        return {server_id: 1 for server_id, alive in self.table.items() if alive}

    def unstarted(self) -> set[str]:
        return set(self.made)

    def known(self) -> set[str]:
        return set(self.table)

    def with_disks(self) -> set[str]:
        return set(self.disks)

    def adopt(self, server_id: str) -> None:
        self._do("adopt", server_id)

    def resume(self, server_id: str) -> None:
        self._do("resume", server_id)

    def exit_code(self, server_id: str) -> int | None:
        return self.exits.get(server_id)

    def request_shutdown(self, server_id: str) -> None:
        self._do("request_shutdown", server_id)
        if not self.deaf:
            self.end(server_id, EXIT_POWEROFF)

    def kill(self, server_id: str) -> None:
        self._do("kill", server_id)
        self.end(server_id, 137)

    def clear(self, server_id: str) -> None:
        self._do("clear", server_id)
        self.table.pop(server_id, None)

    def destroy(self, server_id: str) -> None:
        self._do("destroy", server_id)
        self.table.pop(server_id, None)
        self.disks.discard(server_id)

    def console(self, server_id: str) -> Console | None:
        return Console(server_id, "last words", NOW)

    def end(self, server_id: str, code: int | None) -> None:
        self.table[server_id] = False
        self.ended(server_id, code)

    def _do(self, what: str, server_id: str) -> None:
        self.done.append(what)
        if what in self.refuses:
            raise RuntimeRefused(f"{what} {server_id}: no")


class Scene:
    """A store with one instance, machines to run it, and the loop between them."""

    def __init__(self, path: Path) -> None:
        self.database = Database(path / "state.db")
        self.machines = FakeMachines()
        self.plugs: list[str] = []
        self.dressed: list[list[str]] = []
        self.notes_rest = False
        self.with_volumes: set[str] = set()
        self.looked_at_volumes = False
        self.jammed = False
        self.no_room = False
        self.loop = self.start_loop()
        with self.database.write() as tx:
            tx.add(Vpc(id="vpc-1", cidr="10.0.0.0/16"))
            tx.add(Subnet(id="subnet-1", vpc_id="vpc-1", cidr="10.0.1.0/24", zone="us-east-1a"))

    def attach(self, interface: NetworkInterface, subnet: Subnet, pid: int) -> None:
        if self.jammed:
            raise RuntimeRefused(f"attach {interface.id}: no")
        self.plugs.append(interface.id)

    def dress(self, interface: NetworkInterface, subnet: Subnet, pid: int) -> None:
        self.dressed.append([one.private_ip for one in interface.addresses])

    def start_loop(self) -> InstanceLoop:
        loop = InstanceLoop(
            database=self.database,
            machines=self.machines,
            cables=Cables(
                attach=self.attach,
                dress=lambda interface, subnet, pid: self.dressed.append(
                    [one.private_ip for one in interface.addresses]
                ),
                detach=lambda interface_id: self.plugs.remove(interface_id) if interface_id in self.plugs else None,
            ),
            sync_network=lambda: None,
            blueprint=lambda tx, instance: Blueprint(plan_of(instance), ()),
            failures=(ServerError,),
            at_rest=lambda server_id: self.machines.done.append("at_rest") if self.notes_rest else None,
            keep=self.keep,
            volumes=self,
        )
        self.machines.ended = loop.ended
        return loop

    # The part of the loop of volumes.

    def step(self) -> None:
        self.looked_at_volumes = True

    def before_boot(self, instance_id: str) -> None:
        assert instance_id not in self.machines.running(), "its root would be mounted over"

    def at_boot(self, instance_id: str, pid: int) -> None:
        self.with_volumes.add(instance_id)

    def at_rest(self, instance_id: str, *, for_good: bool) -> None:
        self.with_volumes.discard(instance_id)
        assert for_good == (self.row.desired == "terminated") or self.row.desired == "running"

    def keep(self, instance: Instance) -> None:
        if self.no_room:
            raise RuntimeRefused("no room for its root volume")
        if self.notes_rest:
            self.machines.done.append("keep")

    def add(self, **changes: object) -> None:
        with self.database.write() as tx:
            tx.add(replace(INSTANCE, **changes))  # type: ignore[arg-type]
            tx.add(INTERFACE)

    def change(self, **changes: object) -> None:
        with self.database.write() as tx:
            tx.save(replace(self.find(tx), **changes))  # type: ignore[arg-type]

    def find(self, tx: Tx) -> Instance:
        row = tx.get(Instance, id="i-1")
        assert row is not None
        return row

    @property
    def row(self) -> Instance:
        with self.database.read() as tx:
            return self.find(tx)

    @property
    def interface(self) -> NetworkInterface | None:
        with self.database.read() as tx:
            return tx.get(NetworkInterface, id="eni-1")

    def settle(self) -> None:
        """One step, and the wait for all work that it led to."""
        self.loop.step()
        self.loop.wait_until_idle()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.loop.close()
    made.database.close()


def plan_of(instance: Instance) -> ServerPlan:
    return ServerPlan(instance.id, Path("/image"), Path("/disk"), instance.uid_base, "host", 1, 1 << 30)


def test_a_launch_creates_plugs_in_and_starts(scene: Scene) -> None:
    scene.add()
    scene.settle()
    assert scene.machines.done == ["create", "start"]
    assert scene.plugs == ["eni-1"]
    assert scene.with_volumes == {"i-1"}
    assert scene.row.state == "running"


@pytest.mark.parametrize("step", ["create", "start"])
def test_a_launch_that_fails_ends_terminated_and_says_why(scene: Scene, step: str) -> None:
    scene.machines.refuses = {step}
    scene.add()
    scene.settle()
    assert (scene.row.state, scene.row.desired) == ("terminated", "terminated")
    assert scene.row.state_reason_code == "Server.InternalError"
    assert f"{step} i-1: no" in scene.row.state_reason
    assert scene.plugs == []
    assert scene.machines.table == {}


def test_terminate_shuts_down_then_destroys(scene: Scene) -> None:
    scene.add()
    scene.settle()
    scene.change(desired="terminated", state="shutting-down")
    scene.settle()
    assert scene.machines.done[2:] == ["request_shutdown", "clear", "destroy"]
    assert scene.row.state == "terminated"
    assert scene.looked_at_volumes
    assert scene.with_volumes == set()
    assert scene.interface is None
    assert scene.plugs == []


def test_a_server_that_does_not_shut_down_loses_its_plug(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skylift.cloud.loops.instance.SHUTDOWN_GRACE", 0.01)
    killed = threading.Event()
    scene.machines.deaf = True
    scene.add()
    scene.settle()
    original = scene.machines.kill

    def kill(server_id: str) -> None:
        original(server_id)
        killed.set()

    monkeypatch.setattr(scene.machines, "kill", kill)
    scene.change(desired="terminated", state="shutting-down")
    scene.settle()
    assert killed.wait(5)
    scene.settle()
    assert scene.row.state == "terminated"


def test_stop_keeps_the_disk_and_gives_the_public_address_back(scene: Scene) -> None:
    scene.add()
    scene.settle()
    scene.change(desired="stopped", state="stopping")
    scene.settle()
    assert "destroy" not in scene.machines.done
    assert scene.row.state == "stopped"
    assert scene.interface is not None
    assert scene.interface.public_ip is None


def test_an_elastic_address_stays_through_a_stop_and_outlives_the_server(scene: Scene) -> None:
    scene.add()
    scene.settle()
    with scene.database.write() as tx:
        tx.add(Address("eipalloc-1", "127.40.1.1", "eipassoc-1", "eni-1", INTERFACE.private_ip))
    scene.change(desired="stopped", state="stopping")
    scene.settle()
    assert scene.interface is not None
    assert scene.interface.public_ip == "127.40.1.1"
    scene.change(desired="terminated", state="shutting-down")
    scene.settle()
    assert scene.interface is None
    with scene.database.read() as tx:
        assert tx.find(Address) == [Address("eipalloc-1", "127.40.1.1")]


@pytest.mark.parametrize(("behavior", "state"), [("stop", "stopped"), ("terminate", "terminated")])
def test_a_shutdown_inside_follows_the_shutdown_behavior(scene: Scene, behavior: str, state: str) -> None:
    scene.add(shutdown_behavior=behavior)
    scene.settle()
    scene.machines.end("i-1", EXIT_POWEROFF)
    scene.settle()
    assert (scene.row.state, scene.row.desired) == (state, state)
    assert scene.row.state_reason_code == "Client.InstanceInitiatedShutdown"


def test_a_reboot_inside_starts_the_same_server_again(scene: Scene) -> None:
    scene.add()
    scene.settle()
    scene.machines.end("i-1", EXIT_REBOOT)
    scene.settle()
    assert scene.machines.done == ["create", "start", "clear", "create", "start"]
    assert scene.row.state == "running"
    assert scene.interface is not None
    assert scene.interface.public_ip == "127.40.1.1"


def test_a_reboot_from_outside_asks_for_a_shutdown_and_starts_again(scene: Scene) -> None:
    scene.add()
    scene.settle()
    scene.change(rebooting=True)
    scene.settle()
    assert scene.machines.done[2:] == ["request_shutdown", "clear", "create", "start"]
    assert (scene.row.state, scene.row.desired, scene.row.rebooting) == ("running", "running", False)
    assert scene.interface is not None
    assert scene.interface.public_ip == "127.40.1.1"
    assert scene.plugs == ["eni-1"]


def test_a_shutdown_behavior_of_terminate_does_not_end_a_server_that_reboots(scene: Scene) -> None:
    scene.add(shutdown_behavior="terminate")
    scene.settle()
    scene.change(rebooting=True)
    scene.settle()
    assert scene.row.state == "running"


def test_a_restart_in_the_middle_of_a_reboot_goes_on_with_it(scene: Scene) -> None:
    scene.add(state="running", rebooting=True, booted=True)
    scene.machines.table["i-1"] = False
    scene.loop.adopt()
    scene.settle()
    assert scene.machines.done == ["clear", "create", "start"]
    assert (scene.row.state, scene.row.rebooting) == ("running", False)


@pytest.mark.parametrize("state", ["running", "stopping"])
def test_a_restart_between_the_making_and_the_start_waits_for_no_shutdown(scene: Scene, state: str) -> None:
    going = state == "running"
    scene.add(state=state, desired="running" if going else "stopped", rebooting=going, booted=True)
    scene.machines.made = {"i-1"}
    scene.machines.table["i-1"] = True
    scene.loop.adopt()
    scene.settle()
    assert scene.machines.done == (["clear", "clear", "create", "start"] if going else ["clear", "clear"])
    assert (scene.row.state, scene.row.rebooting) == ("running" if going else "stopped", False)


def test_terminating_wins_over_a_reboot(scene: Scene) -> None:
    scene.add()
    scene.settle()
    original = scene.machines.request_shutdown

    def request_shutdown(server_id: str) -> None:
        scene.change(desired="terminated", state="shutting-down", rebooting=False)
        original(server_id)

    scene.machines.request_shutdown = request_shutdown  # type: ignore[method-assign]
    scene.change(rebooting=True)
    scene.settle()
    assert scene.row.state == "terminated"


def test_one_that_is_forced_is_switched_off(scene: Scene) -> None:
    scene.add()
    scene.settle()
    scene.change(desired="stopped", state="stopping", forced=True)
    scene.settle()
    assert scene.machines.done[2:] == ["kill", "clear"]
    assert (scene.row.state, scene.row.forced) == ("stopped", False)


def test_forcing_goes_over_the_time_to_shut_down(scene: Scene) -> None:
    scene.machines.deaf = True
    scene.add()
    scene.settle()
    scene.change(desired="stopped", state="stopping")
    scene.settle()
    assert scene.row.state == "stopping"
    scene.change(forced=True)
    scene.settle()
    assert scene.row.state == "stopped"


def test_a_start_that_fails_keeps_the_disk(scene: Scene) -> None:
    scene.add()
    scene.settle()
    scene.machines.end("i-1", EXIT_POWEROFF)
    scene.settle()
    scene.machines.refuses = {"start"}
    scene.change(desired="running", state="pending")
    scene.settle()
    assert (scene.row.state, scene.row.desired) == ("stopped", "stopped")
    assert scene.row.state_reason_code == "Server.InternalError"
    assert "destroy" not in scene.machines.done


def test_images_are_made_before_a_disk_is_used_again_or_deleted(scene: Scene) -> None:
    scene.notes_rest = True
    scene.add()
    scene.settle()
    scene.change(rebooting=True)
    scene.settle()
    scene.change(desired="terminated", state="shutting-down")
    scene.settle()
    rest = [*("at_rest", "create", "start")]
    assert scene.machines.done == [
        *rest,
        *("request_shutdown", "clear", *rest),
        *("request_shutdown", "clear", "at_rest", "keep", "destroy"),
    ]


def test_a_root_volume_that_cannot_be_kept_holds_its_instance_up(scene: Scene) -> None:
    scene.add()
    scene.settle()
    scene.no_room = True
    scene.change(desired="terminated", state="shutting-down")
    scene.settle()
    assert (scene.row.state, "destroy" in scene.machines.done) == ("shutting-down", False)
    scene.no_room = False
    scene.settle()
    assert (scene.row.state, "destroy" in scene.machines.done) == ("terminated", True)


def test_terminating_while_it_starts_is_not_forgotten(scene: Scene) -> None:
    scene.add()
    original = scene.machines.start

    def start(server_id: str) -> None:
        original(server_id)
        scene.change(desired="terminated", state="shutting-down")

    scene.machines.start = start  # type: ignore[method-assign]
    scene.settle()
    scene.settle()
    assert scene.row.state == "terminated"


@pytest.mark.parametrize("state", ["pending", "running"])
def test_the_late_word_of_an_earlier_boots_end_ends_nothing(scene: Scene, state: str) -> None:
    scene.add()
    scene.settle()
    scene.change(state="stopping", desired="stopped")
    scene.settle()
    assert scene.row.state == "stopped"
    scene.change(state="pending", desired="running")
    if state == "running":
        scene.settle()
    scene.loop.ended("i-1", EXIT_POWEROFF)
    scene.settle()
    assert scene.row.state == "running"
    scene.machines.end("i-1", EXIT_POWEROFF)
    scene.settle()
    assert scene.row.state == "stopped"


def unseen_end(scene: Scene) -> None:
    """Servers end, and the word of it has not arrived yet."""
    scene.machines.ended = lambda *_: None


class Clock:
    """Timers that go off when a test says so, and the time that they are read from."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.due: list[Callable[[], None]] = []

    def monotonic(self) -> float:
        return self.now

    def timer(self, seconds: float, act: Callable[[str], None], arguments: tuple[str]) -> Timer:
        return Timer(self, seconds, lambda: act(*arguments))


class Timer:
    def __init__(self, clock: Clock, seconds: float, act: Callable[[], None]) -> None:
        self._clock = clock
        self._seconds = seconds
        self._act = act

    def start(self) -> None:
        self._clock.due.append(self._go_off)

    def cancel(self) -> None:
        self._clock.due.remove(self._go_off)

    def _go_off(self) -> None:
        self._clock.now += self._seconds
        self._act()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(threading, "Timer", made.timer)
    monkeypatch.setattr("skylift.cloud.loops.instance.time", made)
    return made


def test_a_server_is_asked_to_shut_down_again_and_at_last_not_asked(scene: Scene, clock: Clock) -> None:
    scene.machines.deaf = True
    scene.add()
    scene.settle()
    scene.change(desired="stopped", state="stopping")
    scene.settle()
    while scene.row.state == "stopping":
        clock.due.pop()()
        scene.loop.wait_until_idle()
    assert scene.machines.done[2:] == [*["request_shutdown"] * 10, "kill", "clear"]
    assert scene.row.state == "stopped"
    assert clock.due == []


def test_the_word_of_an_end_is_not_lost_when_it_cannot_be_dealt_with(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.add()
    scene.settle()

    def refuse() -> dict[str, int]:
        raise RuntimeRefused("list: no")

    with monkeypatch.context() as out_of_order:
        out_of_order.setattr(scene.machines, "running", refuse)
        scene.machines.end("i-1", EXIT_POWEROFF)
        scene.settle()
        assert scene.row.state == "running"
    scene.settle()
    assert scene.row.state == "stopped"


@pytest.mark.parametrize("again", ["start", "reboot"])
def test_the_time_to_shut_down_ends_with_the_boot(scene: Scene, again: str, clock: Clock) -> None:
    due = clock.due
    scene.add()
    scene.settle()
    unseen_end(scene)
    if again == "start":
        scene.change(state="stopping", desired="stopped")
        scene.settle()
        assert len(due) == 1
        scene.settle()
        assert scene.row.state == "stopped"
        scene.change(state="pending", desired="running")
    else:
        scene.change(rebooting=True)
        scene.settle()
        assert len(due) == 1
    scene.settle()
    assert (scene.row.state, scene.row.rebooting) == ("running", False)
    assert due == []


def test_a_server_that_ends_as_it_is_asked_to_reboot_reboots(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.add()
    scene.settle()
    unseen_end(scene)
    scene.change(rebooting=True)
    looks = iter([{"i-1": 1}])
    monkeypatch.setattr(scene.machines, "running", lambda: next(looks, {}))
    scene.settle()
    assert (scene.row.state, scene.row.rebooting) == ("running", True)
    scene.settle()
    assert (scene.row.state, scene.row.rebooting) == ("running", False)


def test_a_server_whose_monitor_has_ended_is_watched_itself(scene: Scene) -> None:
    scene.add()
    scene.settle()
    scene.loop.ended("i-1", None)
    scene.settle()
    assert scene.row.state == "running"
    assert scene.machines.done == ["create", "start", "adopt"]


def test_a_restart_adopts_what_runs(scene: Scene) -> None:
    scene.add()
    scene.settle()
    scene.loop.close()
    scene.loop = scene.start_loop()
    scene.loop.adopt()
    scene.settle()
    assert scene.machines.done == ["create", "start", "adopt", "resume"]
    assert scene.row.state == "running"


@pytest.mark.parametrize(("behavior", "state"), [("stop", "stopped"), ("terminate", "terminated")])
def test_a_restart_settles_what_ended_unseen(scene: Scene, behavior: str, state: str) -> None:
    scene.add(state="running", shutdown_behavior=behavior)
    scene.loop.adopt()
    scene.settle()
    assert scene.row.state == state
    assert scene.row.state_reason_code == "Server.ScheduledStop"


def test_a_restart_removes_what_no_row_knows(scene: Scene) -> None:
    scene.machines.table["i-stray"] = True
    scene.loop.adopt()
    scene.settle()
    assert scene.machines.table == {}


def test_a_restart_deletes_the_disks_that_a_power_cut_has_brought_back(scene: Scene) -> None:
    scene.add(state="stopped")
    scene.machines.disks = {"i-1", "i-stray"}
    scene.loop.adopt()
    scene.settle()
    assert scene.machines.disks == {"i-1"}
    scene.change(state="terminated", desired="terminated")
    scene.loop.adopt()
    scene.settle()
    assert scene.machines.disks == set()


def test_a_restart_in_the_middle_of_a_launch_launches_again(scene: Scene) -> None:
    scene.add()
    scene.machines.table["i-1"] = False
    scene.loop.adopt()
    scene.settle()
    assert scene.machines.done == ["clear", "create", "start"]
    assert scene.row.state == "running"


def test_an_interface_is_plugged_into_a_server_that_runs_and_taken_out(scene: Scene) -> None:
    scene.add()
    scene.settle()
    assert scene.interface is not None and scene.interface.attachment == "attached"
    second = replace(INTERFACE, id="eni-2", mac="02:00:00:00:00:02", private_ip="10.0.1.6", public_ip=None, index=1)
    with scene.database.write() as tx:
        tx.add(replace(second, attachment="attaching"))
    scene.settle()
    assert scene.plugs == ["eni-1", "eni-2"]
    with scene.database.write() as tx:
        tx.save(replace(second, attachment="changing", secondary=(PrivateAddress("10.0.1.7"),)))
    scene.settle()
    assert scene.dressed == [["10.0.1.6", "10.0.1.7"]]
    with scene.database.write() as tx:
        tx.save(replace(second, attachment="detaching"))
    scene.settle()
    assert scene.plugs == ["eni-1"]
    with scene.database.read() as tx:
        row = tx.get(NetworkInterface, id="eni-2")
        assert row is not None and (row.attachment, row.instance_id) == ("detached", None)


def test_what_cannot_be_plugged_in_is_tried_again(scene: Scene) -> None:
    scene.add()
    scene.settle()
    second = replace(INTERFACE, id="eni-2", mac="02:00:00:00:00:02", private_ip="10.0.1.6", public_ip=None, index=1)
    with scene.database.write() as tx:
        tx.add(replace(second, attachment="attaching"))
    scene.jammed = True
    scene.settle()
    assert scene.plugs == ["eni-1"]
    scene.jammed = False
    scene.settle()
    assert scene.plugs == ["eni-1", "eni-2"]


def test_a_change_while_it_is_plugged_in_is_told_afterwards(scene: Scene) -> None:
    scene.add()
    scene.settle()
    with scene.database.write() as tx:
        row = tx.get(NetworkInterface, id="eni-1")
        assert row is not None
        before = replace(row, attachment="attaching")
        tx.save(replace(before, secondary=(PrivateAddress("10.0.1.9"),)))
        settle(tx, before)
        current = tx.get(NetworkInterface, id="eni-1")
        assert current is not None and current.attachment == "changing"
