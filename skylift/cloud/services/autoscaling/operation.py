"""How a row of Auto Scaling is made."""

from __future__ import annotations

from skylift.cloud.services.api.operation import Checks, Handler, Operation
from skylift.cloud.services.autoscaling.scaling_rules import anything, on_group

PAGES = "MaxRecords NextToken"
GROUP = "AutoScalingGroupName"
FILTERS = "Filters.Name Filters.Values"


def reads(name: str, handler: Handler, takes: str = "") -> Operation:
    return Operation("autoscaling", name, handler, frozenset(takes.split()), anything(name), writes=False)


def writes(name: str, handler: Handler, takes: str, checks: Checks | None = None) -> Operation:
    """Without `checks`, on the group that is named."""
    return Operation("autoscaling", name, handler, frozenset(takes.split()), checks or on_group(name), writes=True)
