"""How a row of Auto Scaling is made."""

from __future__ import annotations

from skylift.cloud.services.api.operation import Checks, Handler, Operation, Rows
from skylift.cloud.services.autoscaling.scaling_rules import on_group

PAGES = "MaxRecords NextToken"
GROUP = "AutoScalingGroupName"
FILTERS = "Filters.Name Filters.Values"


_ROWS = Rows("autoscaling", "autoscaling")
reads = _ROWS.reads


def writes(name: str, handler: Handler, takes: str, checks: Checks | None = None) -> Operation:
    """Without `checks`, on the group that is named."""
    return _ROWS.writes(name, handler, takes, checks or on_group(name))
