"""The common part of Auto Scaling's operations: refusals, names, pages, and whom to ask for permission.

https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2autoscaling.html
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NotRequired, TypedDict, TypeVar

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.scaling_group import ScalingGroup, ScalingMember
from skylift.cloud.services.api.operation import Check, Checks, Params
from skylift.cloud.services.api.page_token import Next, after, leads_to
from skylift.cloud.services.api.scaling_check import check_of
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import autoscaling

PAGE = 50
MOST = 100

Context = dict[str, str | tuple[str, ...]]
T = TypeVar("T")


class PagedRules(TypedDict):
    """The members of a request that is answered in pages."""

    MaxRecords: NotRequired[int]
    NextToken: NotRequired[str]


def invalid(message: str) -> ServiceError:
    return ServiceError("ValidationError", message)


def require_group(tx: Tx, name: str) -> ScalingGroup:
    """The group of this name, one that is being deleted included."""
    group = tx.get(ScalingGroup, name=name)
    if group is None:
        raise invalid(f"AutoScalingGroup name not found - AutoScalingGroup {name} not found")
    return group


def changeable_group(tx: Tx, name: str) -> ScalingGroup:
    group = require_group(tx, name)
    if group.deleting:
        raise ServiceError("ScalingActivityInProgress", f"AutoScalingGroup {name} is pending delete")
    return group


def require_member(tx: Tx, group: str | None, instance_id: str) -> ScalingMember:
    found = tx.get(ScalingMember, instance_id=instance_id)
    if found is None or group not in (None, found.group):
        if group is None:
            raise invalid(f"Instance Id not found - No managed instance found for instance ID {instance_id}")
        raise invalid(f"The instance {instance_id} is not part of Auto Scaling group {group}.")
    return found


def require_members(tx: Tx, group: ScalingGroup, ids: list[str]) -> list[ScalingMember]:
    return [require_member(tx, group.name, one) for one in dict.fromkeys(ids)]


def page(
    params: PagedRules, items: list[T], key: Callable[[T], str], size: int = PAGE, most: int = MOST
) -> tuple[list[T], Next]:
    """The items of a page, in their order, and the member that leads to the next. A token names its last item.

    That one may be gone by then: where the order is that of the keys, the page begins where it would be.
    """
    wanted = params.get("MaxRecords", size)
    if not 1 <= wanted <= most:
        raise invalid(f"The number of records must be between 1 and {most}")
    last, start = after(params), 0
    if last:
        keys = [key(item) for item in items]
        if last in keys:
            start = keys.index(last) + 1
        elif keys == sorted(keys):
            start = bisect(keys, last)
        else:
            raise ServiceError("InvalidNextToken", "The token is no longer valid")
    chosen = items[start : start + wanted]
    return chosen, leads_to(key(chosen[-1])) if start + wanted < len(items) else {}


def on_group(action: str) -> Checks:
    """Operations on the group that `AutoScalingGroupName` names."""
    return lambda tx, caller, params: [
        check_of(tx, caller, action, params["AutoScalingGroupName"], asked)
        for asked in map(asked_sizes, params.get("ScheduledUpdateGroupActions") or [params])
    ]


def asked_sizes(params: Params) -> Context:
    """The keys of what a request asks for, by the members of that name."""
    asked = {name: str(params[name]).lower() for name in ("MinSize", "MaxSize", "ForceDelete") if name in params}
    return {f"autoscaling:{name}": value for name, value in asked.items()}


def on_instances_group(action: str) -> Checks:
    """Operations on an instance, authorised on the group that it is in."""

    def checks(tx: Tx, caller: Caller, params: Params) -> Iterator[Check]:
        member = tx.get(ScalingMember, instance_id=params["InstanceId"]) if params.get("InstanceId") else None
        yield check_of(tx, caller, action, member.group if member else "*")

    return checks


def tag_context(pairs: list[autoscaling.Tag]) -> Context:
    context: Context = {f"aws:RequestTag/{pair['Key']}": pair.get("Value", "") for pair in pairs}
    return {**context, "aws:TagKeys": tuple(pair["Key"] for pair in pairs)} if pairs else {}
