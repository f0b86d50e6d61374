"""The rows of this folder's operations: each stands below its handler."""

from __future__ import annotations

from skylift.cloud.services.api.operation import Operation
from skylift.cloud.services.ssm import (
    parameter,
    parameter_put,
)

OPERATIONS: tuple[Operation, ...] = (
    *parameter.OPERATIONS,
    *parameter_put.OPERATIONS,
)
