"""How a row of Systems Manager is made."""

from __future__ import annotations

from skylift.cloud.services.api.operation import Rows

PAGES = "MaxResults NextToken"
FILTERS = "ParameterFilters.Key ParameterFilters.Option ParameterFilters.Values"

_ROWS = Rows("ssm", "ssm")
reads, writes = _ROWS.reads, _ROWS.writes
