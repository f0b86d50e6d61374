"""What no group has here: load balancers, instance refreshes, notifications. Clients that describe a group whole ask.

Making any of them is refused by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from skylift.cloud.domain.identity import Caller
from skylift.cloud.services.autoscaling.operation import GROUP, PAGES, reads
from skylift.cloud.services.autoscaling.scaling_rules import Paged, page, require_group
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import autoscaling


def load_balancers(
    tx: Tx, _caller: Caller, params: autoscaling.DescribeLoadBalancersRequest
) -> autoscaling.DescribeLoadBalancersResponse:
    _none(tx, params, params["AutoScalingGroupName"])
    return {"LoadBalancers": []}


def target_groups(
    tx: Tx, _caller: Caller, params: autoscaling.DescribeLoadBalancerTargetGroupsRequest
) -> autoscaling.DescribeLoadBalancerTargetGroupsResponse:
    _none(tx, params, params["AutoScalingGroupName"])
    return {"LoadBalancerTargetGroups": []}


def traffic_sources(
    tx: Tx, _caller: Caller, params: autoscaling.DescribeTrafficSourcesRequest
) -> autoscaling.DescribeTrafficSourcesResponse:
    _none(tx, params, params["AutoScalingGroupName"])
    return {"TrafficSources": []}


def instance_refreshes(
    tx: Tx, _caller: Caller, params: autoscaling.DescribeInstanceRefreshesType
) -> autoscaling.DescribeInstanceRefreshesAnswer:
    _none(tx, params, params["AutoScalingGroupName"])
    return {"InstanceRefreshes": []}


def notifications(
    tx: Tx, _caller: Caller, params: autoscaling.DescribeNotificationConfigurationsType
) -> autoscaling.DescribeNotificationConfigurationsAnswer:
    _none(tx, params, *(params.get("AutoScalingGroupNames") or []))
    return {"NotificationConfigurations": []}


def _none(tx: Tx, params: Paged, *groups: str) -> None:
    """Raises for a group that does not exist, and for a page that cannot be."""
    for name in groups:
        require_group(tx, name)
    page(params, [], str)


OPERATIONS = (
    reads("DescribeLoadBalancers", load_balancers, f"{GROUP} {PAGES}"),
    reads("DescribeLoadBalancerTargetGroups", target_groups, f"{GROUP} {PAGES}"),
    reads("DescribeTrafficSources", traffic_sources, f"{GROUP} TrafficSourceType {PAGES}"),
    reads("DescribeInstanceRefreshes", instance_refreshes, f"{GROUP} {PAGES}"),
    reads("DescribeNotificationConfigurations", notifications, f"AutoScalingGroupNames {PAGES}"),
)
