"""EC2 Fleets: made, changed and deleted. fleet_upkeep.py keeps them at their size afterwards.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Fleets.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.fleet import MARKETS, Fleet, FleetConfig, FleetEvent, LaunchError, Market
from skylift.cloud.domain.identity import Caller, Role
from skylift.cloud.domain.instance import Instance
from skylift.cloud.domain.launch_request import TagRequest
from skylift.cloud.services.api import service_role
from skylift.cloud.services.api.authorize import permits
from skylift.cloud.services.api.check import making, on_row
from skylift.cloud.services.api.client_token import remember, result_of
from skylift.cloud.services.api.condition_key import of_change
from skylift.cloud.services.api.ec2_operation import writes
from skylift.cloud.services.api.operation import Check
from skylift.cloud.services.api.refusal import combination, invalid
from skylift.cloud.services.api.resource import require, well_formed
from skylift.cloud.services.ec2 import instance as instances
from skylift.cloud.services.ec2 import launch_check
from skylift.cloud.services.ec2.fleet_config import fleet_configs
from skylift.cloud.services.ec2.launch_template import check_of
from skylift.cloud.services.ec2.pool import Pool, pools_of
from skylift.cloud.services.market.fleet_launch import Filling, error_view, fill, launch_from
from skylift.cloud.services.market.fleet_request import (
    CONFIGS,
    ON_DEMAND,
    SPOT,
    TARGET,
    asked_for,
    checked_configs,
    excess_policy,
    market_named,
    refuse_too_many,
    tags_at_launch,
    targets,
)
from skylift.cloud.services.market.fleet_view import errors_of, launched
from skylift.cloud.store.database import Tx
from skylift.cloud.store.fleet import PROTECTED, instances_left, members_left

if TYPE_CHECKING:
    from aws_shapes import ec2, iam


SERVICE = "ec2fleet.amazonaws.com"

MOST_DELETED = 100
MOST_INSTANT_DELETED = 25


class _ComesToNothing(Exception):
    """An attempt that is taken back: the fleet wants all of something, and there is less."""


def create(tx: Tx, caller: Caller, params: ec2.CreateFleetRequest) -> ec2.CreateFleetResult:
    made_before = result_of(tx, "CreateFleet", params)
    if made_before:
        return _answer(tx, require(tx, Fleet, made_before))
    fleet = asked_for(tx, caller, params)
    if fleet.type == "instant":
        fleet = _launch_now(tx, caller, fleet, tags_at_launch(params))
    else:
        _make_service_role(tx, caller)
        tx.add(fleet)
        tx.add(FleetEvent(fleet.id, tx.now, "fleet-change", "submitted"))
    remember(tx, "CreateFleet", params, fleet.id)
    return _answer(tx, fleet)


def modify(tx: Tx, caller: Caller, params: ec2.ModifyFleetRequest) -> ec2.ModifyFleetResult:
    fleet = require(tx, Fleet, params["FleetId"])
    if fleet.type != "maintain":
        raise combination(f"The fleet '{fleet.id}' is of type {fleet.type}; only one of type maintain can be modified.")
    if fleet.state not in ("submitted", "active", "modifying"):
        raise ServiceError("IncorrectState", f"The fleet '{fleet.id}' is {fleet.state} and cannot be modified.")
    changed = replace(fleet, state="modifying", trouble="", failures=0, retry_at=None)
    if "TargetCapacitySpecification" in params:
        asked = params["TargetCapacitySpecification"]
        on_demand, spot = targets(asked, fleet.type, fleet.default_market)
        changed = replace(
            changed,
            on_demand_target=on_demand,
            spot_target=spot,
            default_market=market_named(asked.get("DefaultTargetCapacityType", fleet.default_market)),
        )
    if "LaunchTemplateConfigs" in params:
        configs = checked_configs(tx, caller, fleet_configs(params["LaunchTemplateConfigs"]), instant=False)
        changed = replace(changed, configs=configs)
    if "ExcessCapacityTerminationPolicy" in params:
        changed = replace(changed, excess_policy=excess_policy(params))
    if "Context" in params:
        changed = replace(changed, context=params["Context"])
    refuse_too_many(changed)
    tx.save(changed)
    tx.add(FleetEvent(fleet.id, tx.now, "fleet-change", "modify_in_progress"))
    return {"Return": True}


def delete(tx: Tx, caller: Caller, params: ec2.DeleteFleetsRequest) -> ec2.DeleteFleetsResult:
    """Deletes each fleet by itself. Those that cannot be deleted are answered with their errors."""
    ids = list(dict.fromkeys(params["FleetIds"]))
    found = {fleet_id: tx.get(Fleet, id=fleet_id) for fleet_id in ids}
    instant = [fleet_id for fleet_id, fleet in found.items() if fleet and fleet.type == "instant"]
    if len(ids) > MOST_DELETED + MOST_INSTANT_DELETED or len(ids) - len(instant) > MOST_DELETED:
        raise invalid(f"One request deletes at most {MOST_DELETED} fleets of type maintain or request.")
    done: list[ec2.DeleteFleetSuccessItem] = []
    undone: list[ec2.DeleteFleetErrorItem] = []
    for fleet_id, fleet in found.items():
        try:
            with tx.attempt():
                if len(instant) > MOST_INSTANT_DELETED and fleet_id in instant:
                    raise ServiceError(
                        "ExceededInstantFleetNumForDeletion",
                        f"Can't delete more than {MOST_INSTANT_DELETED} instant fleets in a single request.",
                    )
                done.append(_delete(tx, caller, fleet_id, fleet, terminate=params["TerminateInstances"]))
        except ServiceError as error:
            undone.append({"FleetId": fleet_id, "Error": {"Code": error.code, "Message": error.message}})
    return {"SuccessfulFleetDeletions": done, "UnsuccessfulFleetDeletions": undone}


def check_create(tx: Tx, caller: Caller, params: ec2.CreateFleetRequest) -> Iterator[Check]:
    """CreateFleet on the fleet and its templates, and all that it takes to run what they say."""
    yield from making(caller, "CreateFleet", "fleet", params)
    tags = tags_at_launch(params)
    for config in fleet_configs(params.get("LaunchTemplateConfigs")):
        yield check_of(tx, caller, "ec2:CreateFleet", config.template)
        launches = _to_launch(tx, caller, config, _markets(params["TargetCapacitySpecification"]), tags)
        kinds = ("image", "instance", "placement-group", "subnet", "volume")
        yield from launch_check.as_asked_by("ec2:CreateFleet", launches, *kinds)


def check_modify(tx: Tx, caller: Caller, params: ec2.ModifyFleetRequest) -> Iterator[Check]:
    """Other templates take all that it takes to run what they say, and so do those that the fleet has on another market
    than before."""
    more = of_change(params, "FleetId")
    yield on_row(tx, caller, "ec2:ModifyFleet", Fleet, params.get("FleetId") or "*", more=more)
    configs = fleet_configs(params.get("LaunchTemplateConfigs"))
    for config in configs:
        yield check_of(tx, caller, "ec2:ModifyFleet", config.template)
    fleet = tx.get(Fleet, id=params.get("FleetId"))
    if fleet is None:
        return
    before = [market for market in MARKETS if fleet.target(market)]
    target = params.get("TargetCapacitySpecification")
    after = _markets(target, fleet.default_market) if target else before
    for config in configs or fleet.configs:
        markets = after if configs else [market for market in after if market not in before]
        launches = _to_launch(tx, caller, config, markets, ())
        yield from launch_check.as_asked_by("ec2:ModifyFleet", launches, "image", "subnet")


def check_delete(tx: Tx, caller: Caller, params: ec2.DeleteFleetsRequest) -> Iterator[Check]:
    """A caller who has the instances terminated must be allowed that as well."""
    for fleet_id in params.get("FleetIds") or ["*"]:
        yield on_row(tx, caller, "ec2:DeleteFleets", Fleet, fleet_id)
        if params.get("TerminateInstances"):
            for member in members_left(tx, fleet_id):
                yield on_row(tx, caller, "ec2:TerminateInstances", Instance, member.instance_id)


def _to_launch(
    tx: Tx, caller: Caller, config: FleetConfig, markets: list[Market], tags: tuple[TagRequest, ...]
) -> Iterator[Check]:
    """The permissions that a launch from each pool of one template needs. The handler reports requests that make no
    sense.
    """
    try:
        pools = pools_of(tx, caller, config)
    except ServiceError:
        return
    for pool in pools:
        for market in markets:
            yield from launch_check.of_launch(tx, caller, launch_from(pool, market, tags))


def _markets(asked: ec2.TargetCapacitySpecificationRequest, default: Market | None = None) -> list[Market]:
    """Those that a request has a target on; where the request makes no sense, any will do."""
    try:
        units = targets(asked, "maintain", default)
    except ServiceError:
        return ["on-demand"]
    return [market for market, wanted in zip(MARKETS, units, strict=True) if wanted]


def _answer(tx: Tx, fleet: Fleet) -> ec2.CreateFleetResult:
    if fleet.type != "instant":
        return {"FleetId": fleet.id}
    return {"FleetId": fleet.id, "Errors": errors_of(fleet), "Instances": launched(tx, fleet)}


def _delete(
    tx: Tx, caller: Caller, fleet_id: str, fleet: Fleet | None, *, terminate: bool
) -> ec2.DeleteFleetSuccessItem:
    if not well_formed("fleet", fleet_id):
        raise ServiceError("fleetIdMalformed", f"The fleet ID '{fleet_id}' is malformed.")
    if fleet is None:
        raise ServiceError("fleetIdDoesNotExist", f"The fleet ID '{fleet_id}' does not exist.")
    if fleet.state in ("deleted", "failed", "deleted_terminating") or (
        fleet.state == "deleted_running" and not terminate
    ):
        raise ServiceError("fleetNotInDeletableState", f"The fleet '{fleet_id}' is {fleet.state}.")
    if fleet.type == "instant" and not terminate:
        raise ServiceError(
            "NoTerminateInstancesNotSupported", "NoTerminateInstances option is not supported for instant fleet"
        )
    if terminate:
        try:
            # The others are ended by its upkeep, some at a time.
            for protected in instances_left(tx, fleet.id, f"{PROTECTED} LIMIT 1"):
                instances.terminate(tx, caller, {"InstanceIds": [protected]})
        except ServiceError as error:
            raise ServiceError("unexpectedError", error.message) from error
    after = replace(fleet, state="deleted_terminating" if terminate else "deleted_running")
    tx.save(after)
    tx.add(FleetEvent(fleet.id, tx.now, "fleet-change", after.state))
    return {"FleetId": fleet_id, "CurrentFleetState": after.state, "PreviousFleetState": fleet.state}


def _launch_now(tx: Tx, caller: Caller, fleet: Fleet, tags: tuple[TagRequest, ...]) -> Fleet:
    """An instant fleet: what can be had is launched, why the rest cannot is its answer."""
    pools = [pool for config in fleet.configs for pool in pools_of(tx, caller, config)]
    tx.add(fleet)
    errors: list[LaunchError] = []
    for market in MARKETS:
        if fleet.target(market):
            filling = _fill_as_one(tx, caller, fleet, market, pools, tags)
            errors += [error_view(pool, market, error) for pool, error in filling.errors]
    placed = replace(fleet, state="active", errors=errors)
    tx.save(placed)
    return placed


def _fill_as_one(
    tx: Tx, caller: Caller, fleet: Fleet, market: Market, pools: list[Pool], tags: tuple[TagRequest, ...]
) -> Filling:
    """Of a single type or in a single zone, if that is asked for: the first of them that has enough, or else most."""
    options = fleet.spot_options if market == "spot" else fleet.on_demand_options
    needed = fleet.target(market)
    single_type, single_zone = options.get("SingleInstanceType"), options.get("SingleAvailabilityZone")
    if not single_type and not single_zone:
        return fill(tx, caller, fleet, market, pools, needed, tags=tags)
    groups: dict[tuple[str, str], list[Pool]] = {}
    for pool in pools:
        groups.setdefault((pool.type if single_type else "", pool.zone if single_zone else ""), []).append(pool)
    tries: dict[tuple[str, str], Filling] = {}
    for key, group in groups.items():
        try:
            with tx.attempt():
                tries[key] = fill(tx, caller, fleet, market, group, needed, tags=tags)
                if tries[key].units >= needed:
                    return tries[key]
                raise _ComesToNothing
        except _ComesToNothing:
            continue
    best = max(tries, key=lambda key: tries[key].units)
    errors = [error for one in tries.values() for error in one.errors]
    if tries[best].units < options.get("MinTargetCapacity", 0):
        return Filling(errors=errors)
    return replace(fill(tx, caller, fleet, market, groups[best], needed, tags=tags), errors=errors)


def _make_service_role(tx: Tx, caller: Caller) -> None:
    """Fleets that launch later do so in a role of EC2's own, which the first request for one makes."""
    name = service_role.SERVICES[SERVICE].name
    if tx.get(Role, name=name) is not None:
        return
    asked: iam.CreateServiceLinkedRoleRequest = {"AWSServiceName": SERVICE}
    for check in service_role.check_create(tx, caller, asked):
        if not permits(tx, caller, check).allowed:
            raise ServiceError(
                "AuthFailure.ServiceLinkedRoleCreationNotPermitted",
                "The provided credentials do not have permission to create the service-linked role for EC2 Fleet.",
                status=403,
            )
    service_role.make(tx, caller, asked)


OPERATIONS = (
    writes(
        "CreateFleet",
        create,
        f"{CONFIGS} {TARGET} {ON_DEMAND} {SPOT} ClientToken Context ExcessCapacityTerminationPolicy "
        "ReplaceUnhealthyInstances TagSpecifications TerminateInstancesWithExpiration Type ValidFrom ValidUntil",
        check_create,
    ),
    writes("ModifyFleet", modify, f"FleetId {CONFIGS} {TARGET} Context ExcessCapacityTerminationPolicy", check_modify),
    writes("DeleteFleets", delete, "FleetIds TerminateInstances", check_delete),
)
