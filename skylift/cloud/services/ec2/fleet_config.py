"""The launch templates of a fleet and their overrides, in EC2's members and as a fleet keeps them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from skylift.cloud.domain.fleet import AnsweredOverride, FleetConfig, FleetOverride
from skylift.cloud.domain.launch_request import LaunchRequest
from skylift.cloud.domain.launch_template import TemplateSpec
from skylift.cloud.services.ebs.block_device import device_mapping, device_requests
from skylift.cloud.services.ec2.launch_request import metadata_request, placement_request, profile_name

if TYPE_CHECKING:
    from aws_shapes import ec2


def fleet_configs(asked: Iterable[ec2.FleetLaunchTemplateConfigRequest] | None) -> list[FleetConfig]:
    return [
        FleetConfig(
            template=_template(one.get("LaunchTemplateSpecification") or {}),
            overrides=tuple(_override(override) for override in one.get("Overrides") or ()),
        )
        for one in asked or ()
    ]


def config_view(config: FleetConfig) -> ec2.FleetLaunchTemplateConfig:
    overrides: list[ec2.FleetLaunchTemplateOverrides] = []
    for one in config.overrides:
        shown: ec2.FleetLaunchTemplateOverrides = {**override_view(one)}
        if one.zone_id is not None:
            shown["AvailabilityZoneId"] = one.zone_id
        if one.launch.devices is not None:
            mappings = [device_mapping(device) for device in one.launch.devices]
            # An answer has the members of a request.
            shown["BlockDeviceMappings"] = cast("list[ec2.BlockDeviceMappingResponse]", mappings)
        overrides.append(shown)
    return {"LaunchTemplateSpecification": {**config.template}, "Overrides": overrides}


def override_view(one: FleetOverride) -> AnsweredOverride:
    """What EC2 repeats when it says where an instance came from: of a placement only its group."""
    return {
        **({"InstanceType": one.launch.type} if one.launch.type is not None else {}),
        **({"ImageId": one.launch.image} if one.launch.image is not None else {}),
        **({"Placement": {"GroupName": one.launch.place.group_name}} if one.launch.place.group_name else {}),
        **({"MaxPrice": one.max_price} if one.max_price is not None else {}),
        **({"SubnetId": ",".join(one.subnet_ids)} if one.subnet_ids else {}),
        **({"AvailabilityZone": one.zone} if one.zone is not None else {}),
        **({"WeightedCapacity": one.weight} if one.weight is not None else {}),
        **({"Priority": one.priority} if one.priority is not None else {}),
        **({"InstanceRequirements": one.requirements} if one.requirements is not None else {}),
    }


def _template(asked: ec2.FleetLaunchTemplateSpecificationRequest) -> TemplateSpec:
    return {
        **({"LaunchTemplateId": asked["LaunchTemplateId"]} if "LaunchTemplateId" in asked else {}),
        **({"LaunchTemplateName": asked["LaunchTemplateName"]} if "LaunchTemplateName" in asked else {}),
        **({"Version": asked["Version"]} if "Version" in asked else {}),
    }


def _override(asked: ec2.FleetLaunchTemplateOverridesRequest) -> FleetOverride:
    devices, metadata = asked.get("BlockDeviceMappings"), asked.get("MetadataOptions")
    return FleetOverride(
        launch=LaunchRequest(
            type=asked.get("InstanceType"),
            image=asked.get("ImageId"),
            key_name=asked.get("KeyName"),
            placement=placement_request(asked.get("Placement")),
            devices=None if devices is None else device_requests(devices),
            profile=profile_name(asked.get("IamInstanceProfile")),
            metadata=metadata_request({**metadata}) if metadata else None,
        ),
        max_price=asked.get("MaxPrice"),
        subnet_ids=tuple(one.strip() for one in asked.get("SubnetId", "").split(",") if one.strip()),
        zone=asked.get("AvailabilityZone"),
        zone_id=asked.get("AvailabilityZoneId"),
        weight=asked.get("WeightedCapacity"),
        priority=asked.get("Priority"),
        requirements=asked.get("InstanceRequirements"),
    )
