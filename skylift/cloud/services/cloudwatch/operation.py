"""How a row of CloudWatch is made."""

from __future__ import annotations

from skylift.cloud.services.api.operation import Rows

DIMENSIONS = "Dimensions.Name Dimensions.Value"

_ROWS = Rows("cloudwatch", "cloudwatch")
reads, writes = _ROWS.reads, _ROWS.writes
