"""Auto Scaling groups: made, changed, described and deleted. The loop of groups launches and ends their instances.

https://docs.aws.amazon.com/autoscaling/ec2/userguide/what-is-amazon-ec2-auto-scaling.html
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller, Role
from skylift.cloud.domain.launch_configuration import LaunchConfiguration
from skylift.cloud.domain.launch_template import TemplateSpec
from skylift.cloud.domain.network import Subnet
from skylift.cloud.domain.scaling_group import PROCESSES, MixedPolicy, ScalingGroup, ScalingMember, spelled, weighed
from skylift.cloud.services.api import service_role
from skylift.cloud.services.api.operation import Check, Nothing, Params, below
from skylift.cloud.services.api.refusal import refuse_other_values
from skylift.cloud.services.api.scaling_check import arn, check_of
from skylift.cloud.services.api.service_role import SERVICE_PATH
from skylift.cloud.services.api.zone import require_zone, zone_id
from skylift.cloud.services.autoscaling import scaling_hook, scaling_mixed
from skylift.cloud.services.autoscaling.launch_configuration import MOST as MOST_CONFIGURATIONS
from skylift.cloud.services.autoscaling.launch_configuration import check_create as check_configuration
from skylift.cloud.services.autoscaling.launch_configuration import create_from, in_no_group, required, running
from skylift.cloud.services.autoscaling.operation import FILTERS, GROUP, PAGES, reads, writes
from skylift.cloud.services.autoscaling.scaling_hook import put_hook
from skylift.cloud.services.autoscaling.scaling_launch import check_template, named, request
from skylift.cloud.services.autoscaling.scaling_mixed import checked_policy
from skylift.cloud.services.autoscaling.scaling_rules import (
    Context,
    asked_sizes,
    changeable_group,
    invalid,
    page,
    require_group,
    tag_context,
)
from skylift.cloud.services.autoscaling.scaling_tag import TAG_MEMBERS, checked_tags, tag_view
from skylift.cloud.services.ec2 import launch_check
from skylift.cloud.services.ec2.launch_place import default_subnet
from skylift.cloud.services.ec2.launch_template import is_number
from skylift.cloud.store.database import Tx
from skylift.cloud.store.scaling_group import in_cooldown

if TYPE_CHECKING:
    from aws_shapes import autoscaling

    Settings = autoscaling.CreateAutoScalingGroupType | autoscaling.UpdateAutoScalingGroupType

SERVICE = "autoscaling.amazonaws.com"
MOST_GROUPS = 500
SOURCES = ("LaunchTemplate", "MixedInstancesPolicy", "LaunchConfigurationName", "InstanceId")
"""Of these a group has one."""
POLICIES = (
    "ClosestToNextInstanceHour",
    "Default",
    "NewestInstance",
    "OldestInstance",
    "OldestLaunchConfiguration",
    "OldestLaunchTemplate",
)
NEUTRAL: dict[str, tuple[object, ...]] = {
    "AvailabilityZoneDistribution.CapacityDistributionStrategy": ("balanced-best-effort",),
    "CapacityReservationSpecification.CapacityReservationPreference": ("default",),
    "DeletionProtection": ("none",),
    "DesiredCapacityType": ("units",),
    "HealthCheckType": ("EC2",),
    "InstanceMaintenancePolicy.MaxHealthyPercentage": (-1,),
    "InstanceMaintenancePolicy.MinHealthyPercentage": (-1,),
    "MaxInstanceLifetime": (0,),
}
"""Parameters, with the only values that are accepted: they ask for what is so anyway."""


@dataclass(frozen=True)
class _Place:
    """The places of a group's instances: subnets, a zone for each, and whether they are the default ones of zones."""

    subnets: tuple[str, ...]
    zones: tuple[str, ...]
    in_default_vpc: bool

    def given_to(self, group: ScalingGroup) -> ScalingGroup:
        return replace(group, subnets=self.subnets, zones=self.zones, in_default_vpc=self.in_default_vpc)


def create(tx: Tx, caller: Caller, params: autoscaling.CreateAutoScalingGroupType) -> Nothing:
    name = params["AutoScalingGroupName"]
    if tx.get(ScalingGroup, name=name) is not None:
        raise ServiceError(
            "AlreadyExists",
            f"AutoScalingGroup by this name already exists - A group with the name {name} already exists",
        )
    if ":" in name:
        raise invalid("Group names must not contain a colon.")
    if len(tx.find(ScalingGroup)) >= MOST_GROUPS:
        raise ServiceError("LimitExceeded", f"You may have at most {MOST_GROUPS} Auto Scaling groups.")
    refuse_other_values(params, NEUTRAL)
    if sum(bool(params.get(source)) for source in SOURCES) != 1:
        raise invalid(
            "Valid requests must contain either launchTemplate, LaunchConfigurationName, InstanceId or "
            "MixedInstancesPolicy parameter."
        )
    place = _place(tx, caller, params)
    model = in_no_group(tx, running(tx, params["InstanceId"])) if params.get("InstanceId") else None
    if model is not None:
        place = place or _Place((model.subnet_id,), (model.zone,), in_default_vpc=False)
        if model.zone not in place.zones:
            raise invalid(f"The availability zone of instance {model.id}, {model.zone}, is not one of the group's.")
    if place is None:
        raise invalid("At least one Availability Zone or VPC Subnet is required.")
    desired = params.get("DesiredCapacity", params["MinSize"])
    bare = replace(_bare(tx, caller, params), tags=checked_tags(name, params.get("Tags") or []))
    group = place.given_to(_with_settings(tx, caller, params, bare))
    if model is not None:
        group = replace(group, configuration=create_from(tx, caller, name, model).name)
    _refuse_sizes(group.min_size, group.max_size, desired)
    if not group.service_role:
        group = replace(group, service_role=_own_role(tx, caller))
    tx.add(group.resized(desired, "a user request created an AutoScalingGroup", tx.now))
    for hook in params.get("LifecycleHookSpecificationList") or []:
        put_hook(tx, name, hook)
    return {}


def update(tx: Tx, caller: Caller, params: autoscaling.UpdateAutoScalingGroupType) -> Nothing:
    group = changeable_group(tx, params["AutoScalingGroupName"])
    refuse_other_values(params, NEUTRAL)
    changed = _with_settings(tx, caller, params, group)
    place = _place(tx, caller, params)
    if place is not None:
        changed = place.given_to(changed)
    least, most = params.get("MinSize", group.min_size), params.get("MaxSize", group.max_size)
    desired = params.get("DesiredCapacity")
    if least <= most and desired is None:
        desired = min(max(group.desired, least), most)
    _refuse_sizes(least, most, least if desired is None else desired)
    assert desired is not None
    why = f"a user request update of AutoScalingGroup constraints to min: {least}, max: {most}, desired: {desired}"
    resized = replace(changed, min_size=least, max_size=most).resized(desired, why, tx.now)
    others = _with_new_weights(tx, resized)
    for member in others:
        tx.save(member)
    if others:
        resized = resized.reweighed("a user request update changed the weights of instances", tx.now)
    tx.save(resized)
    return {}


def _with_new_weights(tx: Tx, group: ScalingGroup) -> list[ScalingMember]:
    """Weights are those of the policy also for instances that are there already.

    https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-mixed-instances-groups-instance-weighting.html
    """
    members = [(member, weighed(member, group)) for member in tx.find(ScalingMember, group=group.name)]
    return [after for before, after in members if after != before]


def delete(tx: Tx, _caller: Caller, params: autoscaling.DeleteAutoScalingGroupType) -> Nothing:
    """Delete a group. With force, its instances end first, and the group exists until they have."""
    group = require_group(tx, params["AutoScalingGroupName"])
    members = tx.find(ScalingMember, group=group.name)
    if not members:
        tx.remove(group)
        return {}
    if not params.get("ForceDelete"):
        raise ServiceError(
            "ResourceInUse",
            "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance request(s) "
            "still in the group.",
        )
    why = "a user request deleted the AutoScalingGroup"
    tx.save(replace(group, min_size=0, max_size=0, deleting=True).resized(0, why, tx.now))
    return {}


def describe(
    tx: Tx, _caller: Caller, params: autoscaling.AutoScalingGroupNamesType
) -> autoscaling.AutoScalingGroupsType:
    names = params.get("AutoScalingGroupNames") or []
    groups = [group for group in tx.find(ScalingGroup) if not names or group.name in names]
    matched = [group for group in groups if all(_matches(group, one) for one in params.get("Filters") or [])]
    chosen, more = page(params, sorted(matched, key=lambda group: group.name), lambda group: group.name)
    instances = params.get("IncludeInstances", True)
    return {"AutoScalingGroups": [view(tx, group, instances=instances) for group in chosen], **more}


def set_desired(tx: Tx, _caller: Caller, params: autoscaling.SetDesiredCapacityType) -> Nothing:
    group = changeable_group(tx, params["AutoScalingGroupName"])
    desired = params["DesiredCapacity"]
    if params.get("HonorCooldown"):
        refuse_in_cooldown(tx, group)
    if desired > group.max_size:
        raise _out_of_bounds(desired, "above max", group.max_size)
    if desired < group.min_size:
        raise _out_of_bounds(desired, "below min", group.min_size)
    why = "a user request explicitly set group desired capacity"
    tx.save(group.resized(desired, why, tx.now))
    return {}


def suspend(tx: Tx, _caller: Caller, params: autoscaling.ScalingProcessQuery) -> Nothing:
    group = changeable_group(tx, params["AutoScalingGroupName"])
    reason = f"User suspended at {spelled(tx.now)}"
    tx.save(replace(group, suspended={**dict.fromkeys(_processes(params), reason), **group.suspended}))
    return {}


def resume(tx: Tx, _caller: Caller, params: autoscaling.ScalingProcessQuery) -> Nothing:
    group = changeable_group(tx, params["AutoScalingGroupName"])
    resumed = _processes(params)
    kept = {name: reason for name, reason in group.suspended.items() if name not in resumed}
    tx.save(replace(group, suspended=kept, failures=0, retry=None))
    return {}


def process_types(_tx: Tx, _caller: Caller, _params: Params) -> autoscaling.ProcessesType:
    return {"Processes": [{"ProcessName": name} for name in PROCESSES]}


def termination_policy_types(
    _tx: Tx, _caller: Caller, _params: Params
) -> autoscaling.DescribeTerminationPolicyTypesAnswer:
    return {"TerminationPolicyTypes": list(POLICIES)}


def account_limits(tx: Tx, _caller: Caller, _params: Params) -> autoscaling.DescribeAccountLimitsAnswer:
    return {
        "MaxNumberOfAutoScalingGroups": MOST_GROUPS,
        "MaxNumberOfLaunchConfigurations": MOST_CONFIGURATIONS,
        "NumberOfAutoScalingGroups": len(tx.find(ScalingGroup)),
        "NumberOfLaunchConfigurations": len(tx.find(LaunchConfiguration)),
    }


def refuse_in_cooldown(tx: Tx, group: ScalingGroup) -> None:
    if in_cooldown(tx, group, group.cooldown):
        raise ServiceError(
            "ScalingActivityInProgress", f"Scaling activity is in progress or in cooldown for {group.name}."
        )


def view(tx: Tx, group: ScalingGroup, *, instances: bool = True) -> autoscaling.AutoScalingGroup:
    members = tx.find(ScalingMember, group=group.name) if instances else []
    launched: autoscaling.AutoScalingGroup = {"LaunchTemplate": group.template}
    if group.configuration:
        launched = {"LaunchConfigurationName": group.configuration}
    elif group.mixed:
        launched = {"MixedInstancesPolicy": cast("autoscaling.MixedInstancesPolicy", group.mixed)}
    return {
        "AutoScalingGroupName": group.name,
        "AutoScalingGroupARN": group.arn,
        **launched,
        "MinSize": group.min_size,
        "MaxSize": group.max_size,
        "DesiredCapacity": group.desired,
        "DefaultCooldown": group.cooldown,
        "AvailabilityZones": list(dict.fromkeys(group.zones)),
        "AvailabilityZoneIds": [zone_id(zone) for zone in dict.fromkeys(group.zones)],
        "LoadBalancerNames": [],
        "TargetGroupARNs": [],
        "HealthCheckType": "EC2",
        "HealthCheckGracePeriod": group.grace,
        "Instances": [member_view(member) for member in members],
        "CreatedTime": group.created,
        "SuspendedProcesses": [
            {"ProcessName": name, "SuspensionReason": reason} for name, reason in group.suspended.items()
        ],
        "VPCZoneIdentifier": "" if group.in_default_vpc else ",".join(group.subnets),
        "EnabledMetrics": [{"Metric": name, "Granularity": "1Minute"} for name in group.metrics],
        **({"Status": "Delete in progress"} if group.deleting else {}),
        "Tags": [tag_view(group.name, tag) for tag in group.tags],
        "TerminationPolicies": list(group.termination_policies),
        "NewInstancesProtectedFromScaleIn": group.protects_new,
        "ServiceLinkedRoleARN": group.service_role,
        "CapacityRebalance": group.capacity_rebalance,
        **({"Context": group.context} if group.context else {}),
        **({"DesiredCapacityType": group.capacity_type} if group.capacity_type else {}),
        **({"DefaultInstanceWarmup": group.warmup} if group.warmup is not None else {}),
        "TrafficSources": [],
        "AvailabilityZoneDistribution": {"CapacityDistributionStrategy": "balanced-best-effort"},
        "CapacityReservationSpecification": {"CapacityReservationPreference": "default"},
        "InstanceLifecyclePolicy": {"RetentionTriggers": {"TerminateHookAbandon": "terminate"}},
    }


def member_view(member: ScalingMember) -> autoscaling.Instance:
    return {
        "InstanceId": member.instance_id,
        "InstanceType": member.type,
        "AvailabilityZone": member.zone,
        "AvailabilityZoneId": zone_id(member.zone),
        "LifecycleState": member.state,
        "HealthStatus": "Unhealthy" if member.unhealthy else "Healthy",
        **({"LaunchTemplate": member.template} if member.template else {}),
        **({"LaunchConfigurationName": member.configuration} if member.configuration else {}),
        "ImageId": member.image_id,
        "ProtectedFromScaleIn": member.protected,
        **({"WeightedCapacity": str(member.weight)} if member.weight is not None else {}),
    }


def _bare(tx: Tx, caller: Caller, params: autoscaling.CreateAutoScalingGroupType) -> ScalingGroup:
    """A new group as it is before the settings and places of its request."""
    name = params["AutoScalingGroupName"]
    return ScalingGroup(
        name=name,
        arn=arn(caller, name, str(uuid.uuid4())),
        created=tx.now,
        min_size=params["MinSize"],
        max_size=params["MaxSize"],
        desired=0,
        template={},
        subnets=(),
        zones=(),
    )


def _with_settings(tx: Tx, caller: Caller, params: Settings, group: ScalingGroup) -> ScalingGroup:
    """The group with a request's settings, without sizes and places. What the request does not name stays."""
    for name, number in (
        ("DefaultCooldown", params.get("DefaultCooldown", 0)),
        ("HealthCheckGracePeriod", params.get("HealthCheckGracePeriod", 0)),
    ):
        if number < 0:
            raise invalid(f"{name} must be greater than or equal to 0.")
    warmup = params.get("DefaultInstanceWarmup", group.warmup)
    policies = group.termination_policies
    if params.get("TerminationPolicies"):
        policies = tuple(_policies(params["TerminationPolicies"]))
    if sum(bool(params.get(source)) for source in SOURCES) > 1:
        raise invalid("A group has a LaunchTemplate, a MixedInstancesPolicy or a LaunchConfigurationName, one of them.")
    template, mixed, role = group.template, group.mixed, group.service_role
    configuration = group.configuration
    if params.get("LaunchConfigurationName"):
        configuration = required(tx, params["LaunchConfigurationName"]).name
        template, mixed = TemplateSpec(), MixedPolicy()
    if params.get("LaunchTemplate") or params.get("MixedInstancesPolicy"):
        configuration = ""
    if params.get("LaunchTemplate"):
        template, mixed = named(tx, params["LaunchTemplate"]), MixedPolicy()
        check_template(tx, caller, template)
    if params.get("MixedInstancesPolicy"):
        mixed = checked_policy(tx, caller, params["MixedInstancesPolicy"], mixed)
        template = mixed["LaunchTemplate"]["LaunchTemplateSpecification"]
    if params.get("ServiceLinkedRoleARN"):
        role = _given_role(tx, params["ServiceLinkedRoleARN"])
    return replace(
        group,
        capacity_rebalance=params.get("CapacityRebalance", group.capacity_rebalance),
        context=params.get("Context", group.context),
        capacity_type=params.get("DesiredCapacityType", group.capacity_type),
        cooldown=params.get("DefaultCooldown", group.cooldown),
        grace=params.get("HealthCheckGracePeriod", group.grace),
        protects_new=params.get("NewInstancesProtectedFromScaleIn", group.protects_new),
        # -1 takes it away again.
        warmup=warmup if warmup is not None and warmup >= 0 else None,
        termination_policies=policies,
        template=template,
        configuration=configuration,
        mixed=mixed,
        service_role=role,
    )


def _policies(wanted: list[str]) -> Iterator[str]:
    for policy in wanted:
        if policy not in POLICIES:
            raise invalid(f"Termination policy {policy} is not one of {', '.join(POLICIES)}.")
        yield policy


def _place(tx: Tx, caller: Caller, params: Settings) -> _Place | None:
    """The places for instances that a request names; None if it names none."""
    zones = [*(params.get("AvailabilityZones") or [])]
    try:
        for zone in zones:
            require_zone(caller.region, zone, None)
        for identifier in params.get("AvailabilityZoneIds") or []:
            zones.append(str(require_zone(caller.region, None, identifier)))
    except ServiceError as error:
        raise invalid(error.message) from error
    ids = [one.strip() for one in params.get("VPCZoneIdentifier", "").split(",") if one.strip()]
    if ids:
        subnets = [_subnet(tx, one) for one in dict.fromkeys(ids)]
        if len({subnet.vpc_id for subnet in subnets}) > 1:
            raise invalid("The subnets of an Auto Scaling group must be in one VPC.")
        if zones and set(zones) != {subnet.zone for subnet in subnets}:
            raise invalid("The availability zones of the specified subnets and the Auto Scaling group do not match")
    elif zones:
        try:
            subnets = [default_subnet(tx, zone) for zone in dict.fromkeys(zones)]
        except ServiceError as error:
            raise invalid(error.message) from error
    else:
        return None
    return _Place(
        subnets=tuple(subnet.id for subnet in subnets),
        zones=tuple(subnet.zone for subnet in subnets),
        in_default_vpc=not ids,
    )


def _subnet(tx: Tx, subnet_id: str) -> Subnet:
    found = tx.get(Subnet, id=subnet_id)
    if found is None:
        raise invalid(f"The subnet ID '{subnet_id}' does not exist")
    return found


def _refuse_sizes(least: int, most: int, desired: int) -> None:
    if least < 0:
        raise invalid(f"Min bound, {least}, must be greater than or equal to 0")
    if least > most:
        raise invalid(f"Max bound, {most}, must be greater than or equal to min bound, {least}")
    if not least <= desired <= most:
        raise invalid(f"Desired capacity:{desired} must be between the specified min size:{least} and max size:{most}")


def _out_of_bounds(desired: int, where: str, bound: int) -> ServiceError:
    return invalid(f"New SetDesiredCapacity value {desired} is {where} value {bound} for the AutoScalingGroup.")


def _processes(params: autoscaling.ScalingProcessQuery) -> list[str]:
    """The named processes; all of them if none is named."""
    wanted = params.get("ScalingProcesses") or list(PROCESSES)
    for name in wanted:
        if name not in PROCESSES:
            raise invalid(f"{name} is not a valid process type. It has to be one of {', '.join(PROCESSES)}.")
    return list(wanted)


def _own_role(tx: Tx, caller: Caller) -> str:
    """Auto Scaling's service-linked role, which is made with the first group."""
    return (_role(tx) or service_role.make(tx, caller, {"AWSServiceName": SERVICE})).arn


def _role(tx: Tx) -> Role | None:
    return tx.get(Role, name=service_role.SERVICES[SERVICE].name)


def _given_role(tx: Tx, wanted: str) -> str:
    role = tx.get(Role, arn=wanted)
    if role is None or role.path != f"{SERVICE_PATH}{SERVICE}/":
        raise invalid(f"{wanted} is not a service-linked role of Auto Scaling's.")
    return role.arn


def _matches(group: ScalingGroup, asked: autoscaling.Filter) -> bool:
    """Filters of DescribeAutoScalingGroups: tags, by key, by value or both."""
    name, values = asked.get("Name", ""), asked.get("Values") or []
    if name == "tag-key":
        return any(tag.key in values for tag in group.tags)
    if name == "tag-value":
        return any(tag.value in values for tag in group.tags)
    if name.startswith("tag:"):
        return any(tag.key == name.removeprefix("tag:") and tag.value in values for tag in group.tags)
    raise invalid(f"The filter {name} is not one of tag-key, tag-value and tag:KEY.")


# What a caller must be allowed to do.


def check_create(tx: Tx, caller: Caller, params: autoscaling.CreateAutoScalingGroupType) -> Iterator[Check]:
    tags = params.get("Tags") or []
    name = params["AutoScalingGroupName"]
    yield check_of(tx, caller, "CreateAutoScalingGroup", name, {**_asked(params), **tag_context(tags)})
    if tags:
        yield check_of(tx, caller, "CreateOrUpdateTags", name, tag_context(tags))
    if not params.get("ServiceLinkedRoleARN") and _role(tx) is None:
        yield from service_role.check_create(tx, caller, {"AWSServiceName": SERVICE})
    yield from _check_launch(tx, caller, params, _bare(tx, caller, params))
    if params.get("InstanceId"):
        made: autoscaling.CreateLaunchConfigurationType = {
            "LaunchConfigurationName": name,
            "InstanceId": params["InstanceId"],
        }
        yield from check_configuration(tx, caller, made)


def check_update(tx: Tx, caller: Caller, params: autoscaling.UpdateAutoScalingGroupType) -> Iterator[Check]:
    name = params["AutoScalingGroupName"]
    yield check_of(tx, caller, "UpdateAutoScalingGroup", name, _asked(params))
    group = tx.get(ScalingGroup, name=name)
    if group is not None:
        yield from _check_launch(tx, caller, params, group)


_PLACES = ("VPCZoneIdentifier", "AvailabilityZones", "AvailabilityZoneIds")


def _check_launch(tx: Tx, caller: Caller, params: Settings, group: ScalingGroup) -> Iterator[Check]:
    """All that the group can launch after a request that changes what it launches, or where: each of its types on each
    market in each of its subnets, and an override may have a template of its own, with another role."""
    if not any(params.get(name) for name in ("LaunchTemplate", "MixedInstancesPolicy", *_PLACES)):
        return
    try:
        changed, place = _with_settings(tx, caller, params, group), _place(tx, caller, params)
    except ServiceError:
        # Nothing is launched: the handler refuses the request.
        return
    for wanted in scaling_mixed.launches(place.given_to(changed) if place else changed):
        yield from launch_check.of_launch(tx, caller, request(tx, wanted))


def _asked(params: Settings) -> Context:
    context = asked_sizes(params)
    if params.get("VPCZoneIdentifier"):
        context["autoscaling:VPCZoneIdentifiers"] = tuple(params["VPCZoneIdentifier"].split(","))
    if params.get("LaunchConfigurationName"):
        context["autoscaling:LaunchConfigurationName"] = params["LaunchConfigurationName"]
    mixed = params.get("MixedInstancesPolicy", {}).get("LaunchTemplate", {})
    overrides = mixed.get("Overrides") or []
    if types := tuple(one["InstanceType"] for one in overrides if "InstanceType" in one):
        context["autoscaling:InstanceTypes"] = types
    if images := tuple(one["ImageId"] for one in overrides if "ImageId" in one):
        context["autoscaling:ImageId"] = images
    specs = [params.get("LaunchTemplate"), *(one.get("LaunchTemplateSpecification") for one in (mixed, *overrides))]
    if any(specs):
        # `$Latest` and `$Default` are another version tomorrow.
        specified = all(is_number(spec.get("Version", "")) for spec in specs if spec)
        context["autoscaling:LaunchTemplateVersionSpecified"] = "true" if specified else "false"
    return context


_TEMPLATE = "LaunchTemplate.LaunchTemplateId LaunchTemplate.LaunchTemplateName LaunchTemplate.Version"

_SETTINGS = (
    f"{GROUP} {_TEMPLATE} LaunchConfigurationName MinSize MaxSize DesiredCapacity DefaultCooldown AvailabilityZones "
    "AvailabilityZoneIds VPCZoneIdentifier HealthCheckGracePeriod TerminationPolicies NewInstancesProtectedFromScaleIn "
    f"ServiceLinkedRoleARN Context DefaultInstanceWarmup CapacityRebalance {scaling_mixed.TAKES} " + " ".join(NEUTRAL)
)

_HOOKS = below("LifecycleHookSpecificationList", scaling_hook.SPEC)


OPERATIONS = (
    writes("CreateAutoScalingGroup", create, f"{_SETTINGS} InstanceId {TAG_MEMBERS} {_HOOKS}", check_create),
    writes("UpdateAutoScalingGroup", update, _SETTINGS, check_update),
    writes("DeleteAutoScalingGroup", delete, f"{GROUP} ForceDelete"),
    reads("DescribeAutoScalingGroups", describe, f"AutoScalingGroupNames IncludeInstances {FILTERS} {PAGES}"),
    writes("SetDesiredCapacity", set_desired, f"{GROUP} DesiredCapacity HonorCooldown"),
    writes("SuspendProcesses", suspend, f"{GROUP} ScalingProcesses"),
    writes("ResumeProcesses", resume, f"{GROUP} ScalingProcesses"),
    reads("DescribeScalingProcessTypes", process_types),
    reads("DescribeTerminationPolicyTypes", termination_policy_types),
    reads("DescribeAccountLimits", account_limits),
)
