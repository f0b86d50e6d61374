"""An instance as RunInstances and DescribeInstances show it, and the filters over that."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from skylift.catalogue import types
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import STATE_CODES, Instance, MetadataOptions, State
from skylift.cloud.domain.network import NetworkInterface, private_dns_name
from skylift.cloud.domain.shared_part import shared
from skylift.cloud.domain.volume import Volume
from skylift.cloud.services.api.filter import same_named
from skylift.cloud.services.api.tag import tag_list
from skylift.cloud.services.api.zone import zone_id
from skylift.cloud.services.ebs.image_device import ROOT_DEVICE
from skylift.cloud.services.vpc import interface
from skylift.cloud.store.database import Tx
from skylift.cloud.store.network import ElasticIps, elastic_ips, group_names

if TYPE_CHECKING:
    from aws_shapes import ec2

FILTERS = {
    **same_named(
        "architecture client-token ebs-optimized ena-support enclave-options.enabled "
        "hibernation-options.configured hypervisor iam-instance-profile.arn "
        "iam-instance-profile.id image-id instance-id instance-lifecycle instance-type "
        "ipv6-address kernel-id key-name launch-time metadata-options.http-endpoint "
        "metadata-options.http-protocol-ipv6 metadata-options.http-put-response-hop-limit "
        "metadata-options.http-tokens metadata-options.instance-metadata-tags "
        "metadata-options.state outpost-arn owner-id platform platform-details private-dns-name "
        "private-dns-name-options.enable-resource-name-dns-a-record "
        "private-dns-name-options.hostname-type private-ip-address ramdisk-id requester-id "
        "reservation-id root-device-name root-device-type source-dest-check "
        "spot-instance-request-id subnet-id usage-operation virtualization-type vpc-id"
    ),
    **same_named(
        "attach-time delete-on-termination status volume-id", "block-device-mapping", "BlockDeviceMappings.Ebs"
    ),
    **same_named(
        "association.ip-owner-id association.public-dns-name association.public-ip primary "
        "private-dns-name private-ip-address",
        "network-interface.addresses",
        "NetworkInterfaces.PrivateIpAddresses",
    ),
    **same_named(
        "association.ip-owner-id association.public-dns-name association.public-ip "
        "attachment.attach-time attachment.attachment-id attachment.delete-on-termination "
        "attachment.device-index attachment.network-card-index attachment.status description "
        "ipv6-addresses.ipv6-address mac-address network-interface-id owner-id private-dns-name "
        "private-ip-address source-dest-check status subnet-id vpc-id",
        "network-interface",
        "NetworkInterfaces",
    ),
    "affinity": "Placement.Affinity",
    "availability-zone": "Placement.AvailabilityZone",
    "availability-zone-id": "Placement.AvailabilityZoneId",
    "block-device-mapping.device-name": "BlockDeviceMappings.DeviceName",
    "dns-name": "PublicDnsName",
    "group-id": "SecurityGroups.GroupId",
    "group-name": "SecurityGroups.GroupName",
    "host-id": "Placement.HostId",
    "instance-state-code": "State.Code",
    "instance-state-name": "State.Name",
    "instance.group-id": "SecurityGroups.GroupId",
    "instance.group-name": "SecurityGroups.GroupName",
    "ip-address": "PublicIpAddress",
    "launch-index": "AmiLaunchIndex",
    "monitoring-state": "Monitoring.State",
    "network-interface.attachment.instance-id": "InstanceId",
    "network-interface.attachment.instance-owner-id": "NetworkInterfaces.OwnerId",
    "network-interface.availability-zone": "Placement.AvailabilityZone",
    "network-interface.group-id": "NetworkInterfaces.Groups.GroupId",
    "network-interface.group-name": "NetworkInterfaces.Groups.GroupName",
    "placement-group-name": "Placement.GroupName",
    "placement-partition-number": "Placement.PartitionNumber",
    "private-dns-name-options.enable-resource-name-dns-aaaa-record": (
        "PrivateDnsNameOptions.EnableResourceNameDnsAAAARecord"
    ),
    "product-code": "ProductCodes.ProductCodeId",
    "product-code.type": "ProductCodes.ProductCodeType",
    "reason": "StateTransitionReason",
    "state-reason-code": "StateReason.Code",
    "state-reason-message": "StateReason.Message",
    "tenancy": "Placement.Tenancy",
}


@shared
def state(name: State) -> ec2.InstanceState:
    return {"Code": STATE_CODES[name], "Name": name}


@dataclass(frozen=True)
class InstanceContext:
    """The rows that a description of instances refers to, read once for all of them."""

    caller: Caller
    names: dict[str, str]
    interfaces: dict[str, list[NetworkInterface]] = field(default_factory=dict)
    volumes: dict[str, list[Volume]] = field(default_factory=dict)
    elastic: ElasticIps = field(default_factory=dict)

    @classmethod
    def of(cls, tx: Tx, caller: Caller, instances: Iterable[Instance]) -> InstanceContext:
        wanted = [instance.id for instance in instances]
        few = wanted if len(wanted) == 1 else None
        interfaces: dict[str, list[NetworkInterface]] = defaultdict(list)
        for one in tx.find(NetworkInterface, **({"instance_id": few[0]} if few else {})):
            if one.instance_id:
                interfaces[one.instance_id].append(one)
        volumes: dict[str, list[Volume]] = defaultdict(list)
        for volume in tx.find(Volume, **({"instance_id": few[0]} if few else {})):
            if volume.instance_id:
                volumes[volume.instance_id].append(volume)
        return cls(caller, group_names(tx), interfaces, volumes, elastic_ips(tx))


def view(instance: Instance, context: InstanceContext) -> ec2.Instance:
    """Members that name what ends with an instance (addresses, interfaces, groups, disk) are absent after it."""
    kind = types()[instance.type]
    return {
        "InstanceId": instance.id,
        "ImageId": instance.image_id,
        "InstanceType": instance.type,
        "State": state(instance.state),
        "StateTransitionReason": instance.transition_reason,
        **_state_reason(instance),
        "AmiLaunchIndex": instance.launch_index,
        "LaunchTime": instance.launched,
        "Architecture": kind.architecture,
        "CpuOptions": _processors(kind.cores, kind.vcpus // kind.cores),
        "Placement": _placement(
            instance.zone,
            instance.placement_group,
            instance.placement_group_id,
            instance.partition,
            instance.tenancy,
            *_host(instance),
        ),
        "Monitoring": _monitoring(instance.detailed_monitoring),
        "MetadataOptions": metadata_options(instance),
        **({"KeyName": instance.key_name} if instance.key_name else {}),
        **({"ClientToken": instance.client_token} if instance.client_token else {}),
        **_market(instance),
        **_profile(instance),
        **_network(instance, context),
        "BlockDeviceMappings": _devices(context.volumes.get(instance.id, [])),
        **_every_instance(),
        "UsageOperationUpdateTime": instance.launched,
        "ProductCodes": [],
        "Tags": tag_list(instance.tags),
    }


def reservation(items: list[ec2.Instance], reservation_id: str, owner: str) -> ec2.Reservation:
    return {"ReservationId": reservation_id, "OwnerId": owner, "Groups": [], "Instances": items}


def _host(instance: Instance) -> tuple[str | None, str | None]:
    """Affinity and host. An instance that is off is on no host, unless its affinity is for one."""
    if instance.tenancy != "host":
        return None, None
    off = instance.state in ("stopped", "terminated") and instance.affinity != "host"
    return instance.affinity, None if off else instance.host_id


@shared
def _placement(
    zone: str,
    group: str,
    group_id: str | None,
    partition: int | None,
    tenancy: Literal["default", "dedicated", "host"],
    affinity: str | None,
    host_id: str | None,
) -> ec2.Placement:
    return {
        "AvailabilityZone": zone,
        "AvailabilityZoneId": zone_id(zone),
        "GroupName": group,
        **({"GroupId": group_id} if group_id else {}),
        **({"PartitionNumber": partition} if partition else {}),
        "Tenancy": tenancy,
        **({"Affinity": affinity} if affinity else {}),
        **({"HostId": host_id} if host_id else {}),
    }


@shared
def _processors(cores: int, threads: int) -> ec2.CpuOptions:
    return {"CoreCount": cores, "ThreadsPerCore": threads}


@shared
def _monitoring(detailed: bool) -> ec2.Monitoring:
    return {"State": "enabled" if detailed else "disabled"}


@shared
def _every_instance() -> ec2.Instance:
    """What there is of each instance, whatever it is."""
    return {
        "RootDeviceName": ROOT_DEVICE,
        "RootDeviceType": "ebs",
        "Hypervisor": "xen",
        "VirtualizationType": "hvm",
        "EbsOptimized": False,
        "EnaSupport": True,
        "EnclaveOptions": {"Enabled": False},
        "HibernationOptions": {"Configured": False},
        "MaintenanceOptions": {"AutoRecovery": "default", "RebootMigration": "default"},
        "NetworkPerformanceOptions": {"BandwidthWeighting": "default"},
        "Operator": {"Managed": False},
        "PrivateDnsNameOptions": {
            "HostnameType": "ip-name",
            "EnableResourceNameDnsARecord": False,
            "EnableResourceNameDnsAAAARecord": False,
        },
        "PlatformDetails": "Linux/UNIX",
        "UsageOperation": "RunInstances",
    }


@shared
def _pending() -> ec2.StateReason:
    return {"Code": "pending", "Message": "pending"}


def _state_reason(instance: Instance) -> ec2.Instance:
    if instance.state == "pending":
        return {"StateReason": _pending()}
    failed = instance.system_check or instance.instance_check
    if instance.state == "running" and failed is not None:
        code = "Server.InternalError" if instance.system_check else "Client.InternalError"
        return {"StateReason": {"Code": code, "Message": f"{code}: Status check failed: {failed.reason}"}}
    if instance.state_reason_code:
        return {"StateReason": {"Code": instance.state_reason_code, "Message": instance.state_reason}}
    return {}


def _market(instance: Instance) -> ec2.Instance:
    """Only spot instances have a lifecycle."""
    if instance.spot_request_id is None:
        return {}
    return {"InstanceLifecycle": "spot", "SpotInstanceRequestId": instance.spot_request_id}


def metadata_options(instance: Instance) -> ec2.InstanceMetadataOptionsResponse:
    return _options(instance.metadata, "pending" if instance.state == "pending" else "applied")


@shared
def _options(options: MetadataOptions, state: Literal["pending", "applied"]) -> ec2.InstanceMetadataOptionsResponse:
    return {
        "State": state,
        "HttpTokens": options.tokens,
        "HttpEndpoint": options.endpoint,
        "HttpPutResponseHopLimit": options.hop_limit,
        "HttpProtocolIpv6": "disabled",
        "InstanceMetadataTags": options.tags,
    }


def _profile(instance: Instance) -> ec2.Instance:
    if instance.profile_arn is None or instance.state == "terminated":
        return {}
    return {"IamInstanceProfile": {"Arn": instance.profile_arn, "Id": instance.profile_id or ""}}


def _network(instance: Instance, context: InstanceContext) -> ec2.Instance:
    """Public names are empty: AWS's would not resolve to these addresses."""
    mine = sorted(context.interfaces.get(instance.id, []), key=lambda one: one.index)
    if not mine or instance.state == "terminated":
        return {"PrivateDnsName": "", "PublicDnsName": "", "NetworkInterfaces": [], "SecurityGroups": []}
    first = mine[0]
    return {
        "VpcId": first.vpc_id,
        "SubnetId": first.subnet_id,
        "PrivateIpAddress": first.private_ip,
        "PrivateDnsName": private_dns_name(first.private_ip, context.caller.region),
        "PublicDnsName": "",
        **({"PublicIpAddress": first.public_ip} if first.public_ip else {}),
        "SourceDestCheck": first.source_dest_check,
        "SecurityGroups": interface.groups(first, context.names),
        "NetworkInterfaces": [
            interface.of_instance(one, context.caller, context.names, context.elastic) for one in mine
        ],
    }


def _devices(volumes: list[Volume]) -> list[ec2.InstanceBlockDeviceMapping]:
    """The root device first, the others in the order in which they came."""
    return [
        {
            **({"DeviceName": volume.device} if volume.device else {}),
            "Ebs": {
                "VolumeId": volume.id,
                **({"AttachTime": volume.attached} if volume.attached else {}),
                "DeleteOnTermination": volume.delete_on_termination,
                "EbsCardIndex": 0,
                "Status": "detaching" if volume.attachment == "busy" else volume.attachment or "attached",
            },
        }
        for volume in sorted(volumes, key=lambda one: not one.root)
    ]
