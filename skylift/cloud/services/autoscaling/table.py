"""The rows of this folder's operations: each stands below its handler."""

from __future__ import annotations

from skylift.cloud.services.api.operation import Operation
from skylift.cloud.services.autoscaling import (
    empty_listings,
    launch_configuration,
    scaling_activity,
    scaling_group,
    scaling_hook,
    scaling_instance,
    scaling_metric,
    scaling_policy,
    scaling_schedule,
    scaling_tag,
)

OPERATIONS: tuple[Operation, ...] = (
    *empty_listings.OPERATIONS,
    *launch_configuration.OPERATIONS,
    *scaling_activity.OPERATIONS,
    *scaling_group.OPERATIONS,
    *scaling_hook.OPERATIONS,
    *scaling_instance.OPERATIONS,
    *scaling_metric.OPERATIONS,
    *scaling_policy.OPERATIONS,
    *scaling_schedule.OPERATIONS,
    *scaling_tag.OPERATIONS,
)
