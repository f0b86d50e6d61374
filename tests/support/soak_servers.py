"""The client of a soak that has servers: some go on over all kills, others are stopped, started, rebooted, ended."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from support.real_cloud import RealCloud
from support.soak_report import report, select
from support.soak_worker import Fact, Facts, Lost, Worker, attempt, tag_set, tags_of

SETTLED = ("running", "stopped", "terminated")
LONG = 180.0
"""Seconds after which what has to happen by itself is taken for stuck; deleting an image takes its time."""


class Operator(Worker):
    """Servers in the default VPC, one Elastic IP, and images made of the servers."""

    MOST = 3

    def __init__(self, seed: str, cloud: RealCloud, *, images: bool) -> None:
        super().__init__(seed)
        self._cloud = cloud
        self._makes_images = images
        self._ec2 = cloud.ec2
        self._ids: dict[str, str] = {}
        self._boots: dict[str, str] = {}
        """By instance, which process its init was when last looked at, for those that nothing was asked of since."""
        self._mine = [{"Name": "tag:soak", "Values": ["server"]}]
        self._allocation = self._ec2.allocate_address(Domain="vpc")["AllocationId"]
        self._group = cloud.ssh_only
        self.facts["address", "elastic"] = ""

    @property
    def acts(self) -> Sequence[Callable[[], None]]:
        acts = (
            *(self._run, self._run, self._stop, self._start, self._reboot, self._terminate, self._retag, self._protect),
            *(self._associate, self._disassociate),
        )
        return (*acts, self._capture, self._forget_image) if self._makes_images else acts

    def observe(self) -> Facts:
        """What became of it all; returns once nothing is on its way any more."""
        self._until(self._settled, "servers and images to settle", lambda: self._on_their_way(self._described()))
        facts: Facts = {}
        for one in self._described():
            if one["State"]["Name"] == "terminated":
                continue
            fact = self._named(one)
            self._ids[fact[1]] = one["InstanceId"]
            facts[fact] = (one["State"]["Name"], tags_of(one).get("word"), self._protected(one["InstanceId"]))
        names = {identity: name for name, identity in self._ids.items()}
        (address,) = self._ec2.describe_addresses(AllocationIds=[self._allocation])["Addresses"]
        facts["address", "elastic"] = names.get(address.get("InstanceId", ""), "")
        for image in self._images():
            facts["image", image["Name"]] = image["State"]
        return facts

    def verify(self) -> None:
        super().verify()
        running = [one for one in self._described() if one["State"]["Name"] == "running"]
        for one in running:
            instance = one["InstanceId"]
            greets = partial(says_ssh, one.get("PublicIpAddress", ""))
            self._until(greets, f"an SSH banner of {instance}", partial(list, [one]))
            boot = boot_of(self._cloud, instance)
            if self._boots.setdefault(instance, boot) != boot:
                raise Lost(f"{instance} has been started anew\n{report(self._cloud, one)}")
        self._boots = {one["InstanceId"]: self._boots[one["InstanceId"]] for one in running}

    def have_been_off(self) -> None:
        """Its host was: servers that ran, or were on their way to, have been started again."""
        self._boots.clear()
        self._until(
            lambda: self._settled() and self._those_that_run_are_there(), "servers to be what they say", self._described
        )

    def _those_that_run_are_there(self) -> bool:
        running = [one["InstanceId"] for one in self._described() if one["State"]["Name"] == "running"]
        return all(is_there(self._cloud, instance) for instance in running)

    def _until(self, look: Callable[[], bool], what: str, concerned: Callable[[], list[dict[str, Any]]]) -> None:
        attempt(look, what, LONG, lambda: (report(self._cloud, one) for one in concerned()))

    def _described(self) -> list[dict[str, Any]]:
        pages = self._ec2.get_paginator("describe_instances").paginate(Filters=self._mine)
        return [one for page in pages for each in page["Reservations"] for one in each["Instances"]]

    def _settled(self) -> bool:
        there = not self._on_their_way(self._described()) and not to_be_rebooted(self._cloud)
        return there and all(image["State"] != "pending" for image in self._images())

    def _on_their_way(self, described: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [one for one in described if one["State"]["Name"] not in SETTLED]

    def _images(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._ec2.describe_images(Filters=[{"Name": "name", "Values": ["image-*"]}])[
            "Images"
        ]
        return found

    def _named(self, described: dict[str, Any]) -> Fact:
        return "server", f"{tags_of(described)['Name']}.{described['AmiLaunchIndex']}"

    def _protected(self, instance: str) -> bool:
        asked = self._ec2.describe_instance_attribute(InstanceId=instance, Attribute="disableApiTermination")
        return bool(asked["DisableApiTermination"]["Value"])

    def _at_rest(self, state: str) -> str | None:
        """The name of one that has come to be what it was told to be."""
        there = {self._named(one)[1] for one in self._described() if one["State"]["Name"] == state}
        fit = sorted(name for name in there if self.facts.get(("server", name), ("",))[0] == state)
        return self.random.choice(fit) if fit else None

    def _become(self, name: str, state: str | None, call: Callable[..., Any], also: Facts | None = None) -> None:
        fact = ("server", name)
        self._boots.pop(self._ids[name], None)
        changed = None if state is None else (state, *self.facts[fact][1:])
        self.change({fact: changed, **(also or {})}, call, InstanceIds=[self._ids[name]])

    def _run(self) -> None:
        count = self.random.choice((1, 2))
        if len(self.has("server")) + count > self.MOST:
            return
        name = self.name("server")
        made = self.change(
            {("server", f"{name}.{index}"): ("running", None, False) for index in range(count)},
            self._ec2.run_instances,
            ImageId=self.random.choice([self._cloud.image, *self._available()]),
            InstanceType="t3.nano",
            MinCount=count,
            MaxCount=count,
            SecurityGroupIds=[self._group],
            TagSpecifications=[{"ResourceType": "instance", "Tags": tag_set({"Name": name, "soak": "server"})}],
        )
        for one in made["Instances"]:
            self._ids[f"{name}.{one['AmiLaunchIndex']}"] = one["InstanceId"]

    def _stop(self) -> None:
        if name := self._at_rest("running"):
            self._become(name, "stopped", self._ec2.stop_instances)

    def _start(self) -> None:
        if name := self._at_rest("stopped"):
            self._become(name, "running", self._ec2.start_instances)

    def _reboot(self) -> None:
        if name := self._at_rest("running"):
            self._become(name, "running", self._ec2.reboot_instances)

    def _terminate(self) -> None:
        name = self._at_rest("running") or self._at_rest("stopped")
        if name is None or self.facts["server", name][2]:
            return
        here = self.facts["address", "elastic"] == name
        self._become(name, None, self._ec2.terminate_instances, {("address", "elastic"): ""} if here else None)

    def _retag(self) -> None:
        if fact := self.one("server"):
            state, _, protected = self.facts[fact]
            word = self.word()
            self.change(
                {fact: (state, word, protected)},
                self._ec2.create_tags,
                Resources=[self._ids[fact[1]]],
                Tags=tag_set({"word": word}),
            )

    def _protect(self) -> None:
        if fact := self.one("server"):
            state, word, protected = self.facts[fact]
            self.change(
                {fact: (state, word, not protected)},
                self._ec2.modify_instance_attribute,
                InstanceId=self._ids[fact[1]],
                DisableApiTermination={"Value": not protected},
            )

    def _associate(self) -> None:
        name = self._at_rest("running")
        if name is not None and not self.facts["address", "elastic"]:
            self.change(
                {("address", "elastic"): name},
                self._ec2.associate_address,
                AllocationId=self._allocation,
                InstanceId=self._ids[name],
            )

    def _disassociate(self) -> None:
        holder = self.facts["address", "elastic"]
        if not holder or self.facts["server", holder][0] != "stopped":
            # A running one would be left without an address, and could not be looked at.
            return
        (address,) = self._ec2.describe_addresses(AllocationIds=[self._allocation])["Addresses"]
        self.change(
            {("address", "elastic"): ""}, self._ec2.disassociate_address, AssociationId=address["AssociationId"]
        )

    def _capture(self) -> None:
        """Of one that runs, which is rebooted for it or held for a moment, or of one that is off."""
        name = self._at_rest(self.random.choice(("running", "stopped")))
        # Seldom: copying an image takes as long as a dozen kills.
        if name is not None and not self.has("image") and self.random.random() < 0.1:
            image, rebooted = self.name("image"), self.random.choice((True, False))
            if rebooted:
                self._boots.pop(self._ids[name], None)
            self.change(
                {("image", image): "available"},
                self._ec2.create_image,
                InstanceId=self._ids[name],
                Name=image,
                NoReboot=not rebooted,
            )

    def _available(self) -> list[str]:
        return [image["ImageId"] for image in self._images() if image["State"] == "available"]

    def _forget_image(self) -> None:
        if fact := self.one("image"):
            (image,) = [image["ImageId"] for image in self._images() if image["Name"] == fact[1]]
            self.change({fact: None}, self._ec2.deregister_image, ImageId=image, DeleteAssociatedSnapshots=True)


def to_be_rebooted(cloud: RealCloud) -> list[str]:
    """Instances whose reboot was asked for and is not over, which EC2 does not say: their state is `running`."""
    rows = select(cloud.home.data.database, "SELECT id FROM instances WHERE rebooting AND state = 'running'")
    return [str(row["id"]) for row in rows]


def is_there(cloud: RealCloud, instance: str) -> bool:
    """What is said of a server that ended while nobody looked is true a moment after the cloud's start only."""
    return Path(f"/run/skylift/{cloud.number}/{instance}/init.pid").exists()


def boot_of(cloud: RealCloud, instance: str) -> str:
    """The server's init: its pid and when it was started."""
    pid = Path(f"/run/skylift/{cloud.number}/{instance}/init.pid").read_text().strip()
    started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return f"{pid} since {started}"


def says_ssh(address: str) -> bool:
    """Whether a server's sshd greets whoever comes from the host."""
    try:
        with socket.create_connection((address, 22), timeout=5) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False
