"""Fleets as EC2 describes them: what was asked for, how much of it is there, and what has happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.fleet import MARKETS, Fleet, FleetEvent, FleetMember, Market
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Instance
from skylift.cloud.services.api.check import on_row
from skylift.cloud.services.api.ec2_operation import reads
from skylift.cloud.services.api.filter import matching, same_named
from skylift.cloud.services.api.list_response import Listing
from skylift.cloud.services.api.operation import Checks
from skylift.cloud.services.api.page import Limits, page
from skylift.cloud.services.api.resource import require
from skylift.cloud.services.api.tag import tag_list
from skylift.cloud.services.ec2.fleet_config import config_view
from skylift.cloud.store.database import Tx
from skylift.cloud.store.fleet import events_since, instances_left, members_left

if TYPE_CHECKING:
    from aws_shapes import ec2

    Groups = dict[str, ec2.CreateFleetInstance]
    """What was launched, by pool."""

LIMITS = Limits(least=1)

LISTING = Listing(
    Fleet,
    ids="FleetIds",
    key="FleetId",
    limits=LIMITS,
    filters=same_named(
        "activity-status excess-capacity-termination-policy fleet-state replace-unhealthy-instances type"
    ),
)


def describe(tx: Tx, _caller: Caller, params: ec2.DescribeFleetsRequest) -> ec2.DescribeFleetsResult:
    """An instant fleet is described only where it is asked for by its id."""
    rows = LISTING.rows(tx, params)
    if not params.get("FleetIds"):
        rows = [row for row in rows if row.type != "instant"]
    filters = [_spelled_as_answered(one) for one in params.get("Filters") or []]
    asked: ec2.DescribeFleetsRequest = {**params, "Filters": filters}
    shown = LISTING.page(asked, [view(tx, row) for row in rows])
    return {"Fleets": shown.items, **shown.next}


def describe_instances(
    tx: Tx, _caller: Caller, params: ec2.DescribeFleetInstancesRequest
) -> ec2.DescribeFleetInstancesResult:
    fleet = require(tx, Fleet, params["FleetId"])
    _refuse_instant(fleet, "DescribeFleetInstances")
    items = [_active(member, row) for member, row in live_members(tx, fleet.id) if is_there(row)]
    found = matching(items, params.get("Filters"), {"instance-type": "InstanceType"})
    shown = page(found, params, lambda item: str(item["InstanceId"]), LIMITS)
    return {"FleetId": fleet.id, "ActiveInstances": shown.items, **shown.next}


def describe_history(
    tx: Tx, _caller: Caller, params: ec2.DescribeFleetHistoryRequest
) -> ec2.DescribeFleetHistoryResult:
    fleet = require(tx, Fleet, params["FleetId"])
    _refuse_instant(fleet, "DescribeFleetHistory")
    events = events_since(tx, fleet.id, params["StartTime"])
    wanted = params.get("EventType")
    shown = page(
        [event for event in events if wanted in (None, event.type)], params, lambda event: f"{event.number:020}", LIMITS
    )
    return {
        "FleetId": fleet.id,
        "StartTime": params["StartTime"],
        "LastEvaluatedTime": tx.now,
        "HistoryRecords": [_event(event) for event in shown.items],
        **shown.next,
    }


def view(tx: Tx, fleet: Fleet) -> ec2.FleetData:
    there = {market: _units(tx, fleet, market) for market in MARKETS}
    instant = fleet.type == "instant"
    described = cast("list[ec2.DescribeFleetsInstances]", launched(tx, fleet)) if instant else []
    return {
        "FleetId": fleet.id,
        "FleetState": fleet.state,
        "ActivityStatus": activity(tx, fleet),
        "CreateTime": fleet.created,
        "Type": fleet.type,
        **({"ClientToken": fleet.client_token} if fleet.client_token else {}),
        "ExcessCapacityTerminationPolicy": fleet.excess_policy,
        "FulfilledCapacity": sum(there.values()),
        "FulfilledOnDemandCapacity": there["on-demand"],
        "LaunchTemplateConfigs": [config_view(config) for config in fleet.configs],
        "TargetCapacitySpecification": {
            "TotalTargetCapacity": fleet.on_demand_target + fleet.spot_target,
            "OnDemandTargetCapacity": fleet.on_demand_target,
            "SpotTargetCapacity": fleet.spot_target,
            "DefaultTargetCapacityType": fleet.default_market,
        },
        "TerminateInstancesWithExpiration": fleet.terminate_with_expiration,
        **({"ValidFrom": fleet.valid_from} if fleet.valid_from else {}),
        **({"ValidUntil": fleet.valid_until} if fleet.valid_until else {}),
        "ReplaceUnhealthyInstances": fleet.replace_unhealthy,
        "SpotOptions": fleet.spot_options,
        "OnDemandOptions": fleet.on_demand_options,
        **({"Context": fleet.context} if fleet.context else {}),
        "Tags": tag_list(fleet.tags),
        **({"Errors": errors_of(fleet), "Instances": described} if instant else {}),
    }


def _spelled_as_answered(given: ec2.Filter) -> ec2.Filter:
    """Filters spell `deleted-running` what answers spell `deleted_running`."""
    if given.get("Name") not in ("activity-status", "fleet-state"):
        return given
    return {**given, "Values": [value.replace("-", "_") for value in given.get("Values", [])]}


def errors_of(fleet: Fleet) -> list[ec2.CreateFleetError]:
    """Why an instant fleet has less than it was asked for."""
    return cast("list[ec2.CreateFleetError]", fleet.errors)


def launched(tx: Tx, fleet: Fleet) -> list[ec2.CreateFleetInstance]:
    """The instances that an instant fleet launched, grouped by pool."""
    groups: Groups = {}
    for member in tx.find(FleetMember, fleet_id=fleet.id):
        add_launched(groups, member)
    return list(groups.values())


def add_launched(groups: Groups, member: FleetMember) -> None:
    group = groups.setdefault(
        f"{member.market} {member.source}",
        {
            "LaunchTemplateAndOverrides": cast("ec2.LaunchTemplateAndOverridesResponse", member.source),
            "Lifecycle": member.market,
            "InstanceIds": [],
            "InstanceType": member.type,
        },
    )
    group["InstanceIds"].append(member.instance_id)


def live_members(tx: Tx, fleet_id: str) -> list[tuple[FleetMember, Instance | None]]:
    """A fleet's members that are not known to have ended, each with its instance."""
    rows = instances_left(tx, fleet_id)
    return [(member, rows.get(member.instance_id)) for member in members_left(tx, fleet_id)]


def is_there(row: Instance | None) -> bool:
    return row is not None and row.state in ("pending", "running")


def activity(tx: Tx, fleet: Fleet) -> str:
    if fleet.type == "instant":
        return "fulfilled"
    if fleet.state in ("deleted_terminating", "deleted") or _shrinks(tx, fleet):
        return "pending_termination" if members_left(tx, fleet.id) else "fulfilled"
    if all(_units(tx, fleet, market) >= fleet.target(market) for market in MARKETS):
        return "fulfilled"
    return "error" if fleet.trouble else "pending_fulfillment"


def _shrinks(tx: Tx, fleet: Fleet) -> bool:
    """Whether some of more than enough is on its way out."""
    return fleet.state == "modifying" and any(
        row is not None and (row.state == "shutting-down" or member.leaving)
        for member, row in live_members(tx, fleet.id)
    )


def _units(tx: Tx, fleet: Fleet, market: Market) -> float:
    return float(
        sum(member.weight for member, row in live_members(tx, fleet.id) if member.market == market and is_there(row))
    )


def _active(member: FleetMember, row: Instance | None) -> ec2.ActiveInstance:
    """Checked by what the kernel says: a server that fails is off, and then not here any more."""
    return {
        "InstanceId": member.instance_id,
        "InstanceType": member.type,
        **({"SpotInstanceRequestId": row.spot_request_id} if row and row.spot_request_id else {}),
        "InstanceHealth": "healthy",
    }


def _event(event: FleetEvent) -> ec2.HistoryRecordEntry:
    return {
        "EventType": event.type,
        "Timestamp": event.at,
        "EventInformation": {
            "EventSubType": event.sub_type,
            **({"EventDescription": event.description} if event.description else {}),
            **({"InstanceId": event.instance_id} if event.instance_id else {}),
        },
    }


def _refuse_instant(fleet: Fleet, operation: str) -> None:
    if fleet.type == "instant":
        raise ServiceError(
            "UnsupportedOperation",
            f"{operation} does not support fleets of type instant. Use DescribeFleets with the ID of the fleet.",
        )


def on_fleet(action: str) -> Checks:
    return lambda tx, caller, params: [on_row(tx, caller, action, Fleet, params.get("FleetId") or "*")]


OPERATIONS = (
    reads("DescribeFleets", describe, "FleetIds Filters MaxResults NextToken"),
    reads(
        "DescribeFleetInstances",
        describe_instances,
        "FleetId Filters MaxResults NextToken",
        on_fleet("ec2:DescribeFleetInstances"),
    ),
    reads(
        "DescribeFleetHistory",
        describe_history,
        "FleetId EventType StartTime MaxResults NextToken",
        on_fleet("ec2:DescribeFleetHistory"),
    ),
)
