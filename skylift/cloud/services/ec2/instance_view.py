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
from skylift.cloud.services.api.tag import tag_list
from skylift.cloud.services.api.zone import zone_id
from skylift.cloud.services.ebs.image_device import ROOT_DEVICE
from skylift.cloud.services.vpc import interface
from skylift.cloud.store.database import Tx
from skylift.cloud.store.network import ElasticIps, elastic_ips, group_names

if TYPE_CHECKING:
    from aws_shapes import ec2

FILTERS = {
    "affinity": "Placement.Affinity",
    "architecture": "Architecture",
    "availability-zone": "Placement.AvailabilityZone",
    "availability-zone-id": "Placement.AvailabilityZoneId",
    "block-device-mapping.attach-time": "BlockDeviceMappings.Ebs.AttachTime",
    "block-device-mapping.delete-on-termination": "BlockDeviceMappings.Ebs.DeleteOnTermination",
    "block-device-mapping.device-name": "BlockDeviceMappings.DeviceName",
    "block-device-mapping.status": "BlockDeviceMappings.Ebs.Status",
    "block-device-mapping.volume-id": "BlockDeviceMappings.Ebs.VolumeId",
    "client-token": "ClientToken",
    "dns-name": "PublicDnsName",
    "ebs-optimized": "EbsOptimized",
    "ena-support": "EnaSupport",
    "enclave-options.enabled": "EnclaveOptions.Enabled",
    "group-id": "SecurityGroups.GroupId",
    "group-name": "SecurityGroups.GroupName",
    "hibernation-options.configured": "HibernationOptions.Configured",
    "host-id": "Placement.HostId",
    "hypervisor": "Hypervisor",
    "iam-instance-profile.arn": "IamInstanceProfile.Arn",
    "iam-instance-profile.id": "IamInstanceProfile.Id",
    "image-id": "ImageId",
    "instance-id": "InstanceId",
    "instance-lifecycle": "InstanceLifecycle",
    "instance-state-code": "State.Code",
    "instance-state-name": "State.Name",
    "instance-type": "InstanceType",
    "instance.group-id": "SecurityGroups.GroupId",
    "instance.group-name": "SecurityGroups.GroupName",
    "ip-address": "PublicIpAddress",
    "ipv6-address": "Ipv6Address",
    "kernel-id": "KernelId",
    "key-name": "KeyName",
    "launch-index": "AmiLaunchIndex",
    "launch-time": "LaunchTime",
    "metadata-options.http-endpoint": "MetadataOptions.HttpEndpoint",
    "metadata-options.http-protocol-ipv6": "MetadataOptions.HttpProtocolIpv6",
    "metadata-options.http-put-response-hop-limit": "MetadataOptions.HttpPutResponseHopLimit",
    "metadata-options.http-tokens": "MetadataOptions.HttpTokens",
    "metadata-options.instance-metadata-tags": "MetadataOptions.InstanceMetadataTags",
    "metadata-options.state": "MetadataOptions.State",
    "monitoring-state": "Monitoring.State",
    "network-interface.addresses.association.ip-owner-id": (
        "NetworkInterfaces.PrivateIpAddresses.Association.IpOwnerId"
    ),
    "network-interface.addresses.association.public-dns-name": (
        "NetworkInterfaces.PrivateIpAddresses.Association.PublicDnsName"
    ),
    "network-interface.addresses.association.public-ip": ("NetworkInterfaces.PrivateIpAddresses.Association.PublicIp"),
    "network-interface.addresses.primary": "NetworkInterfaces.PrivateIpAddresses.Primary",
    "network-interface.addresses.private-dns-name": "NetworkInterfaces.PrivateIpAddresses.PrivateDnsName",
    "network-interface.addresses.private-ip-address": "NetworkInterfaces.PrivateIpAddresses.PrivateIpAddress",
    "network-interface.association.ip-owner-id": "NetworkInterfaces.Association.IpOwnerId",
    "network-interface.association.public-dns-name": "NetworkInterfaces.Association.PublicDnsName",
    "network-interface.association.public-ip": "NetworkInterfaces.Association.PublicIp",
    "network-interface.attachment.attach-time": "NetworkInterfaces.Attachment.AttachTime",
    "network-interface.attachment.attachment-id": "NetworkInterfaces.Attachment.AttachmentId",
    "network-interface.attachment.delete-on-termination": "NetworkInterfaces.Attachment.DeleteOnTermination",
    "network-interface.attachment.device-index": "NetworkInterfaces.Attachment.DeviceIndex",
    "network-interface.attachment.instance-id": "InstanceId",
    "network-interface.attachment.instance-owner-id": "NetworkInterfaces.OwnerId",
    "network-interface.attachment.network-card-index": "NetworkInterfaces.Attachment.NetworkCardIndex",
    "network-interface.attachment.status": "NetworkInterfaces.Attachment.Status",
    "network-interface.availability-zone": "Placement.AvailabilityZone",
    "network-interface.description": "NetworkInterfaces.Description",
    "network-interface.group-id": "NetworkInterfaces.Groups.GroupId",
    "network-interface.group-name": "NetworkInterfaces.Groups.GroupName",
    "network-interface.ipv6-addresses.ipv6-address": "NetworkInterfaces.Ipv6Addresses.Ipv6Address",
    "network-interface.mac-address": "NetworkInterfaces.MacAddress",
    "network-interface.network-interface-id": "NetworkInterfaces.NetworkInterfaceId",
    "network-interface.owner-id": "NetworkInterfaces.OwnerId",
    "network-interface.private-dns-name": "NetworkInterfaces.PrivateDnsName",
    "network-interface.private-ip-address": "NetworkInterfaces.PrivateIpAddress",
    "network-interface.source-dest-check": "NetworkInterfaces.SourceDestCheck",
    "network-interface.status": "NetworkInterfaces.Status",
    "network-interface.subnet-id": "NetworkInterfaces.SubnetId",
    "network-interface.vpc-id": "NetworkInterfaces.VpcId",
    "outpost-arn": "OutpostArn",
    "owner-id": "OwnerId",
    "placement-group-name": "Placement.GroupName",
    "placement-partition-number": "Placement.PartitionNumber",
    "platform": "Platform",
    "platform-details": "PlatformDetails",
    "private-dns-name": "PrivateDnsName",
    "private-dns-name-options.enable-resource-name-dns-a-record": (
        "PrivateDnsNameOptions.EnableResourceNameDnsARecord"
    ),
    "private-dns-name-options.enable-resource-name-dns-aaaa-record": (
        "PrivateDnsNameOptions.EnableResourceNameDnsAAAARecord"
    ),
    "private-dns-name-options.hostname-type": "PrivateDnsNameOptions.HostnameType",
    "private-ip-address": "PrivateIpAddress",
    "product-code": "ProductCodes.ProductCodeId",
    "product-code.type": "ProductCodes.ProductCodeType",
    "ramdisk-id": "RamdiskId",
    "reason": "StateTransitionReason",
    "requester-id": "RequesterId",
    "reservation-id": "ReservationId",
    "root-device-name": "RootDeviceName",
    "root-device-type": "RootDeviceType",
    "source-dest-check": "SourceDestCheck",
    "spot-instance-request-id": "SpotInstanceRequestId",
    "state-reason-code": "StateReason.Code",
    "state-reason-message": "StateReason.Message",
    "subnet-id": "SubnetId",
    "tenancy": "Placement.Tenancy",
    "usage-operation": "UsageOperation",
    "virtualization-type": "VirtualizationType",
    "vpc-id": "VpcId",
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
