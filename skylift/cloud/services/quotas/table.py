"""The rows of this folder's operations: each stands below its handler."""

from __future__ import annotations

from skylift.cloud.services.api.operation import Operation
from skylift.cloud.services.quotas import quota

OPERATIONS: tuple[Operation, ...] = (*quota.OPERATIONS,)
