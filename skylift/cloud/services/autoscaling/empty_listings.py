"""What no group has here: load balancers, instance refreshes, notifications. Clients that describe a group whole ask.

Making any of them is refused by name.
"""

from __future__ import annotations

from dataclasses import dataclass

from skylift.cloud.domain.identity import Caller
from skylift.cloud.services.api.operation import Answer, Params
from skylift.cloud.services.autoscaling.operation import GROUP, PAGES, reads
from skylift.cloud.services.autoscaling.scaling_rules import PagedRules, page, require_group
from skylift.cloud.store.database import Tx


@dataclass(frozen=True)
class EmptyGroupListing:
    """One such list: the operation, the member of the answer, and what it takes besides pages."""

    operation: str
    member: str
    takes: str = GROUP

    def describe(self, tx: Tx, _caller: Caller, params: PagedRules) -> Answer:
        """Raises for a group that does not exist, and for a page that cannot be."""
        given: Params = params
        named = [given[GROUP]] if GROUP in given else given.get("AutoScalingGroupNames") or []
        for name in named:
            require_group(tx, name)
        page(params, [], str)
        return {self.member: []}


ABSENT = (
    EmptyGroupListing("DescribeLoadBalancers", "LoadBalancers"),
    EmptyGroupListing("DescribeLoadBalancerTargetGroups", "LoadBalancerTargetGroups"),
    EmptyGroupListing("DescribeTrafficSources", "TrafficSources", f"{GROUP} TrafficSourceType"),
    EmptyGroupListing("DescribeInstanceRefreshes", "InstanceRefreshes"),
    EmptyGroupListing("DescribeNotificationConfigurations", "NotificationConfigurations", "AutoScalingGroupNames"),
)

OPERATIONS = (*(reads(one.operation, one.describe, f"{one.takes} {PAGES}") for one in ABSENT),)
