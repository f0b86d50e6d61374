"""RunInstances' request, parsed once: what a launch travels as from there on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from aws_shapes import ec2


@dataclass(frozen=True)
class LaunchRequest:
    """The request's parameters, merged with those of the launch template. A text that is not given is empty.

    Parts that other requests have, too, keep EC2's shape: their nouns parse them (`placement` in tenancy.py and
    placement_group.py, `interfaces` in launch_place.py, `devices` in block_device.py, `market` in spot_option.py).
    """

    image: str
    type: str
    least: int
    most: int
    key_name: str
    subnet_id: str
    address: str
    group_ids: tuple[str, ...]
    group_names: tuple[str, ...]
    user_data: str
    shutdown_behavior: str | None
    termination_protected: bool
    stop_protected: bool
    detailed_monitoring: bool
    client_token: str | None
    placement: ec2.Placement
    interfaces: tuple[ec2.InstanceNetworkInterfaceSpecification, ...]
    devices: tuple[ec2.BlockDeviceMapping, ...]
    profile: ec2.IamInstanceProfileSpecification
    metadata: ec2.InstanceMetadataOptionsRequest
    market: ec2.InstanceMarketOptionsRequest
    tags: tuple[ec2.TagSpecification, ...]

    @classmethod
    def of(cls, params: ec2.RunInstancesRequest) -> Self:
        """Nothing is checked here: a caller's permissions are looked up for requests that cannot be, too."""
        return cls(
            image=params.get("ImageId") or "",
            type=params.get("InstanceType") or "",
            least=params.get("MinCount", 1),
            most=params.get("MaxCount", 1),
            key_name=params.get("KeyName") or "",
            subnet_id=params.get("SubnetId") or "",
            address=params.get("PrivateIpAddress") or "",
            group_ids=tuple(params.get("SecurityGroupIds") or ()),
            group_names=tuple(params.get("SecurityGroups") or ()),
            user_data=params.get("UserData") or "",
            shutdown_behavior=params.get("InstanceInitiatedShutdownBehavior"),
            termination_protected=params.get("DisableApiTermination", False),
            stop_protected=params.get("DisableApiStop", False),
            detailed_monitoring=(params.get("Monitoring") or {}).get("Enabled", False),
            client_token=params.get("ClientToken"),
            placement=params.get("Placement") or {},
            interfaces=tuple(params.get("NetworkInterfaces") or ()),
            devices=tuple(params.get("BlockDeviceMappings") or ()),
            profile=params.get("IamInstanceProfile") or {},
            metadata=params.get("MetadataOptions") or {},
            market=params.get("InstanceMarketOptions") or {},
            tags=tuple(params.get("TagSpecifications") or ()),
        )

    @property
    def leaves_zone_open(self) -> bool:
        """Whether EC2 may choose the zone."""
        placed = self.placement.get("AvailabilityZone") or self.placement.get("AvailabilityZoneId")
        named = any(one.get("SubnetId") or one.get("NetworkInterfaceId") for one in self.interfaces)
        return not (self.subnet_id or placed or named)

    def in_zone(self, zone: str) -> Self:
        return replace(self, placement={**self.placement, "AvailabilityZone": zone})
