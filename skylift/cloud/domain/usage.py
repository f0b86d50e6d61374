"""The noun of resources that are paid for by time: a resource as it was from one moment to another."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal


@dataclass(frozen=True)
class Usage:
    """A span in which a resource cost the same by the hour; `ended` is None while it goes on.

    An instance is one from `running` to whatever follows, a volume, an Elastic IP and a dedicated host as long as the
    account has it, another public address (`address`, by its interface) as long as it is held. A change of what is paid
    for ends one span and begins another with the same `began`: together they are one start, of which AWS bills a
    minute at least. `type` is that of the instance or volume, or the family of the host; `quantity` is GiB for a
    volume. `instance_id` says whose volume or address it was. `reason` is the instance's state reason at the end. The
    tags are those that it had last.
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
