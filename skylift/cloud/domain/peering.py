"""A peering connection between two VPCs. Each may have routes into the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

State = Literal["pending-acceptance", "provisioning", "active", "deleting", "deleted", "rejected", "failed", "expired"]

JOINED: tuple[State, ...] = ("provisioning", "active")
"""In these states the kernel has the connection, or is about to have it."""


@dataclass(frozen=True)
class Peering:
    """`provisioning` until the kernel has it, `deleting` until it has not. `ended` is when it was over.

    The ranges are those that the VPCs had then: they are described also when a VPC is gone.
    """

    id: str
    requester_vpc_id: str
    requester_cidrs: tuple[str, ...]
    accepter_vpc_id: str
    accepter_cidrs: tuple[str, ...]
    created: datetime
    state: State = "pending-acceptance"
    ended: datetime | None = None
    tags: dict[str, str] = field(default_factory=dict)

    def other(self, vpc_id: str) -> str:
        """The VPC at the other end."""
        return self.accepter_vpc_id if vpc_id == self.requester_vpc_id else self.requester_vpc_id

    @property
    def vpc_ids(self) -> tuple[str, str]:
        return self.requester_vpc_id, self.accepter_vpc_id
