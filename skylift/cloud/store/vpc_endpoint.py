"""Where VPC endpoints are kept."""

from __future__ import annotations

from skylift.cloud.domain.vpc_endpoint import VpcEndpoint
from skylift.cloud.store.mapping import table

table(VpcEndpoint, "vpc_endpoints", key=("id",), read_often=True)
