"""EC2 Fleets: made, changed and deleted. fleet_upkeep.py keeps them at their size afterwards.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Fleets.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.fleet import MARKETS, Fleet, FleetConfig, FleetEvent, FleetState, LaunchError, Market
from skylift.cloud.domain.identity import Caller, Role
from skylift.cloud.domain.instance import Instance
from skylift.cloud.domain.launch_request import TagRequest
from skylift.cloud.services.api import service_role
from skylift.cloud.services.api.authorize import permits
from skylift.cloud.services.api.check import making, on_row
from skylift.cloud.services.api.client_token import remember, result_of, under_way
from skylift.cloud.services.api.condition_key import of_change
from skylift.cloud.services.api.ec2_operation import prepares
from skylift.cloud.services.api.operation import Check, Handler, Outdated, in_turns
from skylift.cloud.services.api.refusal import combination, invalid
from skylift.cloud.services.api.resource import require, well_formed
from skylift.cloud.services.ec2 import instance as instances
from skylift.cloud.services.ec2 import launch_check
from skylift.cloud.services.ec2.fleet_config import fleet_configs
from skylift.cloud.services.ec2.launch_template import check_of
from skylift.cloud.services.ec2.pool import Pool, distinct_pools, pools_of, settled
from skylift.cloud.services.market.fleet_launch import Filling, choose_group, launch_from, offers_of, take
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
from skylift.cloud.store.database import Rehearsal, Tx
from skylift.cloud.store.fleet import PROTECTED, instances_left, members_left, save_only, state_of

if TYPE_CHECKING:
    from aws_shapes import ec2, iam


SERVICE = "ec2fleet.amazonaws.com"

UNDELETED: tuple[FleetState, ...] = ("submitted", "active", "modifying")

MOST_DELETED = 100
MOST_INSTANT_DELETED = 25


CUT_OFF: LaunchError = {
    "ErrorCode": "InternalError",
    "ErrorMessage": "The launch ended before the fleet had all that it asks for.",
}


def prepare_create(tx: Tx, caller: Caller, params: ec2.CreateFleetRequest) -> Handler | Iterator[Handler]:
    made_before = result_of(tx, "CreateFleet", params)
    if made_before:
        answer = _answer(tx, require(tx, Fleet, made_before))
        return lambda _tx, _caller, _params: answer
    if params.get("Type") == "instant":
        return _Instant(tx, caller, params).handlers()
    create = partial(_create, fleet=asked_for(tx, caller, params))
    create(Rehearsal(tx), caller, params)
    return create


def _create(tx: Tx, caller: Caller, params: ec2.CreateFleetRequest, fleet: Fleet) -> ec2.CreateFleetResult:
    _make_service_role(tx, caller)
    _add(tx, params, fleet)
    tx.add(FleetEvent(fleet.id, tx.now, "fleet-change", "submitted"))
    return {"FleetId": fleet.id}


def _add(tx: Tx, params: ec2.CreateFleetRequest, fleet: Fleet) -> None:
    if result_of(tx, "CreateFleet", params):
        raise Outdated
    remember(tx, "CreateFleet", params, fleet.id)
    tx.add(fleet)


def prepare_modify(tx: Tx, caller: Caller, params: ec2.ModifyFleetRequest) -> Handler:
    require(tx, Fleet, params["FleetId"])
    asked = params.get("LaunchTemplateConfigs")
    configs = None if asked is None else checked_configs(tx, caller, fleet_configs(asked), instant=False)
    modify = partial(_modify, configs=configs)
    modify(Rehearsal(tx), caller, params)
    return modify


def _modify(
    tx: Tx, _caller: Caller, params: ec2.ModifyFleetRequest, configs: tuple[FleetConfig, ...] | None
) -> ec2.ModifyFleetResult:
    fleet = require(tx, Fleet, params["FleetId"])
    if fleet.type != "maintain":
        raise combination(f"The fleet '{fleet.id}' is of type {fleet.type}; only one of type maintain can be modified.")
    if fleet.state not in UNDELETED:
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
    if configs is not None:
        changed = replace(changed, configs=configs)
    if "ExcessCapacityTerminationPolicy" in params:
        changed = replace(changed, excess_policy=excess_policy(params))
    if "Context" in params:
        changed = replace(changed, context=params["Context"])
    refuse_too_many(changed)
    tx.save(changed)
    tx.add(FleetEvent(fleet.id, tx.now, "fleet-change", "modify_in_progress"))
    return {"Return": True}


def prepare_delete(tx: Tx, _caller: Caller, params: ec2.DeleteFleetsRequest) -> list[Handler]:
    """Deletes each fleet by itself. Those that cannot be deleted are answered with their errors."""
    ids = list(dict.fromkeys(params["FleetIds"]))
    found = {fleet_id: tx.get(Fleet, id=fleet_id) for fleet_id in ids}
    instant = [fleet_id for fleet_id, fleet in found.items() if fleet and fleet.type == "instant"]
    if len(ids) > MOST_DELETED + MOST_INSTANT_DELETED or len(ids) - len(instant) > MOST_DELETED:
        raise invalid(f"One request deletes at most {MOST_DELETED} fleets of type maintain or request.")
    done: list[ec2.DeleteFleetSuccessItem] = []
    undone: list[ec2.DeleteFleetErrorItem] = []

    def delete(tx: Tx, caller: Caller, params: ec2.DeleteFleetsRequest, some: list[str]) -> ec2.DeleteFleetsResult:
        for fleet_id in some:
            try:
                with tx.attempt():
                    if len(instant) > MOST_INSTANT_DELETED and fleet_id in instant:
                        raise ServiceError(
                            "ExceededInstantFleetNumForDeletion",
                            f"Can't delete more than {MOST_INSTANT_DELETED} instant fleets in a single request.",
                        )
                    done.append(_delete(tx, caller, fleet_id, found[fleet_id], terminate=params["TerminateInstances"]))
            except ServiceError as error:
                undone.append({"FleetId": fleet_id, "Error": {"Code": error.code, "Message": error.message}})
        return {"SuccessfulFleetDeletions": done, "UnsuccessfulFleetDeletions": undone}

    return [partial(delete, some=some) for some in in_turns(((one, 1) for one in ids), MOST_INSTANT_DELETED)]


def check_create(tx: Tx, caller: Caller, params: ec2.CreateFleetRequest) -> Iterator[Check]:
    """CreateFleet on the fleet and its templates, and all that it takes to run what they say."""
    yield from making(caller, "CreateFleet", "fleet", params)
    configs = fleet_configs(params.get("LaunchTemplateConfigs"))
    for config in configs:
        yield check_of(tx, caller, "ec2:CreateFleet", config.template)
    markets, tags = _markets(params["TargetCapacitySpecification"]), tags_at_launch(params)
    launches = _to_launch(tx, caller, partial(distinct_pools, tx, caller, configs), markets, tags)
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
    asked: list[tuple[Callable[[], list[Pool]], list[Market]]] = [(partial(distinct_pools, tx, caller, configs), after)]
    if not configs:
        others = [market for market in after if market not in before]
        asked = [(partial(pools_of, tx, caller, config), others) for config in fleet.configs]
    for find, markets in asked:
        launches = _to_launch(tx, caller, find, markets, ())
        yield from launch_check.as_asked_by("ec2:ModifyFleet", launches, "image", "subnet")


def check_delete(tx: Tx, caller: Caller, params: ec2.DeleteFleetsRequest) -> Iterator[Check]:
    """A caller who has the instances terminated must be allowed that as well."""
    for fleet_id in params.get("FleetIds") or ["*"]:
        yield on_row(tx, caller, "ec2:DeleteFleets", Fleet, fleet_id)
        if params.get("TerminateInstances"):
            for member in members_left(tx, fleet_id):
                yield on_row(tx, caller, "ec2:TerminateInstances", Instance, member.instance_id)


def _to_launch(
    tx: Tx, caller: Caller, find: Callable[[], list[Pool]], markets: list[Market], tags: tuple[TagRequest, ...]
) -> Iterator[Check]:
    """The permissions that a launch from each of these pools needs. The handler reports requests that make no
    sense.
    """
    try:
        pools = find()
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
    state = state_of(tx, fleet_id)
    if state not in UNDELETED and not (state == "deleted_running" and terminate):
        raise ServiceError("fleetNotInDeletableState", f"The fleet '{fleet_id}' is {state}.")
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
    save_only(tx, after, "state")
    tx.add(FleetEvent(fleet.id, tx.now, "fleet-change", after.state))
    return {"FleetId": fleet_id, "CurrentFleetState": after.state, "PreviousFleetState": state}


class _Instant:
    """The launch of an instant fleet: what can be had is launched, why the rest cannot is its answer.

    It goes in turns, as others wait to write. One that is deleted between two of them gets no more. Where the cloud
    ends there, what was launched stays, and the fleet says that this was not all, as does one of RunInstances.
    """

    def __init__(self, tx: Tx, caller: Caller, params: ec2.CreateFleetRequest) -> None:
        self._fleet = replace(asked_for(tx, caller, params), state="active", errors=[CUT_OFF])
        self._tags = tags_at_launch(params)
        markets = [market for market in MARKETS if self._fleet.target(market)]
        self._fillings = [self._filling(tx, caller, market) for market in markets]
        self._steps = chain.from_iterable(filling.steps() for filling in self._fillings)
        self._begun = self._over = False

    def handlers(self) -> Iterator[Handler]:
        with under_way(self._fleet.id):
            while not self._over:
                yield self._turn

    def _turn(self, tx: Tx, caller: Caller, params: ec2.CreateFleetRequest) -> ec2.CreateFleetResult:
        if not self._begun:
            _add(tx, params, self._fleet)
        self._begun = True
        self._over = state_of(tx, self._fleet.id) != "active"
        if not self._over and take(tx, caller, self._steps):
            self._over = True
            errors = [view for filling in self._fillings for view in filling.error_views()]
            self._fleet = replace(self._fleet, errors=errors)
            save_only(tx, self._fleet, "errors")
        made = [group for filling in self._fillings for group in filling.launched.values()]
        return {"FleetId": self._fleet.id, "Errors": errors_of(self._fleet), "Instances": made}

    def _filling(self, tx: Tx, caller: Caller, market: Market) -> Filling:
        options = self._fleet.options(market)
        needed, least = self._fleet.target(market), options.get("MinTargetCapacity", 0)
        filling = Filling(self._fleet, market, [], needed, self._tags, least)
        pools: list[Pool] = []
        for pool in (pool for config in self._fleet.configs for pool in pools_of(tx, caller, config)):
            try:
                pools.append(settled(tx, caller, pool))
            except ServiceError as error:
                filling.errors[pool.key] = pool, error
        filling.offers = offers_of(tx, caller, self._fleet, market, pools)
        if options.get("SingleInstanceType") or options.get("SingleAvailabilityZone"):
            choose_group(tx, caller, filling)
        return filling


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
    prepares(
        "CreateFleet",
        prepare_create,
        f"{CONFIGS} {TARGET} {ON_DEMAND} {SPOT} ClientToken Context ExcessCapacityTerminationPolicy "
        "ReplaceUnhealthyInstances TagSpecifications TerminateInstancesWithExpiration Type ValidFrom ValidUntil",
        check_create,
    ),
    prepares(
        "ModifyFleet",
        prepare_modify,
        f"FleetId {CONFIGS} {TARGET} Context ExcessCapacityTerminationPolicy",
        check_modify,
    ),
    prepares("DeleteFleets", prepare_delete, "FleetIds TerminateInstances", check_delete),
)
