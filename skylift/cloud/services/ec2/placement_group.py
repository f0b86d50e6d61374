"""Placement groups: made, described, deleted, and what they ask of the instances in them.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/placement-groups.html
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import repeat
from typing import TYPE_CHECKING, Literal

from skylift.catalogue import InstanceType
from skylift.cloud.domain.dedicated_host import DedicatedHost
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Instance
from skylift.cloud.domain.launch_request import PlacementRequest
from skylift.cloud.domain.placement_group import PlacementGroup
from skylift.cloud.services.api.check import making, on_row
from skylift.cloud.services.api.condition_key import of_change
from skylift.cloud.services.api.ec2_operation import reads, writes
from skylift.cloud.services.api.filter import matching, same_named
from skylift.cloud.services.api.instance_type import instance_type
from skylift.cloud.services.api.list_response import Listing
from skylift.cloud.services.api.operation import Check, Nothing
from skylift.cloud.services.api.refusal import combination, invalid, invalid_value, missing, one_of, refuse_other_values
from skylift.cloud.services.api.resource import arn, new_id, require
from skylift.cloud.services.api.tag import tag_list, tags_for
from skylift.cloud.services.ec2.tenancy import replaced
from skylift.cloud.store.database import Tx
from skylift.cloud.store.instance import placed_in

if TYPE_CHECKING:
    from aws_shapes import ec2

STRATEGIES: tuple[Literal["cluster", "spread", "partition"], ...] = ("cluster", "spread", "partition")

MOST_SPREAD = 7
"""The most running instances of a spread group in one zone."""
MOST_PARTITIONS = 7
FEWEST_PARTITIONS = 2

NEUTRAL: dict[str, tuple[object, ...]] = {"SpreadLevel": ("rack",)}

LISTING = Listing(
    PlacementGroup,
    ids="GroupIds",
    key="GroupId",
    filters=same_named("group-arn group-name spread-level state strategy"),
)


@dataclass(frozen=True)
class Room:
    """What a group has for instances of one launch in one zone: `most` of them, and the partition of each, one after
    the other without an end."""

    group: PlacementGroup
    most: int | None = None
    partitions: Iterator[int | None] = field(default_factory=lambda: repeat(None))


def create(tx: Tx, caller: Caller, params: ec2.CreatePlacementGroupRequest) -> ec2.CreatePlacementGroupResult:
    refuse_other_values(params, NEUTRAL)
    name = params.get("GroupName")
    if not name:
        raise missing("groupName")
    if len(name) > 255 or not name.isascii():
        raise invalid_value(name, "groupName", "It has to be at most 255 ASCII characters.")
    strategy = one_of(params.get("Strategy"), "strategy", STRATEGIES)
    if params.get("SpreadLevel") and strategy != "spread":
        raise combination("The parameter spreadLevel can be used with the spread strategy only.")
    if tx.get(PlacementGroup, name=name) is not None:
        raise ServiceError("InvalidPlacementGroup.Duplicate", f"The Placement Group '{name}' already exists.")
    group = PlacementGroup(
        new_id("pg"), name, strategy, _partitions(params, strategy), tags_for(params, "placement-group")
    )
    tx.add(group)
    return {"PlacementGroup": view(group, caller)}


def describe(tx: Tx, caller: Caller, params: ec2.DescribePlacementGroupsRequest) -> ec2.DescribePlacementGroupsResult:
    names = params.get("GroupNames") or []
    rows = LISTING.rows(tx, params)
    if names:
        named = {by_name(tx, name).id for name in names}
        asked_for = {row.id for row in rows} if params.get("GroupIds") else set()
        rows = [row for row in tx.find(PlacementGroup) if row.id in named | asked_for]
    items = [view(row, caller) for row in rows]
    return {"PlacementGroups": matching(items, params.get("Filters"), LISTING.filters, LISTING.tags)}


def delete(tx: Tx, _caller: Caller, params: ec2.DeletePlacementGroupRequest) -> Nothing:
    group = by_name(tx, params["GroupName"])
    if placed_in(tx, group):
        raise ServiceError(
            "InvalidPlacementGroup.InUse", f"The placement group '{group.name}' is in use and may not be deleted."
        )
    tx.remove(group)
    return {}


def modify_placement(
    tx: Tx, _caller: Caller, params: ec2.ModifyInstancePlacementRequest
) -> ec2.ModifyInstancePlacementResult:
    """A stopped instance comes into a group, changes its partition, or leaves with an empty name."""
    instance = require(tx, Instance, params["InstanceId"])
    if instance.state != "stopped":
        raise ServiceError("IncorrectInstanceState", f"The instance '{instance.id}' is not in the 'stopped' state.")
    asked = PlacementRequest(
        group_name=params.get("GroupName"), group_id=params.get("GroupId"), partition=params.get("PartitionNumber")
    )
    hosted = any(params.get(name) for name in ("Tenancy", "HostId", "Affinity"))
    if asked == PlacementRequest() and not hosted:
        raise missing("groupName, groupId, partitionNumber, tenancy, hostId or affinity")
    if hosted:
        instance = replaced(tx, instance, params)
        tx.save(instance)
    if asked == PlacementRequest():
        return {"Return": True}
    if asked == PlacementRequest(group_name=""):
        tx.save(replace(instance, placement_group="", placement_group_id=None, partition=None))
        return {"Return": True}
    if asked.group_name is None and asked.group_id is None:
        asked = replace(asked, group_id=instance.placement_group_id)
    room = room_for(tx, asked, instance_type(instance.type), instance.zone, but=instance)
    if room is None:
        raise invalid(f"The instance '{instance.id}' is in no placement group.")
    named, partition = room.group, next(room.partitions)
    tx.save(replace(instance, placement_group=named.name, placement_group_id=named.id, partition=partition))
    return {"Return": True}


def room_for(
    tx: Tx, placement: PlacementRequest, kind: InstanceType, zone: str, *, but: Instance | None = None
) -> Room | None:
    """What the group that a request's `Placement` names has for instances of this kind; None where it names none.

    `but` is an instance that does not count among those that are there. Raises where the group cannot have such
    instances, or not one of them.
    """
    group = wanted_group(tx, placement.group_name, placement.group_id)
    partition = placement.partition
    if group is None:
        if partition is not None:
            raise combination("The parameter partitionNumber needs a placement group.")
        return None
    there = [one for one in placed_in(tx, group) if but is None or one.id != but.id]
    if partition is not None and group.strategy != "partition":
        raise combination("The parameter partitionNumber can be used with the partition strategy only.")
    if group.strategy == "cluster":
        _refuse_for_cluster(group, there, kind, zone)
    if group.strategy == "spread":
        in_zone = sum(one.zone == zone and one.state != "stopped" for one in there)
        return Room(group, MOST_SPREAD - in_zone)
    if group.strategy == "partition":
        _refuse_other_partition(group, partition)
        return Room(group, None, repeat(partition) if partition else _spread_out(group, there, zone))
    return Room(group)


def room_of(tx: Tx, instance: Instance) -> Room | None:
    """What the group that an instance is in has for it, should it start."""
    placement = PlacementRequest(group_id=instance.placement_group_id)
    return room_for(tx, placement, instance_type(instance.type), instance.zone, but=instance)


def refuse_without_room(room: Room, count: int) -> None:
    if room.most is not None and room.most < count:
        raise ServiceError(
            "InsufficientInstanceCapacity",
            f"The placement group '{room.group.name}' has room for {max(room.most, 0)} more running instances in this "
            f"Availability Zone: a spread placement group has at most {MOST_SPREAD} in each.",
        )


def wanted_group(tx: Tx, name: str | None, group_id: str | None) -> PlacementGroup | None:
    if name and group_id:
        raise combination("The parameter groupName cannot be used with the parameter groupId")
    if group_id:
        return require(tx, PlacementGroup, group_id)
    return by_name(tx, name) if name else None


def by_name(tx: Tx, name: str) -> PlacementGroup:
    found = tx.get(PlacementGroup, name=name)
    if found is None:
        raise ServiceError("InvalidPlacementGroup.Unknown", f"The Placement Group '{name}' is unknown.")
    return found


def view(group: PlacementGroup, caller: Caller) -> ec2.PlacementGroup:
    return {
        "GroupId": group.id,
        "GroupName": group.name,
        "GroupArn": arn(caller, "placement-group", group.name),
        "State": "available",
        "Strategy": group.strategy,
        **({"PartitionCount": group.partitions} if group.partitions else {}),
        **({"SpreadLevel": "rack"} if group.strategy == "spread" else {}),
        "Tags": tag_list(group.tags),
    }


def check_create(_tx: Tx, caller: Caller, params: ec2.CreatePlacementGroupRequest) -> Iterator[Check]:
    more = {"ec2:PlacementGroupStrategy": params.get("Strategy") or ""}
    label = params.get("GroupName") or "*"
    yield from making(caller, "CreatePlacementGroup", "placement-group", params, label=label, more=more)


def check_delete(tx: Tx, caller: Caller, params: ec2.DeletePlacementGroupRequest) -> Iterator[Check]:
    yield from on_group_of(tx, caller, "ec2:DeletePlacementGroup", params["GroupName"])


def check_modify(tx: Tx, caller: Caller, params: ec2.ModifyInstancePlacementRequest) -> Iterator[Check]:
    action = "ec2:ModifyInstancePlacement"
    yield on_row(tx, caller, action, Instance, params["InstanceId"], more=of_change(params, "InstanceId"))
    if params.get("HostId"):
        yield on_row(tx, caller, action, DedicatedHost, params["HostId"])
    yield from on_group_of(tx, caller, action, params.get("GroupName"), params.get("GroupId"))


def on_group_of(tx: Tx, caller: Caller, action: str, name: str | None, group_id: str | None = None) -> Iterator[Check]:
    """Groups are named in ARNs, and in requests either named or given by id."""
    if group_id:
        yield on_row(tx, caller, action, PlacementGroup, group_id)
    elif name:
        yield Check(action, arn(caller, "placement-group", name))


def _partitions(params: ec2.CreatePlacementGroupRequest, strategy: str) -> int | None:
    count = params.get("PartitionCount")
    if strategy != "partition":
        if count is not None:
            raise combination("The parameter partitionCount can be used with the partition strategy only.")
        return None
    if count is not None and not 1 <= count <= MOST_PARTITIONS:
        raise invalid_value(count, "partitionCount", f"It has to be between 1 and {MOST_PARTITIONS}.")
    return count or FEWEST_PARTITIONS


def _refuse_for_cluster(group: PlacementGroup, there: Iterable[Instance], kind: InstanceType, zone: str) -> None:
    if kind.burstable:
        raise combination(
            f"Cluster placement groups are not supported by the '{kind.name}' instance type. Specify a supported "
            "instance type or change the placement group strategy, and try again."
        )
    elsewhere = next((one.zone for one in there if one.zone != zone), None)
    if elsewhere is not None:
        raise ServiceError(
            "InvalidPlacementGroup.InUse",
            f"The placement group '{group.name}' is in use in another availability zone: {elsewhere}",
        )


def _refuse_other_partition(group: PlacementGroup, partition: int | None) -> None:
    assert group.partitions is not None
    if partition is not None and not 1 <= partition <= group.partitions:
        raise invalid_value(partition, "partitionNumber", f"It has to be between 1 and {group.partitions}.")


def _spread_out(group: PlacementGroup, there: Iterable[Instance], zone: str) -> Iterator[int]:
    """The partition of each instance that comes: that with the fewest instances by then."""
    assert group.partitions is not None
    sizes = Counter(one.partition for one in there if one.zone == zone)
    while True:
        fewest = min(range(1, group.partitions + 1), key=lambda number: sizes[number])
        sizes[fewest] += 1
        yield fewest


OPERATIONS = (
    writes(
        "CreatePlacementGroup",
        create,
        "GroupName Strategy PartitionCount TagSpecifications " + " ".join(NEUTRAL),
        check_create,
    ),
    reads("DescribePlacementGroups", describe, "GroupIds GroupNames Filters"),
    writes("DeletePlacementGroup", delete, "GroupName", check_delete),
    writes(
        "ModifyInstancePlacement",
        modify_placement,
        "InstanceId GroupId GroupName PartitionNumber Tenancy HostId Affinity",
        check_modify,
    ),
)
