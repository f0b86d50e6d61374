"""Where peering connections are kept."""

from __future__ import annotations

from skylift.cloud.domain.peering import JOINED, Peering
from skylift.cloud.store.database import Tx
from skylift.cloud.store.mapping import table

table(Peering, "vpc_peerings", key=("id",))


def of_vpc(tx: Tx, vpc_id: str) -> list[Peering]:
    """The peering connections that a VPC has at either end, whatever their state."""
    return tx.select(Peering, "WHERE requester_vpc_id = ?1 OR accepter_vpc_id = ?1 ORDER BY rowid", vpc_id)


def joined(tx: Tx) -> list[Peering]:
    """The peering connections that packets pass, or are about to pass."""
    return [one for state in JOINED for one in tx.find(Peering, state=state)]


def connection_between(tx: Tx, vpc_id: str, other: str) -> Peering | None:
    """The peering connection that joins two VPCs now."""
    return next((one for one in of_vpc(tx, vpc_id) if one.state in JOINED and one.other(vpc_id) == other), None)
