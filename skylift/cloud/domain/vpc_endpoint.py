"""The noun of VPC endpoints: a way from a VPC to S3 that does not lead over the internet."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime


def s3_service(region: str) -> str:
    """The name of the service that gateway endpoints lead to here."""
    return f"com.amazonaws.{region}.s3"


@dataclass(frozen=True)
class VpcEndpoint:
    """A gateway endpoint for S3. `policy` says what may pass it.

    Which subnets use it stands in the route tables that have a route to it, by the prefix list of its service.
    """

    id: str
    vpc_id: str
    service: str
    policy: str
    created: datetime
    tags: dict[str, str] = field(default_factory=dict)
