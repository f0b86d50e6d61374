"""The loop of instances against a fake of compute."""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from fake_machines import FakeMachines
from support.fresh_state import fresh_state
from support.plain_instance import LAUNCHED, plain_instance

from skylift.cloud.compute.server.oci import ServerPlan
from skylift.cloud.compute.server.server import RuntimeRefused
from skylift.cloud.domain.instance import Instance
from skylift.cloud.domain.network import NetworkInterface, Subnet, Vpc
from skylift.cloud.loops.ec2.instance import InstanceLoop, RootDisks, ServerNetwork, ServerSpec
from skylift.cloud.store.database import Database, Tx

INTERFACE = NetworkInterface(
    id="eni-1",
    vpc_id="vpc-1",
    subnet_id="subnet-1",
    mac="02:00:00:00:00:01",
    private_ip="10.0.1.5",
    group_ids=(),
    created=LAUNCHED,
    public_ip="127.40.1.1",
    instance_id="i-1",
    attachment_id="eni-attach-1",
    attachment="attaching",
)


class FullDatabase(Database):
    """One whose disk can be full."""

    def __init__(self, path: Path, scene: Scene) -> None:
        super().__init__(path)
        self._scene = scene

    @contextmanager
    def write(self) -> Iterator[Tx]:
        with super().write() as tx:
            yield tx
            if self._scene.database_full:
                raise OSError(errno.ENOSPC, "no room")


class Scene:
    """A store with one instance, machines to run it, and the loop between them."""

    def __init__(self, path: Path) -> None:
        self.database = FullDatabase(fresh_state(path), self)
        self.machines = FakeMachines()
        self.plugs: list[str] = []
        self.dressed: list[list[str]] = []
        self.notes_rest = False
        self.with_volumes: set[str] = set()
        self.looked_at_volumes = False
        self.jammed = False
        self.no_room = False
        self.database_full = False
        self.network_fails = False
        self.meanwhile: list[Callable[[], None]] = []
        """What others do while a server is taken off the host, once each."""
        self.told: list[str] = []
        """The states that other loops were told of."""
        self.loop = self.start_loop()
        with self.database.write() as tx:
            tx.add(Vpc(id="vpc-1", cidr="10.0.0.0/16"))
            tx.add(Subnet(id="subnet-1", vpc_id="vpc-1", cidr="10.0.1.0/24", zone="us-east-1a"))

    def attach(self, interface: NetworkInterface, subnet: Subnet, pid: int) -> None:
        if self.jammed:
            raise RuntimeRefused(f"attach {interface.id}: no")
        self.plugs.append(interface.id)

    def configure_link(self, interface: NetworkInterface, subnet: Subnet, pid: int) -> None:
        self.dressed.append([one.private_ip for one in interface.addresses])

    def start_loop(self) -> InstanceLoop:
        loop = InstanceLoop(
            database=self.database,
            machines=self.machines,
            network=ServerNetwork(
                sync=self.sync_network,
                attach=self.attach,
                configure_link=self.configure_link,
                detach=lambda interface_id: self.plugs.remove(interface_id) if interface_id in self.plugs else None,
            ),
            server_spec=lambda tx, instance: ServerSpec(plan_of(instance), ()),
            root_disks=RootDisks(
                at_rest=lambda server_id: self.machines.done.append("at_rest") if self.notes_rest else None,
                keep=self.keep,
            ),
            volumes=self,
            changed=lambda: self.told.append(self.row.state),
        )
        self.machines.ended = loop.ended
        return loop

    def sync_network(self, vpc_ids: Collection[str]) -> None:
        if self.network_fails:
            raise RuntimeRefused("the network: no")

    # The part of the loop of volumes.

    def step(self) -> None:
        self.looked_at_volumes = True

    def before_boot(self, instance_id: str) -> None:
        assert instance_id not in self.machines.running(), "its root would be mounted over"

    def at_boot(self, instance_id: str, pid: int) -> None:
        with self.database.write():
            # It says of each that it is attached.
            self.with_volumes.add(instance_id)

    def at_rest(self, instance_id: str, *, for_good: bool) -> None:
        self.with_volumes.discard(instance_id)
        if self.meanwhile:
            self.meanwhile.pop()()
            return
        assert for_good == (self.row.desired == "terminated") or self.row.desired == "running"

    def keep(self, instance: Instance) -> None:
        if self.no_room:
            raise RuntimeRefused("no room for its root volume")
        if self.notes_rest:
            self.machines.done.append("keep")

    def add(self, **changes: object) -> None:
        with self.database.write() as tx:
            tx.add(plain_instance(**changes))
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


def plan_of(instance: Instance) -> ServerPlan:
    return ServerPlan(instance.id, Path("/image"), Path("/disk"), instance.uid_base, "host", 1, 1 << 30)


def unseen_end(scene: Scene) -> None:
    """Servers end, and the word of it has not arrived yet."""
    scene.machines.ended = lambda *_: None
