"""Launch configurations: what groups launch that were made without a template, from an instance for example.

AWS takes no new ones from accounts that were made since October 2024; here everybody may make them.
https://docs.aws.amazon.com/autoscaling/ec2/userguide/launch-configurations.html
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Instance
from skylift.cloud.domain.launch_configuration import LaunchConfiguration
from skylift.cloud.domain.launch_request import InterfaceRequest, LaunchRequest, PlacementRequest, ProfileName
from skylift.cloud.domain.network import NetworkInterface, SecurityGroup
from skylift.cloud.domain.scaling_group import ScalingGroup, ScalingMember
from skylift.cloud.services.api.instance_type import instance_type
from skylift.cloud.services.api.operation import Check, Nothing
from skylift.cloud.services.api.refusal import refuse_other_values
from skylift.cloud.services.api.resource import arn, require_all
from skylift.cloud.services.autoscaling.operation import PAGES, reads, writes
from skylift.cloud.services.autoscaling.scaling_rules import Context, invalid, page
from skylift.cloud.services.ec2 import keypair
from skylift.cloud.services.ec2.image import usable_image
from skylift.cloud.services.ec2.launch import refuse_other_architecture, refuse_settings
from skylift.cloud.services.ec2.launch_request import launch_request
from skylift.cloud.services.ec2.launch_view import launch_specification
from skylift.cloud.services.ec2.profile import find_profile, wanted_profile
from skylift.cloud.services.ec2.profile_association import check_pass
from skylift.cloud.services.ec2.spot_option import market_wish
from skylift.cloud.services.ec2.user_data import user_data
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import autoscaling, ec2

MOST = 200
TENANCIES = ("default", "dedicated")
NEUTRAL: dict[str, tuple[object, ...]] = {"BlockDeviceMappings.Ebs.Encrypted": (False,), "EbsOptimized": (False,)}
"""Parameters, with the only values that are accepted: they ask for what is so anyway."""


def create(tx: Tx, caller: Caller, params: autoscaling.CreateLaunchConfigurationType) -> Nothing:
    refuse_other_values(params, NEUTRAL)
    instance = running(tx, params["InstanceId"]) if params.get("InstanceId") else None
    launch = _asked(tx, params, instance)
    if not (launch.image and launch.type):
        raise invalid(
            "Valid requests must contain either the InstanceID parameter or both the ImageId and InstanceType "
            "parameters."
        )
    _add(tx, caller, params["LaunchConfigurationName"], launch)
    return {}


def create_from(tx: Tx, caller: Caller, name: str, instance: Instance) -> LaunchConfiguration:
    """The configuration of a group that is made from an instance: it has the group's name."""
    return _add(tx, caller, name, _asked(tx, {"LaunchConfigurationName": name}, instance))


def describe(
    tx: Tx, _caller: Caller, params: autoscaling.LaunchConfigurationNamesType
) -> autoscaling.LaunchConfigurationsType:
    names = params.get("LaunchConfigurationNames") or []
    found = [one for one in tx.find(LaunchConfiguration) if not names or one.name in names]
    chosen, more = page(params, sorted(found, key=_name), _name)
    return {"LaunchConfigurations": [_view(tx, one) for one in chosen], **more}


def delete(tx: Tx, _caller: Caller, params: autoscaling.LaunchConfigurationNameType) -> Nothing:
    found = required(tx, params["LaunchConfigurationName"])
    users = tx.find(ScalingGroup, configuration=found.name)
    if users:
        raise ServiceError(
            "ResourceInUse",
            f"Cannot delete launch configuration {found.name} because it is attached to AutoScalingGroup "
            f"{users[0].name}",
        )
    tx.remove(found)
    return {}


def required(tx: Tx, name: str) -> LaunchConfiguration:
    found = tx.get(LaunchConfiguration, name=name)
    if found is None:
        raise invalid(f"Launch configuration name not found - Launch configuration {name} not found")
    return found


def running(tx: Tx, instance_id: str) -> Instance:
    """An instance that others can be made like. Raises ValidationError."""
    instance = tx.get(Instance, id=instance_id)
    if instance is None:
        raise invalid(f"Invalid Instance ID(s): [{instance_id}] specified")
    if instance.state != "running":
        raise invalid(f"Instance {instance_id} is not in correct state. It is {instance.state}, not running.")
    return instance


def in_no_group(tx: Tx, instance: Instance) -> Instance:
    taken = tx.get(ScalingMember, instance_id=instance.id)
    if taken is not None:
        raise invalid(f"Instance {instance.id} is already part of AutoScalingGroup:{taken.group}")
    return instance


def _add(tx: Tx, caller: Caller, name: str, launch: LaunchRequest) -> LaunchConfiguration:
    if tx.get(LaunchConfiguration, name=name) is not None:
        raise ServiceError(
            "AlreadyExists",
            "Launch Configuration by this name already exists - A launch configuration already exists with the name "
            f"{name}",
        )
    if len(tx.find(LaunchConfiguration)) >= MOST:
        raise ServiceError("LimitExceeded", f"You may have at most {MOST} launch configurations.")
    with _as_validation():
        whole = _checked(tx, caller, launch)
    made = LaunchConfiguration(name, _arn(caller, name, str(uuid.uuid4())), tx.now, whole)
    tx.add(made)
    return made


def _checked(tx: Tx, caller: Caller, launch: LaunchRequest) -> LaunchRequest:
    """Raises EC2's errors where nothing could be launched so, whatever room, price and quotas are then."""
    assert launch.image and launch.type, "both are required, or an instance's"
    # As AWS has it, only an image's id: a parameter is for launch templates, where its permission is asked for.
    image = usable_image(tx, launch.image)
    refuse_other_architecture(instance_type(launch.type), image)
    refuse_settings(tx, caller, image, launch)
    require_all(tx, SecurityGroup, list(LaunchConfiguration("", "", tx.now, launch).group_ids))
    if launch.key_name:
        keypair.by_name(tx, launch.key_name)
    wanted_profile(tx, launch.profile)
    market_wish(tx, launch)
    if launch.place.tenancy not in (None, *TENANCIES):
        raise invalid(f"Invalid value '{launch.place.tenancy}' for PlacementTenancy. Use one of {TENANCIES}.")
    # As Auto Scaling has it, not as EC2.
    detailed = launch.detailed_monitoring is not False
    return replace(launch, user_data=user_data(launch.user_data), detailed_monitoring=detailed)


@contextmanager
def _as_validation() -> Iterator[None]:
    try:
        yield
    except ServiceError as error:
        raise invalid(error.message) from error


def _asked(tx: Tx, params: autoscaling.CreateLaunchConfigurationType, instance: Instance | None) -> LaunchRequest:
    """What a request asks for and, of an instance, the rest. The disks are the image's, and tags are not taken over.

    https://docs.aws.amazon.com/autoscaling/ec2/userguide/create-asg-from-instance.html
    """
    profile, price = params.get("IamInstanceProfile"), params.get("SpotPrice")
    # The members that EC2 has for the same.
    named = {
        "ImageId": params.get("ImageId"),
        "InstanceType": params.get("InstanceType"),
        "KeyName": params.get("KeyName"),
        "UserData": params.get("UserData"),
        "Monitoring": params.get("InstanceMonitoring"),
        "BlockDeviceMappings": [_mapping(one) for one in params.get("BlockDeviceMappings") or []],
        "Placement": {"Tenancy": params["PlacementTenancy"]} if params.get("PlacementTenancy") else None,
        "IamInstanceProfile": {"Arn" if profile.startswith("arn:") else "Name": profile} if profile else None,
        "MetadataOptions": params.get("MetadataOptions"),
        "InstanceMarketOptions": {"MarketType": "spot", "SpotOptions": {"MaxPrice": price}} if price else None,
    }
    asked = launch_request(cast("ec2.RunInstancesRequest", {key: value for key, value in named.items() if value}))
    groups, public_ip = params.get("SecurityGroups") or [], params.get("AssociatePublicIpAddress")
    if instance is not None:
        first = min(tx.find(NetworkInterface, instance_id=instance.id), key=lambda one: one.index)
        asked = asked.over(_like(instance))
        groups = groups or list(first.group_ids)
        if public_ip is None:
            public_ip = any(address.public_ip for address in first.addresses)
    group_ids = tuple(groups) or None
    if public_ip is None:
        return replace(asked, group_ids=group_ids)
    return replace(asked, interfaces=(InterfaceRequest(index=0, group_ids=group_ids, public_ip=public_ip),))


def _like(instance: Instance) -> LaunchRequest:
    return LaunchRequest(
        image=instance.image_id,
        type=instance.type,
        key_name=instance.key_name,
        user_data=instance.user_data,
        detailed_monitoring=instance.detailed_monitoring,
        placement=PlacementRequest(tenancy=instance.tenancy) if instance.tenancy != "default" else None,
        profile=ProfileName(arn=instance.profile_arn) if instance.profile_arn else None,
    )


def _mapping(one: autoscaling.BlockDeviceMapping) -> dict[str, object]:
    """Auto Scaling's NoDevice is a boolean; EC2's is there or not."""
    return {key: value for key, value in one.items() if key != "NoDevice" or value}


def _view(tx: Tx, one: LaunchConfiguration) -> autoscaling.LaunchConfiguration:
    launch, profile, market, metadata = one.launch, one.launch.profile, one.launch.market, one.launch.metadata
    shown: autoscaling.LaunchConfiguration = {
        "LaunchConfigurationName": one.name,
        "LaunchConfigurationARN": one.arn,
        "ImageId": launch.image or "",
        "KeyName": launch.key_name or "",
        "SecurityGroups": list(one.group_ids),
        "ClassicLinkVPCSecurityGroups": [],
        "UserData": launch.user_data or "",
        "InstanceType": launch.type or "",
        "KernelId": "",
        "RamdiskId": "",
        "BlockDeviceMappings": [
            _device_view(each) for each in launch_specification(tx, launch).get("BlockDeviceMappings", [])
        ],
        "InstanceMonitoring": {"Enabled": launch.detailed_monitoring or False},
        "CreatedTime": one.created,
        "EbsOptimized": False,
    }
    if market is not None and market.max_price is not None:
        shown["SpotPrice"] = market.max_price
    if profile is not None:
        shown["IamInstanceProfile"] = profile.arn or profile.name or ""
    if one.public_ip is not None:
        shown["AssociatePublicIpAddress"] = one.public_ip
    if launch.place.tenancy:
        shown["PlacementTenancy"] = launch.place.tenancy
    if metadata is not None:
        options = {
            "HttpTokens": metadata.tokens,
            "HttpPutResponseHopLimit": metadata.hop_limit,
            "HttpEndpoint": metadata.endpoint,
        }
        given = {key: value for key, value in options.items() if value is not None}
        shown["MetadataOptions"] = cast("autoscaling.InstanceMetadataOptions", given)
    return shown


def _device_view(mapping: ec2.BlockDeviceMapping) -> autoscaling.BlockDeviceMapping:
    shown = {**mapping, "NoDevice": True} if "NoDevice" in mapping else mapping
    return cast("autoscaling.BlockDeviceMapping", shown)


def _name(one: LaunchConfiguration) -> str:
    return one.name


# What a caller must be allowed to do.


def check_create(tx: Tx, caller: Caller, params: autoscaling.CreateLaunchConfigurationType) -> Iterator[Check]:
    """Making it, and handing its role to EC2. The handler refuses an instance that none can be made like."""
    instance = tx.get(Instance, id=params["InstanceId"]) if params.get("InstanceId") else None
    launch = _asked(tx, params, instance if instance and instance.state == "running" else None)
    market = launch.market
    context: Context = {
        **({"autoscaling:ImageId": launch.image} if launch.image else {}),
        **({"autoscaling:InstanceType": launch.type} if launch.type else {}),
        **({"autoscaling:SpotPrice": market.max_price} if market and market.max_price else {}),
        **{f"autoscaling:Metadata{name}": str(asked) for name, asked in params.get("MetadataOptions", {}).items()},
    }
    yield Check("autoscaling:CreateLaunchConfiguration", _arn(caller, params["LaunchConfigurationName"]), context)
    yield from check_pass(tx, find_profile(tx, launch.profile), arn(caller, "instance", "*"))


def _check_delete(tx: Tx, caller: Caller, params: autoscaling.LaunchConfigurationNameType) -> Iterator[Check]:
    name = params["LaunchConfigurationName"]
    found = tx.get(LaunchConfiguration, name=name)
    yield Check("autoscaling:DeleteLaunchConfiguration", found.arn if found else _arn(caller, name))


def _arn(caller: Caller, name: str, identifier: str = "*") -> str:
    account = f"arn:aws:autoscaling:{caller.region}:{caller.account}"
    return f"{account}:launchConfiguration:{identifier}:launchConfigurationName/{name}"


OPERATIONS = (
    writes(
        "CreateLaunchConfiguration",
        create,
        "LaunchConfigurationName ImageId KeyName SecurityGroups UserData InstanceId InstanceType "
        "InstanceMonitoring.Enabled SpotPrice IamInstanceProfile AssociatePublicIpAddress MetadataOptions.HttpTokens "
        "MetadataOptions.HttpPutResponseHopLimit MetadataOptions.HttpEndpoint BlockDeviceMappings.DeviceName "
        "BlockDeviceMappings.NoDevice BlockDeviceMappings.Ebs.SnapshotId BlockDeviceMappings.Ebs.VolumeSize "
        "BlockDeviceMappings.Ebs.VolumeType BlockDeviceMappings.Ebs.DeleteOnTermination BlockDeviceMappings.Ebs.Iops "
        "BlockDeviceMappings.Ebs.Throughput PlacementTenancy " + " ".join(NEUTRAL),
        check_create,
    ),
    reads("DescribeLaunchConfigurations", describe, f"LaunchConfigurationNames {PAGES}"),
    writes("DeleteLaunchConfiguration", delete, "LaunchConfigurationName", _check_delete),
)
