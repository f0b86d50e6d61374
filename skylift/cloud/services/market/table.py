"""The rows of this folder's operations: each stands below its handler."""

from __future__ import annotations

from skylift.cloud.services.api.operation import Operation
from skylift.cloud.services.market import (
    bill,
    fleet,
    fleet_view,
    interruption,
    market_setting,
    reserved,
    spot_history,
    spot_request,
)

OPERATIONS: tuple[Operation, ...] = (
    *bill.OPERATIONS,
    *fleet.OPERATIONS,
    *fleet_view.OPERATIONS,
    *interruption.OPERATIONS,
    *market_setting.OPERATIONS,
    *reserved.OPERATIONS,
    *spot_history.OPERATIONS,
    *spot_request.OPERATIONS,
)
