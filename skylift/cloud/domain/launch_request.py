"""The launch of instances as RunInstances, a fleet, a group or a spot request asks for it, parsed.

In each of these types None is what a request does not ask for, so that two of them can be merged.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Self, TypeVar

from skylift.cloud.domain.launch_template import TemplateSpec

T = TypeVar("T", "PlacementRequest", "InterfaceRequest", "DeviceRequest", "LaunchRequest")


@dataclass(frozen=True)
class PlacementRequest:
    zone: str | None = None
    zone_id: str | None = None
    group_name: str | None = None
    group_id: str | None = None
    partition: int | None = None
    tenancy: str | None = None
    host_id: str | None = None
    affinity: str | None = None


@dataclass(frozen=True)
class ListedAddress:
    """A private address that a request lists for an interface. Without an `address`, any free one will do."""

    address: str | None = None
    primary: bool = False


@dataclass(frozen=True)
class InterfaceRequest:
    """`existing_id` names an interface that is there; the others are made. `more_addresses` is a number."""

    index: int | None = None
    existing_id: str | None = None
    subnet_id: str | None = None
    group_ids: tuple[str, ...] | None = None
    address: str | None = None
    listed_addresses: tuple[ListedAddress, ...] | None = None
    more_addresses: int | None = None
    public_ip: bool | None = None
    description: str | None = None
    delete_on_termination: bool | None = None


@dataclass(frozen=True)
class VolumeRequest:
    """`throughput` is in MiB a second."""

    size_gib: int | None = None
    type: str | None = None
    iops: int | None = None
    throughput: int | None = None
    snapshot_id: str | None = None
    delete_on_termination: bool | None = None
    encrypted: bool | None = None
    """No volume is. It is kept to be shown as it was asked for."""


@dataclass(frozen=True)
class DeviceRequest:
    """What a launch has under a device name. `left_out` leaves out the volume that the image has there."""

    device: str | None = None
    virtual_name: str | None = None
    left_out: bool | None = None
    volume: VolumeRequest | None = None


@dataclass(frozen=True)
class ProfileName:
    """An instance profile, by its name or its ARN."""

    name: str | None = None
    arn: str | None = None


@dataclass(frozen=True)
class MetadataRequest:
    tokens: str | None = None
    endpoint: str | None = None
    hop_limit: int | None = None
    tags: str | None = None


@dataclass(frozen=True)
class MarketRequest:
    """Of spot instances `max_price` is in USD an hour, as the request spells it."""

    market: str | None = None
    type: str | None = None
    max_price: str | None = None
    behavior: str | None = None
    valid_until: datetime | None = None


@dataclass(frozen=True)
class TagPair:
    key: str | None = None
    value: str | None = None


@dataclass(frozen=True)
class TagRequest:
    """The tags of what a launch makes of one type of resource."""

    resource_type: str | None = None
    tags: tuple[TagPair, ...] = ()

    def over(self, below: TagRequest) -> TagRequest:
        """These tags and, of `below`, those with other keys."""
        tags = {tag.key: tag for tag in below.tags} | {tag.key: tag for tag in self.tags}
        return replace(self, tags=tuple(tags.values()))


DEFAULT_TYPE = "m1.small"
"""The type of a launch for which neither the request nor its launch template names one.

https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RunInstances.html, until 2023; none is required since either.
"""


@dataclass(frozen=True)
class LaunchRequest:
    """`template` names the launch template that has the rest. Nothing in here is checked yet."""

    template: TemplateSpec | None = None
    image: str | None = None
    type: str | None = None
    least: int = 1
    most: int = 1
    key_name: str | None = None
    subnet_id: str | None = None
    address: str | None = None
    group_ids: tuple[str, ...] | None = None
    group_names: tuple[str, ...] | None = None
    user_data: str | None = None
    shutdown_behavior: str | None = None
    termination_protected: bool | None = None
    stop_protected: bool | None = None
    detailed_monitoring: bool | None = None
    client_token: str | None = None
    placement: PlacementRequest | None = None
    interfaces: tuple[InterfaceRequest, ...] | None = None
    devices: tuple[DeviceRequest, ...] | None = None
    profile: ProfileName | None = None
    metadata: MetadataRequest | None = None
    market: MarketRequest | None = None
    tags: tuple[TagRequest, ...] | None = None
    within: tuple[str, ...] | None = None
    """The default subnets that a launch may go to which names none: its caller was asked for permission for these."""

    def over(self, below: LaunchRequest) -> LaunchRequest:
        """This request with the data of its launch template, `below`.

        What the request asks for takes the place of the template's. Interfaces, devices and tags are merged one by one.
        """
        interfaces = {one.index: one for one in below.interfaces or ()}
        for nic in self.interfaces or ():
            interfaces[nic.index] = over(nic, interfaces.get(nic.index, nic))
        devices = {one.device: one for one in below.devices or ()}
        for device in self.devices or ():
            devices[device.device] = over(device, devices.get(device.device, device))
        tags = {one.resource_type: one for one in below.tags or ()}
        for one in self.tags or ():
            tags[one.resource_type] = one.over(tags.get(one.resource_type, one))
        return replace(
            over(self, below),
            template=None,
            interfaces=tuple(interfaces.values()) or None,
            devices=tuple(devices.values()) or None,
            tags=tuple(tags.values()) or None,
        )

    def with_type(self) -> Self:
        return self if self.type else replace(self, type=DEFAULT_TYPE)

    @property
    def place(self) -> PlacementRequest:
        return self.placement or PlacementRequest()

    @property
    def leaves_zone_open(self) -> bool:
        """Whether EC2 may choose the zone."""
        named = any(one.subnet_id or one.existing_id for one in self.interfaces or ())
        return not (self.subnet_id or self.place.zone or self.place.zone_id or named)

    def in_zone(self, zone: str) -> Self:
        return replace(self, placement=replace(self.place, zone=zone))


def over(above: T, below: T) -> T:
    """`above`, with what it does not ask for as `below` has it."""
    asked = {field.name: getattr(above, field.name) for field in fields(above)}
    return replace(below, **{name: value for name, value in asked.items() if value is not None})
