"""The client of a soak that has volumes: a server of its own goes on over all kills, and has those that are attached.

What is written to a volume is no API call: it is there from the moment that it was written, and looked for where the
server finds it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from support.real_cloud import RealCloud
from support.real_server import until
from support.soak_servers import LONG, boot_of, is_there
from support.soak_worker import Cut, Fact, Facts, Lost, Worker, attempt, tag_set, tags_of

DEVICES = ("/dev/sdf", "/dev/sdg", "/dev/sdh")


class Keeper(Worker):
    """At most as many volumes as there are devices, and a snapshot or two."""

    MOST = len(DEVICES)

    def __init__(self, seed: str, cloud: RealCloud) -> None:
        super().__init__(seed)
        self._cloud = cloud
        self._ec2 = cloud.ec2
        self._ids: dict[str, str] = {}
        self._written: dict[str, dict[str, str]] = {}
        """What is in each volume and in each snapshot: words by file, by the name of the thing."""
        self._mine = [{"Name": "tag:soak", "Values": ["volume"]}]
        server = cloud.start(InstanceType="t3.nano")
        server.await_state("running")
        self._server, self._zone = server.id, server.describe()["Placement"]["AvailabilityZone"]
        self._boot = boot_of(cloud, self._server)
        self.writing = Lock()
        """Held while a file is written: who holds it knows that each file is there or not begun."""

    @property
    def acts(self) -> Sequence[Callable[[], None]]:
        return (
            *(self._make, self._make_from_snapshot, self._attach, self._attach, self._detach, self._grow),
            *(self._write, self._write, self._write, self._snapshot, self._forget_snapshot, self._delete),
        )

    def observe(self) -> Facts:
        """What became of it all; returns once nothing is on its way any more."""
        attempt(lambda: not self._on_their_way(), "volumes and snapshots to settle", LONG, self._on_their_way)
        if boot_of(self._cloud, self._server) != self._boot:
            raise Lost(f"{self._server}, which has the volumes, has been started anew")
        facts: Facts = {}
        for one in self._volumes():
            name = tags_of(one)["Name"]
            self._ids[name] = one["VolumeId"]
            facts["volume", name] = (one["Size"], bool(one["Attachments"]))
            if one["Attachments"]:
                self._look_into(name, one)
        for one in self._snapshots():
            name = tags_of(one)["Name"]
            self._ids[name] = one["SnapshotId"]
            facts["snapshot", name] = one["State"]
        return facts

    def have_been_off(self) -> None:
        """Its host was: the server has been started again."""
        until(lambda: is_there(self._cloud, self._server), f"{self._server} to be back", LONG)
        self._boot = boot_of(self._cloud, self._server)

    def _look_into(self, name: str, described: dict[str, Any]) -> None:
        """As the server's processes see it: by its init's root directory."""
        init = self._boot.split()[0]
        device = described["Attachments"][0]["Device"].rpartition("/")[2]
        place = Path(f"/proc/{init}/root/mnt/{device}")
        found = {file.name: file.read_text() for file in place.iterdir() if file.name != "lost+found"}
        if found != self._written[name]:
            raise Lost(f"{described['VolumeId']} has {found}, and {self._written[name]} was written to it")

    def _on_their_way(self) -> list[dict[str, Any]]:
        states = {"available": [], "in-use": ["attached"]}
        volumes = [
            one
            for one in self._volumes()
            if [each["State"] for each in one["Attachments"]] != states.get(one["State"])
            or one["VolumeId"] in self._growing()
        ]
        return volumes + [one for one in self._snapshots() if one["State"] == "pending"]

    def _growing(self) -> set[str]:
        found = self._ec2.describe_volumes_modifications()["VolumesModifications"]
        return {one["VolumeId"] for one in found if one["ModificationState"] == "modifying"}

    def _volumes(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._ec2.describe_volumes(Filters=self._mine)["Volumes"]
        return found

    def _snapshots(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._ec2.describe_snapshots(Filters=self._mine, OwnerIds=["self"])["Snapshots"]
        return found

    def _at_rest(self, *, attached: bool) -> Fact | None:
        """A volume that has come to be what it was told to be, and of which no snapshot is being made."""
        moving = {one.get("VolumeId") for one in self._on_their_way()}
        fit = [
            fact for fact in self.has("volume") if self.facts[fact][1] == attached and self._ids[fact[1]] not in moving
        ]
        return self.random.choice(fit) if fit else None

    def _tags(self, kind: str, name: str) -> list[dict[str, Any]]:
        return [{"ResourceType": kind, "Tags": tag_set({"Name": name, "soak": "volume"})}]

    def _make(self) -> None:
        self._create({})

    def _make_from_snapshot(self) -> None:
        ready = {tags_of(one)["Name"] for one in self._snapshots() if one["State"] == "completed"}
        known = [fact for fact in self.has("snapshot") if fact[1] in ready]
        if known:
            name = self.random.choice(known)[1]
            # As large as the largest that it may be of.
            self._create(self._written[name], Size=3, SnapshotId=self._ids[name])

    def _create(self, written: dict[str, str], Size: int = 1, **parameters: Any) -> None:
        if len(self.has("volume")) >= self.MOST:
            return
        name = self.name("volume")
        self._written[name] = dict(written)
        made = self.change(
            {("volume", name): (Size, False)},
            self._ec2.create_volume,
            AvailabilityZone=self._zone,
            Size=Size,
            TagSpecifications=self._tags("volume", name),
            **parameters,
        )
        self._ids[name] = made["VolumeId"]

    def _attach(self) -> None:
        if fact := self._at_rest(attached=False):
            taken = {each["Device"] for one in self._volumes() for each in one["Attachments"]}
            self.change(
                {fact: (self.facts[fact][0], True)},
                self._ec2.attach_volume,
                VolumeId=self._ids[fact[1]],
                InstanceId=self._server,
                Device=next(device for device in DEVICES if device not in taken),
            )

    def _detach(self) -> None:
        if fact := self._at_rest(attached=True):
            self.change({fact: (self.facts[fact][0], False)}, self._ec2.detach_volume, VolumeId=self._ids[fact[1]])

    def _write(self) -> None:
        if fact := self._at_rest(attached=True):
            name, word = self.name("file"), self.word()
            place = Path(f"/run/skylift/{self._cloud.number}/volumes/{self._ids[fact[1]]}")
            try:
                with self.writing, (place / name).open("w") as file:
                    file.write(word)
                    file.flush()
                    os.fsync(file.fileno())
                    self._written[fact[1]][name] = word
            except OSError as error:
                raise Cut(str(error)) from error

    def _grow(self) -> None:
        fact = self._at_rest(attached=self.random.choice((True, False)))
        if fact is not None and self.facts[fact][0] < 3:
            size, attached = self.facts[fact]
            self.change(
                {fact: (size + 1, attached)}, self._ec2.modify_volume, VolumeId=self._ids[fact[1]], Size=size + 1
            )

    def _snapshot(self) -> None:
        fact = self._at_rest(attached=self.random.choice((True, False)))
        if fact is not None and len(self.has("snapshot")) < 2:
            name = self.name("snapshot")
            self._written[name] = dict(self._written[fact[1]])
            made = self.change(
                {("snapshot", name): "completed"},
                self._ec2.create_snapshot,
                VolumeId=self._ids[fact[1]],
                TagSpecifications=self._tags("snapshot", name),
            )
            self._ids[name] = made["SnapshotId"]

    def _forget_snapshot(self) -> None:
        if fact := self.one("snapshot"):
            self.change({fact: None}, self._ec2.delete_snapshot, SnapshotId=self._ids[fact[1]])

    def _delete(self) -> None:
        fact = self._at_rest(attached=False)
        if fact is not None and self.random.random() < 0.5:
            self.change({fact: None}, self._ec2.delete_volume, VolumeId=self._ids[fact[1]])
