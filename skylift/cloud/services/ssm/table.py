"""The rows of this folder's operations: each stands below its handler."""

from __future__ import annotations

from skylift.cloud.services.api.operation import Operation
from skylift.cloud.services.ssm import (
    command,
    command_view,
    managed_instance,
    parameter,
    parameter_label,
    parameter_put,
)

OPERATIONS: tuple[Operation, ...] = (
    *command.OPERATIONS,
    *command_view.OPERATIONS,
    *managed_instance.OPERATIONS,
    *parameter.OPERATIONS,
    *parameter_label.OPERATIONS,
    *parameter_put.OPERATIONS,
)
