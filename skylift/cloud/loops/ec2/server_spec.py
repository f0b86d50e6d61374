"""Builds the spec of an instance's server, and the answers of its metadata service, from its row and the rows that it
refers to.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from skylift.catalogue import InstanceType
from skylift.cloud.compute.network.metadata import InstanceFacts, InterfaceFacts, RoleCredentials
from skylift.cloud.compute.server.dmi import firmware_words
from skylift.cloud.compute.server.oci import UIDS, ServerPlan
from skylift.cloud.compute.server.seed_files import Inheritance, seed_files
from skylift.cloud.domain.identity import InstanceProfile
from skylift.cloud.domain.instance import Image, Instance
from skylift.cloud.domain.network import (
    AMAZON_DNS,
    DhcpOptions,
    NetworkInterface,
    SecurityGroup,
    Subnet,
    Vpc,
    private_dns_name,
)
from skylift.cloud.domain.scaling_group import TARGETS, ScalingMember
from skylift.cloud.domain.spot import SpotNotice, SpotRequest
from skylift.cloud.domain.volume import Volume
from skylift.cloud.loops.ec2.instance import ServerSpec
from skylift.cloud.state.rootless import STORED, rootless
from skylift.cloud.store.connect import current_keys
from skylift.cloud.store.database import Tx
from skylift.cloud.store.network import interface_at

MIB = 1024 * 1024


@dataclass(frozen=True)
class CloudSettings:
    """The settings that every server of one cloud shares. `volumes` is where volumes are mounted on the host.

    `host_cores` are the numbers of the cores that servers may use; `cpusets` says whether a server can be held to some
    of them. `lxcfs()` is where lxcfs is mounted, if it is. `tasks` are how many processes and threads all servers may
    have.
    """

    account: str
    region: str
    disks: Path
    volumes: Path
    inheritance: Inheritance
    host_cores: tuple[int, ...]
    cpusets: bool
    swap_accounting: bool
    lxcfs: Callable[[], Path | None]
    tasks: int


def _session_keys(tx: Tx, instance_id: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for key in current_keys(tx, instance_id):
        found[key.os_user] = (*found.get(key.os_user, ()), key.public_key)
    return found


def _user_data(instance: Instance) -> bytes | None:
    return base64.b64decode(instance.user_data) if instance.user_data is not None else None


def _devices(tx: Tx, instance_id: str) -> tuple[str, ...]:
    found = [volume.device for volume in tx.find(Volume, instance_id=instance_id) if not volume.root]
    return tuple(sorted(device for device in found if device))


def _scaling_target(tx: Tx, instance_id: str) -> str:
    member = tx.get(ScalingMember, instance_id=instance_id)
    return TARGETS[member.state] if member else ""


def _interruption(tx: Tx, instance: Instance, notice: SpotNotice | None) -> tuple[str, datetime] | None:
    if notice is None or notice.due is None:
        return None
    request = tx.get(SpotRequest, id=instance.spot_request_id)
    return (request.behavior if request else "terminate"), notice.due


def name_servers(vpc: Vpc, options: DhcpOptions) -> list[str]:
    """The name servers of a VPC's servers. The VPC's own is at the third address of its range."""
    own = str(ipaddress.ip_network(vpc.cidr)[2])
    return [own if one == AMAZON_DNS else one for one in options.configurations.get("domain-name-servers", ())]


@dataclass(frozen=True)
class LaunchSpecBuilder:
    """Makes an instance's `ServerSpec`. `type_of(name)` looks up its type, `zone_id_of(zone)` the id of its zone."""

    settings: CloudSettings
    type_of: Callable[[str], InstanceType]
    zone_id_of: Callable[[str], str]

    def server_spec(self, tx: Tx, instance: Instance) -> ServerSpec:
        image = tx.get(Image, id=instance.image_id)
        vpc = tx.get(Vpc, id=instance.vpc_id)
        primary = tx.get(NetworkInterface, instance_id=instance.id, index=0)
        root = tx.get(Volume, instance_id=instance.id, root=True)
        assert image is not None and vpc is not None and primary is not None and root is not None
        options = tx.get(DhcpOptions, id=vpc.dhcp_options_id) or DhcpOptions("none")
        kind = self.type_of(instance.type)
        hostname = private_dns_name(primary.private_ip, self.settings.region)
        plan = ServerPlan(
            id=instance.id,
            image=Path(image.root),
            disk=self.settings.disks / instance.id,
            uid_base=STORED if rootless() else instance.uid_base,
            hostname=hostname,
            cpus=min(kind.vcpus, len(self.settings.host_cores)),
            cores=self._cores(kind.vcpus, instance.uid_base),
            memory=kind.memory_mib * MIB,
            swap_accounting=self.settings.swap_accounting,
            lxcfs=self.settings.lxcfs(),
            tasks=self.settings.tasks,
            volume=None if rootless() else self.settings.volumes / root.id,
            firmware=firmware_words(instance.id, instance.type, kind.hypervisor or "nitro"),
        )
        seed = seed_files(
            instance_id=instance.id,
            hostname=hostname,
            private_ip=primary.private_ip,
            name_servers=name_servers(vpc, options),
            search=" ".join(options.configurations.get("domain-name", ())),
            region=self.settings.region,
            public_key=instance.public_key,
            user_data=_user_data(instance) if instance.metadata.endpoint == "enabled" else None,
            inheritance=self.settings.inheritance,
        )
        return ServerSpec(plan, seed)

    def _cores(self, vcpus: int, uid_base: int) -> tuple[int, ...]:
        """The cores that a server with this many vCPUs is pinned to. Servers with neighbouring uids get others."""
        there = self.settings.host_cores
        if not self.settings.cpusets or vcpus >= len(there):
            return ()
        first = uid_base // UIDS * vcpus
        return tuple(sorted(there[(first + number) % len(there)] for number in range(vcpus)))

    def facts(
        self, tx: Tx, vpc_id: str, address: str, credentials_for: Callable[[str, str], RoleCredentials | str | None]
    ) -> InstanceFacts | None:
        """What the metadata service may tell the instance that has this private address in this VPC."""
        sender = interface_at(tx, vpc_id, address)
        if sender is None or sender.instance_id is None:
            return None
        instance = tx.get(Instance, id=sender.instance_id)
        if instance is None:
            return None
        instance_id = instance.id
        image = tx.get(Image, id=instance.image_id)
        interfaces = sorted(tx.find(NetworkInterface, instance_id=instance_id), key=lambda each: each.index)
        profile = tx.get(InstanceProfile, id=instance.profile_id) if instance.profile_id else None
        notice = tx.get(SpotNotice, instance_id=instance_id) if instance.spot_request_id else None
        return InstanceFacts(
            instance_id=instance_id,
            image_id=instance.image_id,
            instance_type=instance.type,
            reservation_id=instance.reservation_id,
            launch_index=instance.launch_index,
            launched=instance.launched,
            account=self.settings.account,
            region=self.settings.region,
            zone=instance.zone,
            zone_id=self.zone_id_of(instance.zone),
            architecture=image.architecture if image else "x86_64",
            hostname=private_dns_name(interfaces[0].private_ip, self.settings.region),
            interfaces=tuple(self._interface(tx, interface) for interface in interfaces),
            public_key=instance.public_key,
            key_name=instance.key_name,
            user_data=_user_data(instance),
            profile_arn=instance.profile_arn,
            profile_id=profile.id if profile else None,
            role=profile.role if profile else None,
            credentials=lambda delivery: credentials_for(instance_id, delivery),
            tags=instance.tags if instance.metadata.tags == "enabled" else None,
            spot=instance.spot_request_id is not None,
            rebalance=notice.rebalance if notice else None,
            interruption=_interruption(tx, instance, notice),
            tokens_required=instance.metadata.tokens == "required",
            enabled=instance.metadata.endpoint == "enabled",
            hop_limit=instance.metadata.hop_limit,
            session_keys=_session_keys(tx, instance_id),
            devices=_devices(tx, instance_id),
            hypervisor=self.type_of(instance.type).hypervisor or "nitro",
            scaling_target=_scaling_target(tx, instance_id),
            placement_group=instance.placement_group,
            partition=instance.partition,
            host_id=instance.host_id,
            detailed_monitoring=instance.detailed_monitoring,
        )

    def _interface(self, tx: Tx, interface: NetworkInterface) -> InterfaceFacts:
        subnet = tx.get(Subnet, id=interface.subnet_id)
        vpc = tx.get(Vpc, id=interface.vpc_id)
        assert subnet is not None and vpc is not None
        groups = [tx.get(SecurityGroup, id=group_id) for group_id in interface.group_ids]
        return InterfaceFacts(
            id=interface.id,
            mac=interface.mac,
            addresses=tuple((one.private_ip, one.public_ip) for one in interface.addresses),
            index=interface.index,
            subnet_id=subnet.id,
            subnet_cidr=subnet.cidr,
            vpc_id=vpc.id,
            vpc_cidr=vpc.cidr,
            vpc_cidrs=vpc.cidrs,
            groups={group.id: group.name for group in groups if group is not None},
        )
