"""Condition keys of the resource of a check: the tags that it has, and what AWS documents for its type.

Every check gets them here, from the ARN that it names, so that no operation can leave them out.
"""

from __future__ import annotations

from typing import Any

from skylift.cloud.domain.alarm import Alarm
from skylift.cloud.domain.identity import Caller, InstanceProfile, ManagedPolicy, MfaDevice, OidcProvider, Role, User
from skylift.cloud.domain.instance import KeyPair
from skylift.cloud.domain.network import RuleTags
from skylift.cloud.domain.placement_group import PlacementGroup
from skylift.cloud.domain.scaling_group import ScalingGroup
from skylift.cloud.domain.schedule import ScheduleGroup
from skylift.cloud.services.api.condition_key import Context, of_type
from skylift.cloud.services.api.resource import KINDS
from skylift.cloud.store.database import Tx
from skylift.cloud.store.network import rule_tags
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
    tags = {tag.key: tag.value for tag in row.tags} if isinstance(row, ScalingGroup) else row.tags
    for prefix in ("aws", vendor) if vendor else ("aws",):
        context |= {f"{prefix}:ResourceTag/{key}": value for key, value in tags.items()}
    return context | of_type(tx, caller, row) if vendor == "ec2" else context


def row_of(tx: Tx, caller: Caller, resource: str) -> Any:
    """What an ARN of this region and account names; None where it names nothing that is there and can have tags.

    Names may have colons and slashes in them: an ARN is read from its beginning.
    """
    _, _, service, region, account, rest = [*resource.split(":", 5), "", "", "", "", ""][:6]
    if region not in ("", caller.region) or account not in ("", caller.account):
        return None
    kind, _, name = rest.partition(":" if service in ("autoscaling", "cloudwatch") else "/")
    match service, kind:
        case "ec2", "security-group-rule":
            return RuleTags(name, "", rule_tags(tx, name))
        case "ssm", "parameter":
            return parameter_named(tx, f"/{name}")
        case "scheduler", "schedule":
            # It has no tags of its own: a policy asks about those of its group.
            name = name.partition("/")[0]
        case "autoscaling", "autoScalingGroup":
            name = name.partition(":")[2].removeprefix("autoScalingGroupName/")
    noun, column = _NOUNS.get((service, kind), (None, ""))
    return tx.get(noun, **{column: resource if service == "iam" else name}) if noun else None


_NOUNS: dict[tuple[str, str], tuple[type[Any], str]] = {
    **{("ec2", kind.type): (kind.noun, "id") for kind in KINDS},
    ("ec2", "key-pair"): (KeyPair, "name"),
    ("ec2", "placement-group"): (PlacementGroup, "name"),
    ("autoscaling", "autoScalingGroup"): (ScalingGroup, "name"),
    ("cloudwatch", "alarm"): (Alarm, "name"),
    ("iam", "instance-profile"): (InstanceProfile, "arn"),
    ("iam", "mfa"): (MfaDevice, "serial"),
    ("iam", "oidc-provider"): (OidcProvider, "arn"),
    ("iam", "policy"): (ManagedPolicy, "arn"),
    ("iam", "role"): (Role, "arn"),
    ("iam", "user"): (User, "arn"),
    ("scheduler", "schedule"): (ScheduleGroup, "name"),
    ("scheduler", "schedule-group"): (ScheduleGroup, "name"),
}
"""By service and type: the noun, and its column that has the name, or for IAM the whole ARN."""
