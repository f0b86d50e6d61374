"""Requests for launches in EC2's members, parsed into the nouns that they travel as from there on.

Nothing is checked here: a caller's permissions are looked up for requests that cannot be, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NotRequired, TypedDict, cast

from skylift.cloud.domain.launch_request import (
    InterfaceRequest,
    LaunchRequest,
    MarketRequest,
    MetadataRequest,
    PlacementRequest,
    ProfileName,
    TagPair,
    TagRequest,
)
from skylift.cloud.services.api.tag import Tagged
from skylift.cloud.services.ebs.block_device import device_requests
from skylift.cloud.services.vpc.private_address import listed_addresses

if TYPE_CHECKING:
    from aws_shapes import ec2


class MetadataOptionsRequest(TypedDict):
    """The options of an instance's metadata service, as launches and changes ask for them."""

    HttpTokens: NotRequired[str]
    HttpEndpoint: NotRequired[str]
    HttpPutResponseHopLimit: NotRequired[int]
    InstanceMetadataTags: NotRequired[str]


def launch_request(params: ec2.RunInstancesRequest) -> LaunchRequest:
    groups, names = params.get("SecurityGroupIds"), params.get("SecurityGroups")
    interfaces, mappings = params.get("NetworkInterfaces"), params.get("BlockDeviceMappings")
    tags, metadata = params.get("TagSpecifications"), params.get("MetadataOptions")
    return LaunchRequest(
        template=params.get("LaunchTemplate") or None,
        image=params.get("ImageId"),
        type=params.get("InstanceType"),
        least=params.get("MinCount", 1),
        most=params.get("MaxCount", 1),
        key_name=params.get("KeyName"),
        subnet_id=params.get("SubnetId"),
        address=params.get("PrivateIpAddress"),
        group_ids=None if groups is None else tuple(groups),
        group_names=None if names is None else tuple(names),
        user_data=params.get("UserData"),
        shutdown_behavior=params.get("InstanceInitiatedShutdownBehavior"),
        termination_protected=params.get("DisableApiTermination"),
        stop_protected=params.get("DisableApiStop"),
        detailed_monitoring=(params.get("Monitoring") or {}).get("Enabled"),
        client_token=params.get("ClientToken"),
        placement=placement_request(params.get("Placement")),
        interfaces=None if interfaces is None else tuple(_interface(one) for one in interfaces),
        devices=None if mappings is None else device_requests(mappings),
        profile=profile_name(params.get("IamInstanceProfile")),
        metadata=metadata_request(metadata) if metadata else None,
        market=_market(params.get("InstanceMarketOptions")),
        tags=None if tags is None else tag_requests(tags),
    )


def template_request(data: ec2.ResponseLaunchTemplateData) -> LaunchRequest:
    """A template's data is shaped as a launch is, member by member."""
    return launch_request(cast("ec2.RunInstancesRequest", data))


def spot_launch(specification: ec2.RequestSpotLaunchSpecification) -> LaunchRequest:
    """A spot request's specification is shaped as a launch is, as far as it goes."""
    return launch_request(cast("ec2.RunInstancesRequest", specification))


def placement_request(asked: ec2.Placement | None) -> PlacementRequest | None:
    if not asked:
        return None
    return PlacementRequest(
        zone=asked.get("AvailabilityZone"),
        zone_id=asked.get("AvailabilityZoneId"),
        group_name=asked.get("GroupName"),
        group_id=asked.get("GroupId"),
        partition=asked.get("PartitionNumber"),
        tenancy=asked.get("Tenancy"),
        host_id=asked.get("HostId"),
        affinity=asked.get("Affinity"),
    )


def profile_name(asked: ec2.IamInstanceProfileSpecification | None) -> ProfileName | None:
    return ProfileName(asked.get("Name"), asked.get("Arn")) if asked else None


def metadata_request(asked: MetadataOptionsRequest) -> MetadataRequest:
    return MetadataRequest(
        tokens=asked.get("HttpTokens"),
        endpoint=asked.get("HttpEndpoint"),
        hop_limit=asked.get("HttpPutResponseHopLimit"),
        tags=asked.get("InstanceMetadataTags"),
    )


def tag_requests(asked: Iterable[ec2.TagSpecification]) -> tuple[TagRequest, ...]:
    return tuple(
        TagRequest(
            one.get("ResourceType"), tuple(TagPair(tag.get("Key"), tag.get("Value")) for tag in one.get("Tags") or ())
        )
        for one in asked
    )


def tagged(request: LaunchRequest) -> Tagged:
    """The tags of a launch in the members that every request has for them."""
    return {"TagSpecifications": [_specification(one) for one in request.tags or ()]}


def _specification(one: TagRequest) -> ec2.TagSpecification:
    tags: list[ec2.Tag] = [
        {**({} if tag.key is None else {"Key": tag.key}), **({} if tag.value is None else {"Value": tag.value})}
        for tag in one.tags
    ]
    return {**({} if one.resource_type is None else {"ResourceType": one.resource_type}), "Tags": tags}


def _interface(asked: ec2.InstanceNetworkInterfaceSpecification) -> InterfaceRequest:
    groups = asked.get("Groups")
    return InterfaceRequest(
        index=asked.get("DeviceIndex"),
        existing_id=asked.get("NetworkInterfaceId"),
        subnet_id=asked.get("SubnetId"),
        group_ids=None if groups is None else tuple(groups),
        address=asked.get("PrivateIpAddress"),
        listed_addresses=listed_addresses(asked.get("PrivateIpAddresses")),
        more_addresses=asked.get("SecondaryPrivateIpAddressCount"),
        public_ip=asked.get("AssociatePublicIpAddress"),
        description=asked.get("Description"),
        delete_on_termination=asked.get("DeleteOnTermination"),
    )


def _market(asked: ec2.InstanceMarketOptionsRequest | None) -> MarketRequest | None:
    if not asked:
        return None
    spot = asked.get("SpotOptions") or {}
    return MarketRequest(
        market=asked.get("MarketType"),
        type=spot.get("SpotInstanceType"),
        max_price=spot.get("MaxPrice"),
        behavior=spot.get("InstanceInterruptionBehavior"),
        valid_until=spot.get("ValidUntil"),
    )
