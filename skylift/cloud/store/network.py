"""Where the nouns of a VPC are kept, and the questions about them that need SQL."""

from __future__ import annotations

from skylift.cloud.network import (
    Address,
    InternetGateway,
    NatGateway,
    NetworkAcl,
    NetworkInterface,
    RouteTable,
    SecurityGroup,
    Subnet,
    Vpc,
)
from skylift.cloud.store.database import Tx
from skylift.cloud.store.mapping import table

table(Vpc, "vpcs", key=("id",))
table(Subnet, "subnets", key=("id",))
table(InternetGateway, "internet_gateways", key=("id",))
table(RouteTable, "route_tables", key=("id",))
table(SecurityGroup, "security_groups", key=("id",))
table(NetworkInterface, "network_interfaces", key=("id",))
table(Address, "addresses", key=("id",))
table(NatGateway, "nat_gateways", key=("id",))
table(NetworkAcl, "network_acls", key=("id",))


def private_ips(tx: Tx, subnet_id: str) -> set[str]:
    """The addresses that interfaces in this subnet have."""
    rows = tx.execute("SELECT private_ip FROM network_interfaces WHERE subnet_id = ?", subnet_id)
    return {row[0] for row in rows}


def public_ips(tx: Tx) -> set[str]:
    """All public addresses that somebody has: interfaces, and the account itself."""
    rows = tx.execute(
        "SELECT public_ip FROM network_interfaces WHERE public_ip IS NOT NULL UNION SELECT public_ip FROM addresses"
    )
    return {row[0] for row in rows}


def interfaces_per_subnet(tx: Tx) -> dict[str, int]:
    return dict(tx.execute("SELECT subnet_id, count(*) FROM network_interfaces GROUP BY subnet_id").fetchall())


def group_names(tx: Tx) -> dict[str, str]:
    """Name by id of every security group, without reading their rules."""
    return dict(tx.execute("SELECT id, name FROM security_groups").fetchall())


def elastic_ip(tx: Tx, interface_id: str) -> Address | None:
    """The Elastic IP that is associated with an interface."""
    return tx.get(Address, interface_id=interface_id)


def remove_interface(tx: Tx, interface: NetworkInterface) -> None:
    """Delete an interface; the Elastic IP that it had stays the account's."""
    address = elastic_ip(tx, interface.id)
    if address is not None:
        tx.save(address.free())
    tx.remove(interface)


def elastic_ips(tx: Tx) -> dict[str, Address]:
    """Every associated Elastic IP, by the id of its interface."""
    return {one.interface_id: one for one in tx.find(Address) if one.interface_id}


def primary_interface(tx: Tx, instance_id: str) -> NetworkInterface | None:
    """The interface that an instance was launched with."""
    return tx.get(NetworkInterface, instance_id=instance_id, index=0)
