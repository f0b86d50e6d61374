"""The noun of resources that are paid for by time: a resource as it was from one moment to another."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal


@dataclass(frozen=True)
class Usage:
    """A span in which a resource cost the same by the hour; `ended` is None while it goes on.

    An instance's span is its time in the state `running`. A span of a volume, an Elastic IP or a dedicated host lasts
    while the account has it, of another public address (`address`, by its interface) while it is held. A change of the
    price ends one span and begins another with the same `began`: together they are one start, for which AWS bills a
    minute at least. `type` is the instance's or volume's type, or the host's family; `quantity` is a volume's GiB.
    `instance_id` is the instance that had the volume or address. `reason` is the instance's state reason at the end.
    The tags are the last ones that it had.
    """

    number: int
    resource_id: str
    kind: Literal["instance", "volume", "address", "host"]
    began: datetime
    started: datetime
    ended: datetime | None = None
    type: str = ""
    zone: str = ""
    quantity: int = 1
    iops: int | None = None
    throughput: int | None = None
    market: Literal["on-demand", "spot"] = "on-demand"
    tenancy: Literal["default", "dedicated", "host"] = "default"
    host_id: str | None = None
    instance_id: str | None = None
    reason: str = ""
    tags: dict[str, str] = field(default_factory=dict)
