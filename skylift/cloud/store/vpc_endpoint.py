"""Where VPC endpoints are kept."""

from __future__ import annotations

from skylift.cloud.store.mapping import table
from skylift.cloud.vpc_endpoint import VpcEndpoint

table(VpcEndpoint, "vpc_endpoints", key=("id",))
