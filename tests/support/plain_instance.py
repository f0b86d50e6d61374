"""An instance as any launch makes it, for tests that look at something else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from skylift.cloud.domain.instance import Instance

LAUNCHED = datetime(2026, 1, 1, tzinfo=UTC)


def plain_instance(**changes: Any) -> Instance:
    return replace(
        Instance(
            id="i-1",
            reservation_id="r-1",
            launch_index=0,
            image_id="ami-1",
            type="t3.micro",
            zone="us-east-1a",
            vpc_id="vpc-1",
            subnet_id="subnet-1",
            launched=LAUNCHED,
            uid_base=1_000_000_000,
        ),
        **changes,
    )
