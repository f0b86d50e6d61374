"""The rows of this folder's operations: each stands below its handler."""

from __future__ import annotations

from skylift.cloud.services.api.operation import Operation
from skylift.cloud.services.cloudwatch import (
    alarm,
    alarm_history,
    metric,
    metric_data,
)

OPERATIONS: tuple[Operation, ...] = (
    *alarm.OPERATIONS,
    *alarm_history.OPERATIONS,
    *metric.OPERATIONS,
    *metric_data.OPERATIONS,
)
