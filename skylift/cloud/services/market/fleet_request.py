"""CreateFleet's and ModifyFleet's parameters: what may be asked, and the fleet that it comes to."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, get_args

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.fleet import (
    MARKETS,
    ExcessPolicy,
    Fleet,
    FleetConfig,
    FleetOverride,
    FleetType,
    Maintenance,
    Market,
    MarketOptions,
    OnDemandOptions,
    SpotOptions,
)
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.launch_request import TagRequest
from skylift.cloud.services.api.operation import below
from skylift.cloud.services.api.public_parameter import image_parameter
from skylift.cloud.services.api.refusal import combination, invalid, invalid_value, missing, one_of, refuse_other_values
from skylift.cloud.services.api.tag import Tagged, specified
from skylift.cloud.services.ec2.fleet_config import fleet_configs
from skylift.cloud.services.ec2.instance_requirement import PRICE_TAKES as PRICE_REQUIREMENTS
from skylift.cloud.services.ec2.instance_requirement import TAKES as REQUIREMENTS
from skylift.cloud.services.ec2.launch_request import tag_requests
from skylift.cloud.services.ec2.launch_template_version import with_template
from skylift.cloud.services.ec2.pool import distinct_pools
from skylift.cloud.services.ec2.spot_option import max_price
from skylift.cloud.store.database import Tx
from skylift.cloud.store.mapping import written

if TYPE_CHECKING:
    from aws_shapes import ec2


MOST_TEMPLATES = 50
MOST_OVERRIDES = 300
MOST_UNITS = 10_000

NEUTRAL: dict[str, tuple[object, ...]] = {
    "LaunchTemplateConfigs.Overrides.BlockDeviceMappings.Ebs.Encrypted": (False,),
    "TargetCapacitySpecification.TargetCapacityUnitType": ("units",),
}
"""Parameters, with the only values that are accepted: they ask for what is so anyway."""

_INSTANT_OVERRIDES = {
    "devices": "BlockDeviceMappings",
    "profile": "IamInstanceProfile",
    "image": "ImageId",
    "key_name": "KeyName",
    "metadata": "MetadataOptions",
}
_INSTANT_OPTIONS = ("MinTargetCapacity", "SingleAvailabilityZone", "SingleInstanceType")
_TAGGED_AT_LAUNCH = ("instance", "network-interface", "volume")

_SPOT_STRATEGIES = (
    "capacity-optimized",
    "capacity-optimized-prioritized",
    "diversified",
    "lowest-price",
    "price-capacity-optimized",
)
_OLDER_NAMES = {
    "".join([first, *(word.title() for word in words)]): "-".join([first, *words])
    for first, *words in (name.split("-") for name in _SPOT_STRATEGIES)
    if words
}
"""Names of strategies (`lowestPrice`) that spot fleets still use. AWS answers with them if a fleet names none:
awscli/examples/ec2/describe-fleets.rst in aws/aws-cli.
"""


def asked_for(tx: Tx, caller: Caller, params: ec2.CreateFleetRequest) -> Fleet:
    """The fleet that a request describes, `submitted`; raises EC2's errors for what cannot be."""
    refuse_other_values(params, NEUTRAL)
    kind: FleetType = one_of(params.get("Type", "maintain"), "Type", get_args(FleetType))
    capacity = params["TargetCapacitySpecification"]
    on_demand, spot = targets(capacity, kind)
    default = market_named(capacity.get("DefaultTargetCapacityType", "spot" if spot else "on-demand"))
    instant = kind == "instant"
    configs = checked_configs(tx, caller, fleet_configs(params["LaunchTemplateConfigs"]), instant=instant)
    tags = specified(params, "fleet", *(_TAGGED_AT_LAUNCH if instant else ()))
    valid_from, valid_until = params.get("ValidFrom"), params.get("ValidUntil")
    if instant and (valid_from or valid_until):
        raise combination("ValidFrom and ValidUntil are for fleets of type request and maintain.")
    if valid_until and (valid_until <= tx.now or (valid_from and valid_until <= valid_from)):
        raise invalid_value(valid_until.isoformat(), "ValidUntil", "It has to be in the future, and after ValidFrom.")
    if params.get("ReplaceUnhealthyInstances") and kind != "maintain":
        raise combination("ReplaceUnhealthyInstances is for fleets of type maintain.")
    if "ExcessCapacityTerminationPolicy" in params and kind != "maintain":
        raise combination("ExcessCapacityTerminationPolicy is for fleets of type maintain.")
    asked = Fleet(
        id=f"fleet-{uuid.uuid4()}",
        type=kind,
        state="submitted",
        created=tx.now,
        configs=configs,
        on_demand_target=on_demand,
        spot_target=spot,
        default_market=default,
        spot_options=_spot_options(params.get("SpotOptions") or {}, kind),
        on_demand_options=_on_demand_options(params.get("OnDemandOptions") or {}, kind),
        excess_policy=excess_policy(params),
        terminate_with_expiration=params.get("TerminateInstancesWithExpiration", False),
        replace_unhealthy=params.get("ReplaceUnhealthyInstances", False),
        valid_from=valid_from,
        valid_until=valid_until,
        client_token=params.get("ClientToken"),
        context=params.get("Context"),
        tags=tags.get("fleet", {}),
    )
    refuse_too_many(asked)
    for market in MARKETS:
        minimum, target = asked.options(market).get("MinTargetCapacity", 0), asked.target(market)
        if target and minimum > target:
            raise invalid_value(minimum, "MinTargetCapacity", f"The {market} target capacity is {target}.")
    return asked


def refuse_too_many(fleet: Fleet) -> None:
    """Whatever its instances weigh, a fleet has no more of them than one without weights."""
    weights = [one.weight for config in fleet.configs for one in config.overrides]
    least = min((1 if weight is None else weight for weight in weights), default=1)
    if fleet.on_demand_target + fleet.spot_target > least * MOST_UNITS:
        raise invalid_value(
            least, "WeightedCapacity", f"The target capacity could take more than {MOST_UNITS} of such instances."
        )


def targets(
    asked: ec2.TargetCapacitySpecificationRequest, kind: FleetType, default: Market | None = None
) -> tuple[int, int]:
    """The units that are to be on demand, and those that are to be spot."""
    total = asked["TotalTargetCapacity"]
    on_demand, spot = asked.get("OnDemandTargetCapacity", 0), asked.get("SpotTargetCapacity", 0)
    least = 0 if kind == "maintain" else 1
    if not least <= total <= MOST_UNITS:
        raise invalid_value(total, "TotalTargetCapacity", f"It has to be between {least} and {MOST_UNITS}.")
    if on_demand < 0 or spot < 0 or on_demand + spot > total:
        raise invalid(
            "OnDemandTargetCapacity and SpotTargetCapacity must not be negative, and together at most "
            f"TotalTargetCapacity, {total}."
        )
    rest = total - on_demand - spot
    if not rest:
        return on_demand, spot
    market = asked.get("DefaultTargetCapacityType", default)
    if market is None:
        raise missing("TargetCapacitySpecification.DefaultTargetCapacityType")
    return (on_demand, spot + rest) if market_named(market) == "spot" else (on_demand + rest, spot)


def checked_configs(tx: Tx, caller: Caller, configs: list[FleetConfig], *, instant: bool) -> tuple[FleetConfig, ...]:
    """The same; raises EC2's errors for what cannot be launched."""
    if not configs:
        raise missing("LaunchTemplateConfigs")
    if len(configs) > MOST_TEMPLATES:
        raise invalid(f"A fleet has at most {MOST_TEMPLATES} launch templates.")
    overrides = [one for config in configs for one in config.overrides]
    if not instant and len(overrides) > MOST_OVERRIDES:
        raise invalid(f"A fleet of this type has at most {MOST_OVERRIDES} overrides across all launch templates.")
    for override in overrides:
        _check_override(override, instant=instant)
    pools = distinct_pools(tx, caller, configs)
    if not instant and any(image_parameter(with_template(tx, pool.launch)[0].image or "") for pool in pools):
        raise combination("The ImageId resolve:ssm is for fleets of type instant; name the image by its id.")
    if not pools:
        raise ServiceError(
            "InvalidFleetConfig", "No instance type that is offered here has what the InstanceRequirements ask for."
        )
    return written(configs)


def excess_policy(params: ec2.CreateFleetRequest | ec2.ModifyFleetRequest) -> ExcessPolicy:
    value = params.get("ExcessCapacityTerminationPolicy", "termination")
    return one_of(value, "ExcessCapacityTerminationPolicy", ("termination", "no-termination"))


def tags_at_launch(params: Tagged) -> tuple[TagRequest, ...]:
    """An instant fleet's tags for what it launches."""
    asked = tag_requests(params.get("TagSpecifications", []))
    return tuple(one for one in asked if one.resource_type in _TAGGED_AT_LAUNCH)


def _check_override(override: FleetOverride, *, instant: bool) -> None:
    for field, name in _INSTANT_OVERRIDES.items():
        if getattr(override.launch, field) is not None and not instant:
            raise combination(f"The override {name} is for fleets of type instant; set it in the launch template.")
    if instant and len(override.subnet_ids) > 1:
        subnets = ",".join(override.subnet_ids)
        raise invalid_value(subnets, "SubnetId", "A fleet of type instant takes one subnet an override.")
    if override.zone and override.zone_id:
        raise combination("An override has AvailabilityZone or AvailabilityZoneId, not both.")
    if override.weight is not None and not 0 < override.weight <= MOST_UNITS:
        raise invalid_value(override.weight, "WeightedCapacity", "It has to be more than 0.")
    if override.priority is not None and not override.priority >= 0:
        raise invalid_value(override.priority, "Priority", "It has to be 0 or more.")
    max_price(override.max_price, "MaxPrice")


def market_named(value: str) -> Market:
    if value == "spot":
        return "spot"
    if value == "on-demand":
        return "on-demand"
    raise ServiceError("UnsupportedOperation", f"This cloud has no capacity of the type {value}.")


def _spot_options(asked: ec2.SpotOptionsRequest, kind: FleetType) -> SpotOptions:
    options: SpotOptions = {"AllocationStrategy": "lowest-price", "InstanceInterruptionBehavior": "terminate", **asked}
    options["AllocationStrategy"] = _OLDER_NAMES.get(options["AllocationStrategy"], options["AllocationStrategy"])
    if options["AllocationStrategy"] not in _SPOT_STRATEGIES:
        raise invalid_value(
            options["AllocationStrategy"], "AllocationStrategy", f"It has to be one of {', '.join(_SPOT_STRATEGIES)}."
        )
    if options["AllocationStrategy"] == "lowest-price":
        options.setdefault("InstancePoolsToUseCount", 1)
    elif "InstancePoolsToUseCount" in options:
        raise combination("InstancePoolsToUseCount is for the allocation strategy lowest-price.")
    if options.get("InstancePoolsToUseCount", 1) < 1:
        raise invalid_value(options["InstancePoolsToUseCount"], "InstancePoolsToUseCount", "It has to be at least 1.")
    _check_behavior(options["InstanceInterruptionBehavior"])
    _check_instant_options(options, kind)
    _check_rebalance(options, kind)
    return options


def _check_behavior(behavior: str) -> None:
    if behavior == "hibernate":
        raise ServiceError("UnsupportedOperation", "This cloud does not hibernate instances.")
    if behavior == "stop":
        raise ServiceError(
            "UnsupportedOperation", "Fleets of this cloud replace interrupted instances; they do not stop them."
        )
    if behavior != "terminate":
        raise invalid_value(behavior, "InstanceInterruptionBehavior", "It has to be terminate.")


def _check_rebalance(options: SpotOptions, kind: FleetType) -> None:
    strategies: Maintenance = options.get("MaintenanceStrategies", {})
    rebalance = strategies.get("CapacityRebalance")
    if not rebalance:
        return
    if kind != "maintain":
        raise combination("CapacityRebalance is for fleets of type maintain.")
    strategy, delay = rebalance.get("ReplacementStrategy"), rebalance.get("TerminationDelay")
    one_of(strategy, "ReplacementStrategy", ("launch", "launch-before-terminate"))
    if (strategy == "launch") != (delay is None):
        raise combination("TerminationDelay is needed with launch-before-terminate, and only there.")
    if delay is not None and not 120 <= delay <= 7200:
        raise invalid_value(delay, "TerminationDelay", "It has to be between 120 and 7200.")


def _on_demand_options(asked: ec2.OnDemandOptionsRequest, kind: FleetType) -> OnDemandOptions:
    options: OnDemandOptions = {"AllocationStrategy": "lowest-price", **asked}
    options["AllocationStrategy"] = _OLDER_NAMES.get(options["AllocationStrategy"], options["AllocationStrategy"])
    one_of(options["AllocationStrategy"], "AllocationStrategy", ("lowest-price", "prioritized"))
    _check_instant_options(options, kind)
    return options


def _check_instant_options(options: MarketOptions, kind: FleetType) -> None:
    for name in _INSTANT_OPTIONS:
        if options.get(name) and kind != "instant":
            raise combination(f"{name} is for fleets of type instant.")
    least = options.get("MinTargetCapacity")
    if least is not None and not (options.get("SingleAvailabilityZone") or options.get("SingleInstanceType")):
        raise combination("MinTargetCapacity needs SingleAvailabilityZone or SingleInstanceType.")
    if least is not None and not 1 <= least <= 1000:
        raise invalid_value(least, "MinTargetCapacity", "It has to be between 1 and 1000.")


_OVERRIDES = (
    "AvailabilityZone AvailabilityZoneId BlockDeviceMappings.DeviceName BlockDeviceMappings.Ebs.DeleteOnTermination "
    "BlockDeviceMappings.Ebs.Iops BlockDeviceMappings.Ebs.SnapshotId BlockDeviceMappings.Ebs.Throughput "
    "BlockDeviceMappings.Ebs.VolumeSize BlockDeviceMappings.Ebs.VolumeType BlockDeviceMappings.NoDevice "
    "IamInstanceProfile ImageId InstanceType KeyName MaxPrice MetadataOptions.HttpEndpoint "
    "MetadataOptions.HttpPutResponseHopLimit MetadataOptions.HttpTokens Placement.Affinity Placement.AvailabilityZone "
    "Placement.AvailabilityZoneId Placement.GroupId Placement.GroupName Placement.HostId Placement.PartitionNumber "
    "Placement.Tenancy Priority SubnetId WeightedCapacity "
) + below("InstanceRequirements", f"{REQUIREMENTS} {PRICE_REQUIREMENTS}")

CONFIGS = " ".join(
    [
        below("LaunchTemplateConfigs.LaunchTemplateSpecification", "LaunchTemplateId LaunchTemplateName Version"),
        below("LaunchTemplateConfigs.Overrides", _OVERRIDES),
        *NEUTRAL,
    ]
)

TARGET = below(
    "TargetCapacitySpecification",
    "TotalTargetCapacity OnDemandTargetCapacity SpotTargetCapacity DefaultTargetCapacityType",
)

_OPTIONS = "AllocationStrategy MinTargetCapacity SingleAvailabilityZone SingleInstanceType"

ON_DEMAND = below("OnDemandOptions", _OPTIONS)

SPOT = below(
    "SpotOptions",
    f"{_OPTIONS} InstanceInterruptionBehavior InstancePoolsToUseCount "
    "MaintenanceStrategies.CapacityRebalance.ReplacementStrategy "
    "MaintenanceStrategies.CapacityRebalance.TerminationDelay",
)
