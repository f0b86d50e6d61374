"""What a caller must be allowed to do to run instances: RunInstances on everything it uses and makes, and PassRole.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ExamplePolicies_EC2.html#iam-example-runinstances
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from skylift.cloud.identity import Caller, Role
from skylift.cloud.instance import Image, KeyPair
from skylift.cloud.network import SecurityGroup, Subnet, Vpc
from skylift.cloud.services import block_device
from skylift.cloud.services.check import making, of_row, on_row
from skylift.cloud.services.launch import find_profile
from skylift.cloud.services.launch_template import check_of
from skylift.cloud.services.launch_template_version import with_template
from skylift.cloud.services.operation import Check
from skylift.cloud.services.parameter import on_name
from skylift.cloud.services.public_parameter import image_id_or_none, image_parameter
from skylift.cloud.services.resource import arn
from skylift.cloud.store.database import Tx

ACTION = "ec2:RunInstances"


def checks(tx: Tx, caller: Caller, params: Any) -> Iterator[Check]:
    """Resources that do not exist are asked about too: whether they do is the handler's to say."""
    asked = params.get("LaunchTemplate")
    if asked:
        yield check_of(tx, caller, ACTION, asked)
        params, _ = with_template(tx, params)
    subnet = _subnet(tx, params)
    parameter = image_parameter(params.get("ImageId", ""))
    if parameter is not None:
        yield on_name(tx, caller, "GetParameters", parameter)
    yield _image(tx, caller, params)
    yield from making(caller, "RunInstances", "instance", params, more=_of_instance(tx, params, subnet))
    image = tx.get(Image, id=image_id_or_none(tx, caller, params.get("ImageId", "")))
    yield from block_device.checks(tx, caller, image, params)
    yield from making(caller, "RunInstances", "network-interface", params, more=_of_interface(caller, params, subnet))
    if subnet is not None:
        more = {"ec2:SubnetID": subnet.id, "ec2:AvailabilityZone": subnet.zone}
        yield on_row(tx, caller, ACTION, Subnet, subnet.id, more=more)
    else:
        yield Check(ACTION, arn(caller, "subnet", "*"), {"ec2:Region": caller.region})
    for group_id in _groups(tx, params, subnet):
        yield on_row(tx, caller, ACTION, SecurityGroup, group_id)
    if params.get("KeyName"):
        pair = tx.get(KeyPair, name=params["KeyName"])
        context = {"ec2:Region": caller.region, **(of_row(caller, pair) if pair else {})}
        yield Check(ACTION, arn(caller, "key-pair", params["KeyName"]), context)
    yield from _pass_role(tx, params)


def _image(tx: Tx, caller: Caller, params: Any) -> Check:
    image_id = image_id_or_none(tx, caller, params.get("ImageId", "*"))
    image = tx.get(Image, id=image_id)
    more = {"ec2:ImageType": "machine", "ec2:RootDeviceType": "ebs"}
    if image is not None:
        more |= {
            "ec2:ImageID": image.id,
            "ec2:Owner": "amazon" if image.owner == "amazon" else caller.account,
            "ec2:Public": "true" if image.public else "false",
        }
    return on_row(tx, caller, ACTION, Image, image_id or "*", more=more)


def _of_instance(tx: Tx, params: Any, subnet: Subnet | None) -> dict[str, str]:
    profile = find_profile(tx, params.get("IamInstanceProfile") or {})
    metadata = params.get("MetadataOptions") or {}
    return {
        "ec2:InstanceType": params.get("InstanceType", ""),
        "ec2:RootDeviceType": "ebs",
        "ec2:Tenancy": "default",
        "ec2:EbsOptimized": "false",
        "ec2:MetadataHttpTokens": metadata.get("HttpTokens", "required"),
        "ec2:MetadataHttpEndpoint": metadata.get("HttpEndpoint", "enabled"),
        "ec2:MetadataHttpPutResponseHopLimit": str(metadata.get("HttpPutResponseHopLimit", 2)),
        **({"ec2:InstanceProfile": profile.arn} if profile else {}),
        **({"ec2:AvailabilityZone": subnet.zone} if subnet else {}),
    }


def _of_interface(caller: Caller, params: Any, subnet: Subnet | None) -> dict[str, str]:
    if subnet is None:
        return {}
    asked = (params.get("NetworkInterfaces") or [{}])[0].get("AssociatePublicIpAddress")
    public = subnet.map_public_ip if asked is None else asked
    return {
        "ec2:Subnet": arn(caller, "subnet", subnet.id),
        "ec2:Vpc": arn(caller, "vpc", subnet.vpc_id),
        "ec2:AvailabilityZone": subnet.zone,
        "ec2:AssociatePublicIpAddress": "true" if public else "false",
    }


def _subnet(tx: Tx, params: Any) -> Subnet | None:
    """The subnet that is named, or the default one that would be taken."""
    named = params.get("SubnetId") or (params.get("NetworkInterfaces") or [{}])[0].get("SubnetId")
    if named:
        return tx.get(Subnet, id=named)
    vpc = tx.get(Vpc, is_default=True)
    subnets = tx.find(Subnet, vpc_id=vpc.id, default_for_zone=True) if vpc else []
    zone = params.get("Placement", {}).get("AvailabilityZone")
    return next((one for one in sorted(subnets, key=lambda one: one.zone) if zone in (None, one.zone)), None)


def _groups(tx: Tx, params: Any, subnet: Subnet | None) -> list[str]:
    ids = params.get("SecurityGroupIds") or (params.get("NetworkInterfaces") or [{}])[0].get("Groups") or []
    if subnet is None:
        return list(ids)
    names = params.get("SecurityGroups") or ([] if ids else ["default"])
    named = [tx.get(SecurityGroup, vpc_id=subnet.vpc_id, name=name) for name in names]
    return [*ids, *(group.id for group in named if group)]


def _pass_role(tx: Tx, params: Any) -> Iterator[Check]:
    profile = find_profile(tx, params.get("IamInstanceProfile") or {})
    role = tx.get(Role, name=profile.role) if profile and profile.role else None
    if role is not None:
        yield Check("iam:PassRole", role.arn, {"iam:PassedToService": "ec2.amazonaws.com"})
