"""The launch of a spot request as EC2 answers it: what was asked for, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skylift.cloud.domain.launch_request import InterfaceRequest, LaunchRequest, ProfileName
from skylift.cloud.domain.network import SecurityGroup
from skylift.cloud.services.ebs.block_device import device_mapping
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2


def launch_specification(tx: Tx, launch: LaunchRequest) -> ec2.LaunchSpecification:
    """Groups are shown with their names, however they were asked for. User data is not shown."""
    groups = [tx.get(SecurityGroup, id=group_id) for group_id in launch.group_ids or ()]
    named: list[ec2.GroupIdentifier] = [
        {"GroupId": group.id, "GroupName": group.name} for group in groups if group is not None
    ]
    named += [{"GroupName": name} for name in launch.group_names or ()]
    placement: ec2.SpotPlacement = {
        **({"AvailabilityZone": launch.place.zone} if launch.place.zone else {}),
        **({"GroupName": launch.place.group_name} if launch.place.group_name else {}),
        **({"Tenancy": launch.place.tenancy} if launch.place.tenancy else {}),
    }
    return {
        **({"BlockDeviceMappings": [device_mapping(one) for one in launch.devices]} if launch.devices else {}),
        **({"IamInstanceProfile": _profile(launch.profile)} if launch.profile else {}),
        **({"ImageId": launch.image} if launch.image else {}),
        **({"InstanceType": launch.type} if launch.type else {}),
        **({"KeyName": launch.key_name} if launch.key_name else {}),
        **({"NetworkInterfaces": [_interface(one) for one in launch.interfaces]} if launch.interfaces else {}),
        **({"Placement": placement} if placement else {}),
        **({"SubnetId": launch.subnet_id} if launch.subnet_id else {}),
        "SecurityGroups": named,
        "Monitoring": {"Enabled": launch.detailed_monitoring or False},
    }


def _interface(asked: InterfaceRequest) -> ec2.InstanceNetworkInterfaceSpecification:
    listed: list[ec2.PrivateIpAddressSpecification] = [
        {**({"PrivateIpAddress": one.address} if one.address else {}), "Primary": one.primary}
        for one in asked.listed_addresses or ()
    ]
    return {
        **({"DeviceIndex": asked.index} if asked.index is not None else {}),
        **({"SubnetId": asked.subnet_id} if asked.subnet_id is not None else {}),
        **({"Groups": list(asked.group_ids)} if asked.group_ids is not None else {}),
        **({"PrivateIpAddress": asked.address} if asked.address is not None else {}),
        **({"PrivateIpAddresses": listed} if asked.listed_addresses is not None else {}),
        **({"SecondaryPrivateIpAddressCount": asked.more_addresses} if asked.more_addresses is not None else {}),
        **({"AssociatePublicIpAddress": asked.public_ip} if asked.public_ip is not None else {}),
        **({"Description": asked.description} if asked.description is not None else {}),
        **({"DeleteOnTermination": asked.delete_on_termination} if asked.delete_on_termination is not None else {}),
    }


def _profile(asked: ProfileName) -> ec2.IamInstanceProfileSpecification:
    return {**({"Name": asked.name} if asked.name else {}), **({"Arn": asked.arn} if asked.arn else {})}
