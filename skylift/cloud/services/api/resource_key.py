"""Condition keys of the resource of a check: the tags that it has, and what AWS documents for its type.

Every check gets them here, from the ARN that it names, so that no operation can leave them out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from skylift.cloud.domain.alarm import Alarm
from skylift.cloud.domain.identity import Caller, InstanceProfile, ManagedPolicy, MfaDevice, OidcProvider, Role, User
from skylift.cloud.domain.instance import KeyPair
from skylift.cloud.domain.placement_group import PlacementGroup
from skylift.cloud.domain.scaling_group import ScalingGroup
from skylift.cloud.domain.schedule import ScheduleGroup
from skylift.cloud.services.api.condition_key import Context, of_type
from skylift.cloud.services.api.resource import KINDS, SECURITY_GROUP_RULE
from skylift.cloud.services.api.tag import group_with_rule
from skylift.cloud.store.database import Tx
from skylift.cloud.store.parameter import parameter_named

_VENDORS = {
    "autoscaling": "autoscaling",
    "ec2": "ec2",
    "ec2-instance-connect": "ec2",
    "iam": "iam",
    "skylift": "ec2",
    "ssm": "ssm",
    "sts": "iam",
}
"""Whose `ResourceTag` there is besides that of `aws:`, by the service of an action. Other services have none."""


def of_resource(tx: Tx, caller: Caller, action: str, resource: str) -> Context:
    """The keys of a resource that is there. One that is yet to be made (`instance/*`) has none but the region."""
    vendor = _VENDORS.get(action.partition(":")[0])
    context: Context = {"ec2:Region": caller.region} if vendor == "ec2" else {}
    row = row_of(tx, caller, resource)
    if row is None:
        return context
    for prefix in ("aws", vendor) if vendor else ("aws",):
        context |= {f"{prefix}:ResourceTag/{key}": value for key, value in tags_of(row).items()}
    return context | of_type(tx, caller, row) if vendor == "ec2" else context


def row_of(tx: Tx, caller: Caller, resource: str) -> Any:
    """What an ARN of this region and account names; None where it names nothing that is there and can have tags.

    Names may have colons and slashes in them: an ARN is read from its beginning.
    """
    _, _, service, region, account, rest = [*resource.split(":", 5), "", "", "", "", ""][:6]
    if region not in ("", caller.region) or account not in ("", caller.account):
        return None
    kind, _, name = rest.partition(":" if service in ("autoscaling", "cloudwatch") else "/")
    find = _FINDERS.get((service, kind))
    return find(tx, name, resource) if find else None


def tags_of(row: Any) -> Mapping[str, str]:
    tags: Mapping[str, str] = {tag.key: tag.value for tag in row.tags} if isinstance(row, ScalingGroup) else row.tags
    return tags


_Find = Callable[[Tx, str, str], Any]
"""Finds a row by what stands behind the kind in an ARN, or by the whole ARN."""


def _by(noun: type[Any], column: str) -> _Find:
    return lambda tx, name, _arn: tx.get(noun, **{column: name})


def _by_arn(noun: type[Any], column: str = "arn") -> _Find:
    return lambda tx, _name, arn: tx.get(noun, **{column: arn})


def _rule(tx: Tx, name: str, _arn: str) -> Any:
    found = group_with_rule(tx, name)
    return found[1] if found else None


def _scaling_group(tx: Tx, name: str, _arn: str) -> ScalingGroup | None:
    return tx.get(ScalingGroup, name=name.partition(":")[2].removeprefix("autoScalingGroupName/"))


def _group_of_schedule(tx: Tx, name: str, _arn: str) -> ScheduleGroup | None:
    """A schedule has no tags of its own: a policy asks about those of its group."""
    return tx.get(ScheduleGroup, name=name.partition("/")[0])


_FINDERS: dict[tuple[str, str], _Find] = {
    **{("ec2", kind.type): _by(kind.noun, "id") for kind in KINDS},
    ("ec2", "key-pair"): _by(KeyPair, "name"),
    ("ec2", "placement-group"): _by(PlacementGroup, "name"),
    ("ec2", SECURITY_GROUP_RULE): _rule,
    ("autoscaling", "autoScalingGroup"): _scaling_group,
    ("cloudwatch", "alarm"): _by(Alarm, "name"),
    ("iam", "instance-profile"): _by_arn(InstanceProfile),
    ("iam", "mfa"): _by_arn(MfaDevice, "serial"),
    ("iam", "oidc-provider"): _by_arn(OidcProvider),
    ("iam", "policy"): _by_arn(ManagedPolicy),
    ("iam", "role"): _by_arn(Role),
    ("iam", "user"): _by_arn(User),
    ("scheduler", "schedule"): _group_of_schedule,
    ("scheduler", "schedule-group"): _by(ScheduleGroup, "name"),
    ("ssm", "parameter"): lambda tx, name, _arn: parameter_named(tx, f"/{name}"),
}
