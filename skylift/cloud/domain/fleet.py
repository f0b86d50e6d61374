"""Nouns of EC2 Fleet: the capacity that is asked for, its instances, and the history of both."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypedDict

from skylift.cloud.domain.instance_requirement import TypeRequirements
from skylift.cloud.domain.launch_request import LaunchRequest
from skylift.cloud.domain.launch_template import TemplateSpec

Market = Literal["on-demand", "spot"]
MARKETS: tuple[Market, ...] = ("on-demand", "spot")

FleetType = Literal["instant", "request", "maintain"]
ExcessPolicy = Literal["no-termination", "termination"]
EventType = Literal["instance-change", "fleet-change", "service-error"]
FleetState = Literal["submitted", "active", "deleted", "failed", "deleted_running", "deleted_terminating", "modifying"]


class Rebalance(TypedDict, total=False):
    """What becomes of an instance that EC2 advises to replace. The delay is in seconds."""

    ReplacementStrategy: str
    TerminationDelay: int


class Maintenance(TypedDict, total=False):
    CapacityRebalance: Rebalance


class ReservationUse(TypedDict, total=False):
    UsageStrategy: str


class MarketOptions(TypedDict, total=False):
    """How a fleet chooses among the pools of a market, and when less is nothing. In the members that EC2 has for it."""

    AllocationStrategy: str
    SingleInstanceType: bool
    SingleAvailabilityZone: bool
    MinTargetCapacity: int
    MaxTotalPrice: str


class SpotOptions(MarketOptions, total=False):
    MaintenanceStrategies: Maintenance
    InstanceInterruptionBehavior: str
    InstancePoolsToUseCount: int


class OnDemandOptions(MarketOptions, total=False):
    CapacityReservationOptions: ReservationUse


@dataclass(frozen=True)
class FleetOverride:
    """What a fleet asks for other than its launch template does.

    `launch` takes the place of the template's data. `max_price` is in USD an hour, as the request spells it. `weight`
    is how many units an instance counts for. `requirements` stand for all types that meet them.
    """

    launch: LaunchRequest = field(default_factory=LaunchRequest)
    max_price: str | None = None
    subnet_ids: tuple[str, ...] = ()
    zone: str | None = None
    zone_id: str | None = None
    weight: float | None = None
    priority: float | None = None
    requirements: TypeRequirements | None = None


@dataclass(frozen=True)
class FleetConfig:
    """A launch template of a fleet, and the overrides that it is launched with in turn."""

    template: TemplateSpec
    overrides: tuple[FleetOverride, ...] = ()


class GroupName(TypedDict, total=False):
    GroupName: str


class AnsweredOverride(TypedDict, total=False):
    """An override as EC2 answers it, with the type and the zone that an instance got."""

    InstanceType: str
    MaxPrice: str
    SubnetId: str
    AvailabilityZone: str
    WeightedCapacity: float
    Priority: float
    Placement: GroupName
    InstanceRequirements: TypeRequirements
    ImageId: str


class FleetSource(TypedDict, total=False):
    """Where an instance of a fleet came from, in the members that EC2 has for it."""

    LaunchTemplateSpecification: TemplateSpec
    Overrides: AnsweredOverride


class LaunchError(TypedDict, total=False):
    """Why a pool gave no instance, in the members that EC2 has for it."""

    LaunchTemplateAndOverrides: FleetSource
    Lifecycle: str
    ErrorCode: str
    ErrorMessage: str


@dataclass(frozen=True)
class Fleet:
    """Intent: how many units of which market, from which launch templates, until when.

    `replace_unhealthy` makes no difference: a server that fails is off, and a server that is off is replaced. `errors`
    are what an instant fleet's answer had in addition to its instances. `trouble` is why the last attempt to
    launch failed; after `failures` failed attempts in a row the next one is not before `retry_at`. `ended` is when the
    last instance of a deleted fleet had gone.
    """

    id: str
    type: FleetType
    state: FleetState
    created: datetime
    configs: tuple[FleetConfig, ...]
    on_demand_target: int
    spot_target: int
    default_market: Market
    spot_options: SpotOptions = field(default_factory=SpotOptions)
    on_demand_options: OnDemandOptions = field(default_factory=OnDemandOptions)
    excess_policy: ExcessPolicy = "termination"
    terminate_with_expiration: bool = False
    replace_unhealthy: bool = False
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    client_token: str | None = None
    context: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    errors: list[LaunchError] = field(default_factory=list)
    trouble: str = ""
    failures: int = 0
    retry_at: datetime | None = None
    ended: datetime | None = None

    def target(self, market: Market) -> int:
        return self.spot_target if market == "spot" else self.on_demand_target

    def options(self, market: Market) -> SpotOptions | OnDemandOptions:
        return self.spot_options if market == "spot" else self.on_demand_options


@dataclass(frozen=True)
class FleetMember:
    """An instance that a fleet launched; the row outlives the instance's.

    `source` is the launch template and the overrides that it came from, as EC2 answers them. A `leaving` one has a
    replacement already, or is to have one; at `terminate_at` the fleet ends it. `ended` is when that was seen.
    """

    instance_id: str
    fleet_id: str
    market: Market
    weight: float
    type: str
    zone: str
    source: FleetSource
    launched: datetime
    leaving: bool = False
    terminate_at: datetime | None = None
    ended: datetime | None = None


@dataclass(frozen=True)
class FleetEvent:
    """One line of a fleet's history; the store numbers them."""

    fleet_id: str
    at: datetime
    type: EventType
    sub_type: str
    description: str = ""
    instance_id: str | None = None
    number: int | None = None
