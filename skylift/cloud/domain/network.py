"""Nouns of a VPC: what a user intends; the kernel is made to agree by loops and compute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from typing import Literal

SERVICES = "169.254.169.252"
"""Servers reach the endpoint of AWS's services at this address."""

AMAZON_DNS = "AmazonProvidedDNS"
"""DHCP options call a VPC's own name server by this name."""


def private_domain(region: str) -> str:
    """`ec2.internal` in us-east-1, `REGION.compute.internal` elsewhere."""
    return "ec2.internal" if region == "us-east-1" else f"{region}.compute.internal"


def private_dns_name(address: str, region: str) -> str:
    """`ip-10-0-1-5.ec2.internal`"""
    return f"ip-{address.replace('.', '-')}.{private_domain(region)}"


@dataclass(frozen=True)
class CidrBlock:
    """A further address range of a VPC. `id` is the association's."""

    id: str
    cidr: str


@dataclass(frozen=True)
class Vpc:
    """`dhcp_options_id` is `default` for one without any."""

    id: str
    cidr: str
    is_default: bool = False
    dns_support: bool = True
    dns_hostnames: bool = False
    dhcp_options_id: str = "default"
    tags: dict[str, str] = field(default_factory=dict)
    more_cidrs: tuple[CidrBlock, ...] = ()
    tenancy: Literal["default", "dedicated"] = "default"

    @property
    def cidrs(self) -> tuple[str, ...]:
        """Every range of the VPC, the one it was made with first."""
        return (self.cidr, *(one.cidr for one in self.more_cidrs))


@dataclass(frozen=True)
class Subnet:
    """The first four addresses and the last are AWS's: network, router (+1), DNS (+2), future (+3), broadcast."""

    id: str
    vpc_id: str
    cidr: str
    zone: str
    map_public_ip: bool = False
    default_for_zone: bool = False
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class InternetGateway:
    id: str
    vpc_id: str | None = None
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ToLocal:
    """Wherever in the VPC the address is."""

    def __str__(self) -> str:
        return "local"


@dataclass(frozen=True)
class ToInternetGateway:
    gateway_id: str

    def __str__(self) -> str:
        return self.gateway_id


@dataclass(frozen=True)
class ToNatGateway:
    nat_id: str

    def __str__(self) -> str:
        return self.nat_id


@dataclass(frozen=True)
class ToInterface:
    """A server that forwards packets for others. A route to an instance is kept as one to its only interface."""

    interface_id: str

    def __str__(self) -> str:
        return self.interface_id


@dataclass(frozen=True)
class ToPeering:
    peering_id: str

    def __str__(self) -> str:
        return self.peering_id


@dataclass(frozen=True)
class ToEndpoint:
    endpoint_id: str

    def __str__(self) -> str:
        return self.endpoint_id


RouteTarget = ToLocal | ToInternetGateway | ToNatGateway | ToInterface | ToPeering | ToEndpoint
"""The target of a route, which need not exist. As text it is the id, or `local`."""

_TARGETS: dict[str, Callable[[str], RouteTarget]] = {
    "igw": ToInternetGateway,
    "nat": ToNatGateway,
    "eni": ToInterface,
    "pcx": ToPeering,
    "vpce": ToEndpoint,
}


def route_target(text: str) -> RouteTarget:
    """The target that the text names. ValueError for a text that names none."""
    if text == "local":
        return ToLocal()
    made = _TARGETS.get(text.partition("-")[0])
    if made is None:
        raise ValueError(f"{text!r} is not what a route leads to")
    return made(text)


@dataclass(frozen=True)
class Route:
    """For a route of a prefix list, `cidr` is empty."""

    cidr: str
    target: RouteTarget
    origin: str = "CreateRoute"
    prefix_list_id: str | None = None

    @property
    def destination(self) -> str:
        return self.prefix_list_id or self.cidr


@dataclass(frozen=True)
class RouteAssociation:
    """Ties a table to a subnet, or to the internet gateway for what comes in by it; with neither it is the VPC's main
    table."""

    id: str
    subnet_id: str | None = None
    gateway_id: str | None = None

    @property
    def is_main(self) -> bool:
        return self.subnet_id is None and self.gateway_id is None


@dataclass(frozen=True)
class RouteTable:
    id: str
    vpc_id: str
    routes: tuple[Route, ...] = ()
    associations: tuple[RouteAssociation, ...] = ()
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def is_main(self) -> bool:
        return any(association.is_main for association in self.associations)


@dataclass(frozen=True)
class Rule:
    """One row of a security group: one protocol and port range, one peer.

    `protocol` is `tcp`, `udp`, `icmp`, `-1` (all) or a number. For ICMP `from_port` is the type and `to_port` the
    code, -1 meaning any. Exactly one of `cidr`, `cidr6`, `group_id` and `prefix_list_id` is set.
    A group of a peered VPC comes with that VPC and the connection that leads there.
    """

    id: str
    egress: bool
    protocol: str
    from_port: int
    to_port: int
    cidr: str | None = None
    cidr6: str | None = None
    group_id: str | None = None
    description: str = ""
    prefix_list_id: str | None = None
    peer_vpc_id: str | None = None
    peering_id: str | None = None


@dataclass(frozen=True)
class RuleTags:
    """The tags of rules that got them together. They may be a thousand times as long as the rules: they are beside
    their group's row."""

    id: str
    group_id: str
    tags: dict[str, str]


@dataclass(frozen=True)
class PrefixEntry:
    cidr: str
    description: str = ""


@dataclass(frozen=True)
class PrefixList:
    """The address ranges, in the current version, that rules and routes name by one id. `owner` is `AWS` for the ranges
    of a service."""

    id: str
    name: str
    family: Literal["IPv4", "IPv6"]
    max_entries: int
    version: int
    entries: tuple[PrefixEntry, ...]
    state: Literal["create-complete", "modify-complete", "restore-complete"] = "create-complete"
    owner: Literal["self", "AWS"] = "self"
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class EarlierPrefixList:
    """What a version of a prefix list had before the next one was made."""

    id: str
    version: int
    entries: tuple[PrefixEntry, ...]


_S3_PREFIX_LISTS = {"us-east-1": "pl-63a5400a", "us-east-2": "pl-7ba54012"}
"""AWS's own ids, as far as they are on record: policies and templates contain them."""


def services_prefix_list(region: str) -> PrefixList:
    """AWS's prefix list for S3. If AWS's id for the region is not known, a constant id of the same form is used."""
    name = f"com.amazonaws.{region}.s3"
    entries = (PrefixEntry(f"{SERVICES}/32"),)
    list_id = _S3_PREFIX_LISTS.get(region) or f"pl-{sha256(name.encode()).hexdigest()[:8]}"
    return PrefixList(list_id, name, "IPv4", 1, 1, entries, owner="AWS")


@dataclass(frozen=True)
class SecurityGroup:
    id: str
    vpc_id: str
    name: str
    description: str
    rules: tuple[Rule, ...] = ()
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PrivateAddress:
    """An address of an interface, and the public one that it is translated to."""

    private_ip: str
    public_ip: str | None = None


Attachment = Literal["detached", "attaching", "attached", "changing", "detaching"]


@dataclass(frozen=True)
class NetworkInterface:
    """A connection to a subnet: a server's (`index` 0 is its `eth0`), a NAT gateway's, or one that is not attached.

    `public_ip` is a loopback address of the host, unique in the cloud, held while the server is not stopped;
    `wants_public_ip` says that a start has to get a new one. `public_ip` is an Elastic IP as long as one is associated,
    whatever the server does.

    `attachment` is intent until the loops have carried it out: `attaching` has to be plugged in if the server runs,
    `detaching` unplugged and freed. `changing` is attached, but its server does not have its new addresses yet.
    """

    id: str
    vpc_id: str
    subnet_id: str
    mac: str
    private_ip: str
    group_ids: tuple[str, ...]
    created: datetime
    public_ip: str | None = None
    wants_public_ip: bool = False
    instance_id: str | None = None
    index: int = 0
    attachment_id: str | None = None
    delete_on_termination: bool = True
    source_dest_check: bool = True
    description: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    kind: Literal["interface", "nat_gateway"] = "interface"
    secondary: tuple[PrivateAddress, ...] = ()
    attachment: Attachment = "detached"
    attached: datetime | None = None
    requester: str = ""
    """The id of who asked for it by itself; empty for the interfaces of a launch."""

    @property
    def addresses(self) -> tuple[PrivateAddress, ...]:
        """All of them, the primary one first."""
        return (PrivateAddress(self.private_ip, self.public_ip), *self.secondary)

    def at(self, private_ip: str) -> PrivateAddress | None:
        return next((one for one in self.addresses if one.private_ip == private_ip), None)

    def translated(self, private_ip: str, public_ip: str | None) -> NetworkInterface:
        """The same interface with another public address for one of its private addresses, or without one."""
        if private_ip == self.private_ip:
            return replace(self, public_ip=public_ip)
        others = (
            PrivateAddress(private_ip, public_ip) if one.private_ip == private_ip else one for one in self.secondary
        )
        return replace(self, secondary=tuple(others))

    def without_server(self) -> NetworkInterface:
        """The same interface, attached to nothing."""
        return replace(
            self,
            instance_id=None,
            attachment_id=None,
            index=0,
            wants_public_ip=False,
            attachment="detached",
            attached=None,
            delete_on_termination=False,
        )


@dataclass(frozen=True)
class DhcpOptions:
    """The DNS settings that a VPC's servers get when they boot: `domain-name` and `domain-name-servers`."""

    id: str
    configurations: dict[str, list[str]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Address:
    """An Elastic IP: a public address that the account keeps until it is released.

    While it is associated, the three fields are set, and the interface translates `private_ip` to it.
    """

    id: str
    public_ip: str
    association_id: str | None = None
    interface_id: str | None = None
    private_ip: str | None = None
    tags: dict[str, str] = field(default_factory=dict)

    def free(self) -> Address:
        """The same address, associated with nothing."""
        return replace(self, association_id=None, interface_id=None, private_ip=None)


@dataclass(frozen=True)
class ReleasedAddress:
    """A public address that the account had, and can have back as long as no other account has it."""

    public_ip: str
    at: datetime


@dataclass(frozen=True)
class NatAddress:
    """An address that a NAT gateway sends from: the public one, or the private one of a private gateway.

    `settled` once the kernel has it. With `released` it is given no new connections, and goes at that time.
    """

    private_ip: str
    public_ip: str | None = None
    allocation_id: str | None = None
    association_id: str | None = None
    settled: bool = False
    released: datetime | None = None

    @property
    def seen(self) -> str:
        return self.public_ip or self.private_ip


@dataclass(frozen=True)
class NatGateway:
    """The way out of subnets whose servers have no public addresses. Their packets have `public_ip`, or `secondary`
    addresses, as their source. A private gateway leads to peered VPCs instead, which see `private_ip`.

    It is `pending` until the kernel has it, `deleting` until the kernel has not. It is remembered for an hour then.
    """

    id: str
    vpc_id: str
    subnet_id: str
    interface_id: str
    private_ip: str
    public_ip: str | None
    allocation_id: str | None
    association_id: str | None
    created: datetime
    state: Literal["pending", "available", "deleting", "deleted"] = "pending"
    deleted: datetime | None = None
    tags: dict[str, str] = field(default_factory=dict)
    connectivity: Literal["public", "private"] = "public"
    secondary: tuple[NatAddress, ...] = ()

    @property
    def addresses(self) -> tuple[NatAddress, ...]:
        """All of them, the primary one first."""
        first = NatAddress(
            self.private_ip, self.public_ip, self.allocation_id, self.association_id, self.state != "pending"
        )
        return (first, *self.secondary)

    @property
    def sources(self) -> tuple[str, ...]:
        """What new connections are sent from."""
        return tuple(one.seen for one in self.addresses if one.released is None)


@dataclass(frozen=True)
class AclEntry:
    """One numbered rule of a network ACL. Protocol and ports are spelled as in a security group's Rule.

    `cidr` (or `cidr6`, which no packet matches here) is the source of what comes in, the destination of what goes out.
    """

    number: int
    egress: bool
    protocol: str
    from_port: int
    to_port: int
    allow: bool
    cidr: str | None = None
    cidr6: str | None = None


@dataclass(frozen=True)
class AclAssociation:
    """Ties a network ACL to a subnet; every subnet has exactly one."""

    id: str
    subnet_id: str


@dataclass(frozen=True)
class NetworkAcl:
    """Stateless rules at the border of subnets: the lowest number that matches decides, what none matches is denied."""

    id: str
    vpc_id: str
    is_default: bool = False
    entries: tuple[AclEntry, ...] = ()
    associations: tuple[AclAssociation, ...] = ()
    tags: dict[str, str] = field(default_factory=dict)
