"""The state that loops ask compute to bring about, in the nouns of the cloud."""

from __future__ import annotations

from dataclasses import dataclass

from skylift.cloud.domain.network import (
    NatGateway,
    NetworkAcl,
    NetworkInterface,
    RouteTable,
    SecurityGroup,
    Subnet,
    Vpc,
)


@dataclass(frozen=True)
class Peer:
    """Another VPC that is joined to one, by the id of their peering connection. `cidrs` are its ranges."""

    id: str
    vpc_id: str
    cidrs: tuple[str, ...]


@dataclass(frozen=True)
class VpcPlan:
    """One VPC whole: everything that decides how a packet in it is treated.

    `interfaces` are servers' alone; what a NAT gateway is made of stands in `nat_gateways`.
    """

    vpc: Vpc
    subnets: tuple[Subnet, ...] = ()
    internet_gateway: str | None = None
    route_tables: tuple[RouteTable, ...] = ()
    groups: tuple[SecurityGroup, ...] = ()
    interfaces: tuple[NetworkInterface, ...] = ()
    nat_gateways: tuple[NatGateway, ...] = ()
    acls: tuple[NetworkAcl, ...] = ()
    peers: tuple[Peer, ...] = ()
