"""Nouns of Auto Scaling: a group, its instances, and its activities."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal, TypedDict

from skylift.cloud.domain.instance import Instance
from skylift.cloud.domain.launch_template import TemplateSpec

LifecycleState = Literal[
    "Pending",
    "Pending:Wait",
    "Pending:Proceed",
    "InService",
    "Terminating",
    "Terminating:Wait",
    "Terminating:Proceed",
    "EnteringStandby",
    "Standby",
    "Detaching",
]

Market = Literal["on-demand", "spot"]

COUNTED: frozenset[str] = frozenset({"Pending", "Pending:Wait", "Pending:Proceed", "InService"})
"""Instances in these states are a group's capacity; the others are leaving, or in standby."""

TARGETS: dict[str, str] = {
    **dict.fromkeys(COUNTED, "InService"),
    **dict.fromkeys(("Terminating", "Terminating:Wait", "Terminating:Proceed"), "Terminated"),
    **dict.fromkeys(("EnteringStandby", "Standby"), "Standby"),
    "Detaching": "Detached",
}
"""The state that an instance in each state is on its way to, as its metadata service reports it."""

PROCESSES = (
    "AZRebalance",
    "AddToLoadBalancer",
    "AlarmNotification",
    "HealthCheck",
    "InstanceRefresh",
    "Launch",
    "ReplaceUnhealthy",
    "ScheduledActions",
    "Terminate",
)
_COUNTS = ("InService", "Pending", "Standby", "Terminating", "Total")
METRICS = (
    "GroupMinSize",
    "GroupMaxSize",
    "GroupDesiredCapacity",
    *(f"Group{state}Instances" for state in _COUNTS),
    *(f"Group{state}Capacity" for state in _COUNTS),
    "WarmPoolDesiredCapacity",
    "WarmPoolWarmedCapacity",
    "WarmPoolPendingCapacity",
    "WarmPoolTerminatingCapacity",
    "WarmPoolTotalCapacity",
    "GroupAndWarmPoolDesiredCapacity",
    "GroupAndWarmPoolTotalCapacity",
)
"""The metrics that a group sends to CloudWatch if they are enabled."""
LAUNCHING = "autoscaling:EC2_INSTANCE_LAUNCHING"
TERMINATING = "autoscaling:EC2_INSTANCE_TERMINATING"
GROUP_TAG = "aws:autoscaling:groupName"


@dataclass(frozen=True)
class GroupTag:
    key: str
    value: str
    propagate: bool


class MixedOverride(TypedDict, total=False):
    """What one type of a mixed group is launched with instead of what the template says."""

    InstanceType: str
    ImageId: str
    LaunchTemplateSpecification: TemplateSpec
    WeightedCapacity: str


class MixedTemplate(TypedDict, total=False):
    LaunchTemplateSpecification: TemplateSpec
    Overrides: list[MixedOverride]


class Distribution(TypedDict, total=False):
    """How a mixed group divides its instances among the two markets."""

    OnDemandAllocationStrategy: str
    OnDemandBaseCapacity: int
    OnDemandPercentageAboveBaseCapacity: int
    SpotAllocationStrategy: str
    SpotInstancePools: int
    SpotMaxPrice: str


class MixedPolicy(TypedDict, total=False):
    """A MixedInstancesPolicy, in the members that Auto Scaling has for it."""

    LaunchTemplate: MixedTemplate
    InstancesDistribution: Distribution


@dataclass(frozen=True)
class ScalingGroup:
    """Intent: how many instances, from which template, and where.

    Sizes are numbers of instances, or of units, where the policy gives each type a weight.

    `template` is the launch template as the request named it, by id, with a version that may be `$Latest`. `subnets`
    are in the order they were given, a zone in `zones` for each. `cause` says who asked for the capacity that is not
    reached yet, in AWS's words. `suspended` maps processes to why. After `failures` failed launches in a row the next
    one waits until `retry`; `replacing` counts launches that take the place of unhealthy instances.

    `scaled` is when its capacity last changed, or when the last instance of that change was launched or ended.
    Cooldowns begin then. As long as an instance of the change is on its way the change is `scaling`.
    """

    name: str
    arn: str
    created: datetime
    min_size: int
    max_size: int
    desired: int
    template: TemplateSpec
    subnets: tuple[str, ...]
    zones: tuple[str, ...]
    configuration: str = ""
    """The name of the launch configuration that it has in place of a template."""
    in_default_vpc: bool = False
    """Whether the group was made for zones, not for subnets."""
    cooldown: int = 300
    grace: int = 0
    warmup: int | None = None
    termination_policies: tuple[str, ...] = ("Default",)
    protects_new: bool = False
    service_role: str = ""
    context: str = ""
    capacity_type: str = ""
    """`units` where a request has said so: it is what the desired capacity counts in any case."""
    mixed: MixedPolicy = field(default_factory=MixedPolicy)
    """The MixedInstancesPolicy as the request had it; `template` is then the template that it names."""
    capacity_rebalance: bool = False
    tags: tuple[GroupTag, ...] = ()
    suspended: dict[str, str] = field(default_factory=dict)
    deleting: bool = False
    cause: str = ""
    failures: int = 0
    retry: datetime | None = None
    replacing: int = 0
    scaled: datetime | None = None
    scaling: bool = False
    metrics: tuple[str, ...] = ()
    """The members of METRICS that are sent to CloudWatch each minute."""
    overage: int = 0
    """Units above the desired capacity that the last launch led to. They stay until the group is to be smaller."""

    def resized(self, desired: int, why: str, now: datetime) -> ScalingGroup:
        """The group with another desired capacity. `why` says who wants it, such as `a user request ...`.

        Failed launches are retried at once.
        """
        if desired == self.desired:
            return replace(self, failures=0, retry=None)
        change = f"At {spelled(now)} {why} changing the desired capacity from {self.desired} to {desired}."
        cause = f"{self.cause}  {change}" if self.cause else change
        changed = replace(self, desired=desired, cause=cause[-1023:], failures=0, retry=None, scaled=now, scaling=True)
        return replace(changed, overage=0) if desired < self.desired else changed

    def reweighed(self, why: str, now: datetime) -> ScalingGroup:
        """The group after its instances have got other weights, which has to reach its capacity again."""
        cause = self.cause or at(now, why)
        return replace(self, cause=cause, failures=0, retry=None, scaled=now, scaling=True, overage=0)

    def runs(self, process: str) -> bool:
        return process not in self.suspended

    @property
    def weights(self) -> dict[str, int]:
        """How many units an instance of each type is; empty where each instance is one."""
        overrides = self.mixed.get("LaunchTemplate", {}).get("Overrides", [])
        return {one["InstanceType"]: int(one["WeightedCapacity"]) for one in overrides if "WeightedCapacity" in one}


@dataclass(frozen=True)
class HookWait:
    """One hook that an instance waits for: until `deadline`, which heartbeats put off, but not beyond `last`.

    `result` is CONTINUE or ABANDON once a request has completed the hook.
    """

    hook: str
    token: str
    deadline: datetime
    last: datetime
    heartbeat: int
    default: str
    result: str = ""


@dataclass(frozen=True)
class ScalingMember:
    """An instance of a group. `template` is the version that it was launched from, or `configuration` is the launch
    configuration's name. An attached instance has neither.

    `activity_id` is the activity that is under way for it. `since` is when it came to its state, `in_service` when it
    was first ready. `unhealthy` says why it is to be replaced; empty as long as it is not.
    """

    instance_id: str
    group: str
    zone: str
    subnet_id: str
    type: str
    image_id: str
    state: LifecycleState
    activity_id: str
    since: datetime
    template: TemplateSpec = field(default_factory=TemplateSpec)
    configuration: str = ""
    protected: bool = False
    unhealthy: str = ""
    in_service: datetime | None = None
    market: Market = "on-demand"
    waits: tuple[HookWait, ...] = ()
    weight: int | None = None
    """What its group's policy gives its type; a type that leaves the policy keeps its last weight."""

    @property
    def units(self) -> int:
        """How much of its group's capacity it is."""
        return 1 if self.weight is None else self.weight


def units(members: Iterable[ScalingMember]) -> int:
    """The capacity that instances are together."""
    return sum(member.units for member in members)


def weighed(member: ScalingMember, group: ScalingGroup) -> ScalingMember:
    """A member with the weight that the group's policy gives it now."""
    weights = group.weights
    return replace(member, weight=weights.get(member.type, member.weight) if weights else None)


def is_reached(group: ScalingGroup, counted: Sequence[ScalingMember]) -> bool:
    """Whether the capacity is the desired one, or above it by what whole instances make of it."""
    excess = units(counted) - group.desired
    return excess >= 0 and (excess <= group.overage or all(member.units > excess for member in counted))


def new_member(
    instance: Instance,
    group: ScalingGroup,
    activity: ScalingActivity,
    since: datetime,
    template: TemplateSpec,
    configuration: str = "",
) -> ScalingMember:
    """An instance on its way into a group, which launched it from a template or a configuration, or was given it."""
    member = ScalingMember(
        instance_id=instance.id,
        group=group.name,
        zone=instance.zone,
        subnet_id=instance.subnet_id,
        type=instance.type,
        image_id=instance.image_id,
        state="Pending",
        activity_id=activity.id,
        since=since,
        template=template,
        configuration=configuration,
        protected=group.protects_new,
        # A template may ask for it by itself.
        market="spot" if instance.spot_request_id else "on-demand",
    )
    return weighed(member, group)


@dataclass(frozen=True)
class LifecycleHook:
    """Holds instances back when they are launched or terminated, so that somebody may see to them first."""

    group: str
    name: str
    transition: str
    heartbeat: int = 3600
    default: str = "ABANDON"
    metadata: str = ""

    @property
    def longest(self) -> int:
        """Seconds after which no heartbeat helps: a hundred timeouts, and two days at most."""
        return min(self.heartbeat * 100, 172800)


@dataclass(frozen=True)
class ScheduledAction:
    """Sizes that a group is given at a time. `recurrence` is a cron expression, in `zone`; without one it is once.

    `due` is when it is next; None once it is over.
    """

    group: str
    name: str
    arn: str
    start: datetime | None
    end: datetime | None
    recurrence: str
    zone: str
    min_size: int | None
    max_size: int | None
    desired: int | None
    due: datetime | None


@dataclass(frozen=True)
class ScalingActivity:
    """Something that a group did."""

    id: str
    group: str
    group_arn: str
    description: str
    cause: str
    started: datetime
    status: str
    details: str
    message: str = ""
    progress: int = 0
    ended: datetime | None = None

    def finished(self, now: datetime, status: str = "Successful", message: str = "") -> ScalingActivity:
        return replace(self, status=status, message=message, progress=100, ended=now)


@dataclass(frozen=True)
class Wanted:
    """One instance that a group is to launch: where, and what of its template is to be otherwise."""

    subnet_id: str
    zone: str
    template: TemplateSpec
    configuration: str = ""
    type: str = ""
    image_id: str = ""
    market: Market = "on-demand"
    max_price: str = ""


def group_metrics(group: ScalingGroup, members: Sequence[ScalingMember]) -> dict[str, float]:
    """The value of each of a group's metrics. Warm pools do not exist here."""
    values = {"GroupMinSize": group.min_size, "GroupMaxSize": group.max_size, "GroupDesiredCapacity": group.desired}
    for state in _COUNTS:
        those = [member for member in members if state in ("Total", _counted_as(member.state))]
        values |= {f"Group{state}Instances": len(those), f"Group{state}Capacity": units(those)}
    values["GroupAndWarmPoolDesiredCapacity"] = group.desired
    values["GroupAndWarmPoolTotalCapacity"] = units(members)
    return {name: float(values.get(name, 0)) for name in group.metrics}


def _counted_as(state: LifecycleState) -> str:
    if state == "InService":
        return state
    if state.startswith("Pending"):
        return "Pending"
    return "Standby" if state in ("EnteringStandby", "Standby") else "Terminating"


def new_activity(
    group: ScalingGroup,
    description: str,
    cause: str,
    now: datetime,
    *,
    zone: str = "",
    subnet_id: str = "",
    status: str = "InProgress",
    message: str = "",
    progress: int = 0,
    ended: datetime | None = None,
) -> ScalingActivity:
    where = f'{{"Subnet ID":"{subnet_id}","Availability Zone":"{zone}"}}' if zone else "{}"
    return ScalingActivity(
        id=str(uuid.uuid4()),
        group=group.name,
        group_arn=group.arn,
        description=description,
        cause=cause,
        started=now,
        details=where,
        status=status,
        message=message,
        progress=progress,
        ended=ended,
    )


def spelled(moment: datetime) -> str:
    """The spelling in the causes of activities."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def at(moment: datetime, what: str) -> str:
    """A sentence of a cause."""
    return f"At {spelled(moment)} {what}."
