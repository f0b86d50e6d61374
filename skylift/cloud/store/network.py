"""Where the nouns of a VPC are kept, and the questions about them that need SQL."""

from __future__ import annotations

from skylift.cloud.network import InternetGateway, NetworkInterface, RouteTable, SecurityGroup, Subnet, Vpc
from skylift.cloud.store.database import Tx
from skylift.cloud.store.mapping import table

table(Vpc, "vpcs", key=("id",))
table(Subnet, "subnets", key=("id",))
table(InternetGateway, "internet_gateways", key=("id",))
table(RouteTable, "route_tables", key=("id",))
table(SecurityGroup, "security_groups", key=("id",))
table(NetworkInterface, "network_interfaces", key=("id",))


def private_ips(tx: Tx, subnet_id: str) -> set[str]:
    """The addresses that interfaces in this subnet have."""
    rows = tx.execute("SELECT private_ip FROM network_interfaces WHERE subnet_id = ?", subnet_id)
    return {row[0] for row in rows}


def public_ips(tx: Tx) -> set[str]:
    """All public addresses that are in use."""
    rows = tx.execute("SELECT public_ip FROM network_interfaces WHERE public_ip IS NOT NULL")
    return {row[0] for row in rows}


def interfaces_per_subnet(tx: Tx) -> dict[str, int]:
    return dict(tx.execute("SELECT subnet_id, count(*) FROM network_interfaces GROUP BY subnet_id").fetchall())


def group_names(tx: Tx) -> dict[str, str]:
    """Name by id of every security group, without reading their rules."""
    return dict(tx.execute("SELECT id, name FROM security_groups").fetchall())
