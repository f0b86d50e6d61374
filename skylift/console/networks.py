"""Networks, as the console asks for them and changes them: routes, network ACLs, gateways, Elastic IPs."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from skylift.client.errors import UsageError
from skylift.console.call import Call
from skylift.console.port import Port
from skylift.console.rows import Row, as_tags, spell_tags
from skylift.console.stale_edit import StaleEdit
from skylift.console.typed import read_ports, whole_number
from skylift.console.vpc_map import target_of
from skylift.console.vpc_plan import ApiStep, creation, tagged

_LAST_RULE = 32767
"""The number of a network ACL's last rule, which refuses what no other has decided on."""


@dataclass(frozen=True)
class AddressRow(Row):
    """An Elastic IP; `id` is its allocation's."""

    address: str
    name: str
    instance: str
    interface: str
    private: str
    association: str
    tags: str


@dataclass(frozen=True)
class GatewayRow(Row):
    """What leads out of a VPC. `more` is where it stands, or why it failed; `address` is public."""

    name: str
    kind: str
    state: str
    more: str
    address: str


@dataclass(frozen=True)
class SubnetLine:
    id: str
    name: str
    zone: str
    cidr: str
    free: int
    public: str
    table: str
    association: str = ""
    """With a route table of its own; none where the main one counts."""


@dataclass(frozen=True)
class ShownRoute:
    destination: str
    target: str
    state: str

    @property
    def words(self) -> str:
        return f"{self.destination} leads to {self.target}"

    @property
    def removable(self) -> bool:
        """The VPC's own route stays, and endpoints have theirs."""
        return self.target != "local" and not self.destination.startswith("pl-")


@dataclass(frozen=True)
class RouteTable:
    id: str
    name: str
    main: bool
    routes: tuple[ShownRoute, ...]
    associations: Mapping[str, str]
    """By its subnet, the id of each."""


@dataclass(frozen=True)
class AclRule:
    number: int
    outbound: bool
    protocol: str
    ports: str
    cidr: str
    allows: bool
    kind: str = "-1"
    """The protocol's number."""
    icmp: tuple[int, int] | None = None
    """Type and code, of ICMP."""

    @property
    def words(self) -> str:
        return f"{self.protocol}, {self.ports}, {self.cidr}: {'allow' if self.allows else 'deny'}"

    @property
    def removable(self) -> bool:
        return self.number != _LAST_RULE


@dataclass(frozen=True)
class Acl:
    id: str
    name: str
    default: bool
    rules: tuple[AclRule, ...]
    associations: Mapping[str, str]
    """By its subnet, the id of each."""


class Networks:
    def __init__(self, port: Port) -> None:
        self._port = port

    def _all(self, operation: str, key: str, **params: Any) -> list[Any]:
        return list(self._port.pages(Call("ec2", operation, params), key))

    def zones(self) -> list[str]:
        """Of the region; none that is a town's or a network's own."""
        found = self._port.perform(Call("ec2", "describe_availability_zones", {}))["AvailabilityZones"]
        return sorted(
            each["ZoneName"] for each in found if each.get("ZoneType", "availability-zone") == "availability-zone"
        )

    def addresses(self) -> list[AddressRow]:
        return [
            AddressRow(
                id=each["AllocationId"],
                address=each["PublicIp"],
                name=as_tags(each).get("Name", ""),
                instance=each.get("InstanceId", ""),
                interface=each.get("NetworkInterfaceId", ""),
                private=each.get("PrivateIpAddress", ""),
                association=each.get("AssociationId", ""),
                tags=spell_tags(as_tags(each)),
            )
            for each in self._port.perform(Call("ec2", "describe_addresses"))["Addresses"]
        ]

    def subnets(self, vpc: str) -> list[SubnetLine]:
        tables = self.tables(vpc)
        main = next((each.id for each in tables if each.main), "")
        own = {subnet: each.id for each in tables for subnet in each.associations}
        links = {subnet: link for each in tables for subnet, link in each.associations.items()}
        return [
            SubnetLine(
                id=each["SubnetId"],
                name=as_tags(each).get("Name", ""),
                zone=each["AvailabilityZone"],
                cidr=each["CidrBlock"],
                free=each["AvailableIpAddressCount"],
                public="yes" if each.get("MapPublicIpOnLaunch") else "no",
                table=own.get(each["SubnetId"], main),
                association=links.get(each["SubnetId"], ""),
            )
            for each in sorted(
                self._port.of_vpc(vpc, "describe_subnets", "Subnets"),
                key=lambda each: (each["AvailabilityZone"], ipaddress.ip_network(each["CidrBlock"])),
            )
        ]

    def tables(self, vpc: str) -> list[RouteTable]:
        return [
            RouteTable(
                id=each["RouteTableId"],
                name=as_tags(each).get("Name", ""),
                main=any(link.get("Main") for link in each.get("Associations", [])),
                routes=tuple(map(_route, each.get("Routes", []))),
                associations={
                    link["SubnetId"]: link["RouteTableAssociationId"]
                    for link in each.get("Associations", [])
                    if link.get("SubnetId")
                },
            )
            for each in self._port.of_vpc(vpc, "describe_route_tables", "RouteTables")
        ]

    def targets(self, vpc: str) -> dict[str, str]:
        """What a route may lead to, with the words for it."""
        gateways, nats, peerings = self._internet_gateways(vpc), self._nats(vpc), self._peerings(vpc)
        return {
            **{each["InternetGatewayId"]: _named(each, "InternetGatewayId", "internet gateway") for each in gateways},
            **{
                each["NatGatewayId"]: _named(each, "NatGatewayId", f"NAT gateway, {each['State']}")
                for each in nats
                if each["State"] in ("pending", "available")
            },
            **{each["VpcPeeringConnectionId"]: _named(each, "VpcPeeringConnectionId", "peering") for each in peerings},
        }

    def _nats(self, vpc: str) -> list[Any]:
        return self._port.of_vpc(vpc, "describe_nat_gateways", "NatGateways")

    def _peerings(self, vpc: str) -> list[Any]:
        return [
            each
            for each in self._all("describe_vpc_peering_connections", "VpcPeeringConnections")
            if vpc in (each["RequesterVpcInfo"].get("VpcId"), each["AccepterVpcInfo"].get("VpcId"))
            and each["Status"]["Code"] == "active"
        ]

    def _internet_gateways(self, vpc: str) -> list[Any]:
        return self._port.of_vpc(vpc, "describe_internet_gateways", "InternetGateways")

    def acls(self, vpc: str) -> list[Acl]:
        return [
            Acl(
                id=each["NetworkAclId"],
                name=as_tags(each).get("Name", ""),
                default=bool(each.get("IsDefault")),
                rules=tuple(
                    sorted(
                        map(_rule, each.get("Entries", [])), key=lambda rule: (rule.outbound, rule.number, rule.cidr)
                    )
                ),
                associations={
                    link["SubnetId"]: link["NetworkAclAssociationId"] for link in each.get("Associations", [])
                },
            )
            for each in self._port.of_vpc(vpc, "describe_network_acls", "NetworkAcls")
        ]

    def check_rule(self, acl: str, rule: AclRule) -> None:
        """Raises StaleEdit unless this network ACL has the same rule by that number."""
        found = self._all("describe_network_acls", "NetworkAcls", NetworkAclIds=[acl])
        rules = [_rule(entry) for each in found for entry in each.get("Entries", [])]
        now = next((each for each in rules if (each.number, each.outbound) == (rule.number, rule.outbound)), None)
        if now != rule:
            raise StaleEdit(f"Rule {rule.number}", now.words if now else "")

    def check_route(self, table: str, route: ShownRoute) -> None:
        """Raises StaleEdit unless it leads where it led."""
        found = self._all("describe_route_tables", "RouteTables", RouteTableIds=[table])
        routes = [_route(entry) for each in found for entry in each.get("Routes", [])]
        now = next((each for each in routes if each.destination == route.destination), None)
        if now is None or now.target != route.target:
            raise StaleEdit(f"The route to {route.destination}", now.words if now else "")

    def gateways(self, vpc: str) -> list[GatewayRow]:
        """A NAT gateway that is deleted is described for an hour: it is passed over."""
        endpoints = self._port.of_vpc(vpc, "describe_vpc_endpoints", "VpcEndpoints")
        return [
            *(
                _gateway(each, "InternetGatewayId", "internet gateway", "available")
                for each in self._internet_gateways(vpc)
            ),
            *(_nat_gateway(each) for each in self._nats(vpc) if each["State"] != "deleted"),
            *(
                _gateway(each, "VpcPeeringConnectionId", "peering", each["Status"]["Code"])
                for each in self._peerings(vpc)
            ),
            *(
                _gateway(
                    each,
                    "VpcEndpointId",
                    f"{each.get('VpcEndpointType', '')} endpoint".strip(),
                    each.get("State", ""),
                    each["ServiceName"],
                )
                for each in endpoints
            ),
        ]

    def nat_places(self, vpc: str) -> dict[str, str]:
        """Subnets that a NAT gateway may stand in, with the words for each: first those with a way to the internet,
        which it needs."""
        tables = {each.id: each for each in self.tables(vpc)}
        found = []
        for each in self.subnets(vpc):
            public = each.table in tables and any(
                route.target.startswith("igw-") and route.state != "blackhole" for route in tables[each.table].routes
            )
            words = f"{each.name} {each.id} ({each.cidr}, {each.zone})".strip()
            found.append((not public, each.id, words if public else f"{words}: no way to the internet"))
        return {subnet: words for _, subnet, words in sorted(found, key=lambda each: each[0])}

    def free_addresses(self) -> dict[str, str]:
        """Elastic IPs that nothing has, with the words for each."""
        return {row.id: f"{row.name} {row.address}".strip() for row in self.addresses() if not row.association}

    def routes_to(self, vpc: str, target: str) -> list[str]:
        """In words."""
        return [
            f"{route.destination} of {table.name or table.id}"
            for table in self.tables(vpc)
            for route in table.routes
            if route.target == target
        ]

    def holders(self) -> dict[str, str]:
        """Instances that may have an address, with the words for each."""
        return {
            row.id: f"{row.name} {row.id} ({row.private})".strip()
            for row in self._port.instances()
            if row.state in ("running", "stopped")
        }


def allocate_address(name: str) -> Call:
    return Call("ec2", "allocate_address", {"Domain": "vpc", **tagged("elastic-ip", name)})


def associate_address(allocation: str, instance: str) -> Call:
    if not instance:
        raise UsageError("There is no instance that could have it.", "Launch one first.")
    return Call("ec2", "associate_address", {"AllocationId": allocation, "InstanceId": instance})


_TARGETS = {"igw": "GatewayId", "nat": "NatGatewayId", "pcx": "VpcPeeringConnectionId", "eni": "NetworkInterfaceId"}


def create_subnet(vpc: str, name: str, zone: str, cidr: str) -> Call:
    """Raises UsageError for what is no range."""
    place = {
        "VpcId": vpc,
        "AvailabilityZone": zone,
        **_range(cidr.strip(), of="It is a part of the VPC's, like 10.0.48.0/20."),
    }
    return Call("ec2", "create_subnet", {**place, **tagged("subnet", name)})


def create_route(table: str, destination: str, target: str) -> Call:
    """Raises UsageError for what is no range."""
    return _lead("create_route", table, destination, target)


def replace_route(table: str, route: ShownRoute, target: str) -> Call:
    """Raises UsageError where it leads there already."""
    if target == route.target:
        raise UsageError("It leads there already.")
    return _lead("replace_route", table, route.destination, target)


def _lead(operation: str, table: str, destination: str, target: str) -> Call:
    parameter = _TARGETS.get(target.partition("-")[0])
    if parameter is None:
        raise UsageError(
            "Choose where the route leads.", "A VPC without a gateway needs one first: VPC and more makes one."
        )
    where = _range(destination.strip(), "Destination")
    return Call("ec2", operation, {"RouteTableId": table, **where, parameter: target})


def delete_route(table: str, destination: str) -> Call:
    return Call("ec2", "delete_route", {"RouteTableId": table, **_range(destination, "Destination")})


def _range(text: str, prefix: str = "", of: str = "All addresses are 0.0.0.0/0.") -> dict[str, str]:
    """As a parameter of EC2's, whose name says of which version of IP it is. Raises UsageError."""
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        raise UsageError(f"{text!r} is not a range.", of) from None
    return {f"{prefix}{'Ipv6CidrBlock' if network.version == 6 else 'CidrBlock'}": text}


def change_table(subnet: SubnetLine, table: str, main: str) -> Call:
    """The call by which a subnet gets this route table. Raises UsageError where it has this one."""
    own = {"AssociationId": subnet.association}
    if table == subnet.table:
        raise UsageError("It has this one.")
    if table == main:
        return Call("ec2", "disassociate_route_table", own)
    if subnet.association:
        return Call("ec2", "replace_route_table_association", {**own, "RouteTableId": table})
    return Call("ec2", "associate_route_table", {"RouteTableId": table, "SubnetId": subnet.id})


def change_acl(subnet: SubnetLine, acls: Sequence[Acl], acl: str) -> Call:
    """The call by which a subnet gets this network ACL. Raises UsageError where it has this one."""
    had = next((each for each in acls if subnet.id in each.associations), None)
    if had is None or had.id == acl:
        raise UsageError("It has this one.")
    params = {"AssociationId": had.associations[subnet.id], "NetworkAclId": acl}
    return Call("ec2", "replace_network_acl_association", params)


def nat_gateway_steps(subnet: str, allocation: str, name: str) -> list[ApiStep]:
    """With an Elastic IP of its own where there is no `allocation`; both, or neither. Raises UsageError."""
    if not subnet:
        raise UsageError("The VPC has no subnet.", "A NAT gateway stands in one with a way to the internet.")
    if "%" in name:
        raise UsageError("The name has no % in it.")
    address = creation("Elastic IP", allocate_address(name), "address", "AllocationId", undo="release_address")
    place = {"SubnetId": subnet, "AllocationId": allocation or "%address%"}
    call = Call("ec2", "create_nat_gateway", {**place, **tagged("natgateway", name)})
    made = creation("NAT gateway", call, "nat", "NatGateway", "NatGatewayId")
    return [made] if allocation else [address, made]


def remove_gateway(vpc: str, gateway: str) -> list[Call]:
    """An internet gateway, a NAT gateway or an endpoint; nothing for what else leads out of a VPC."""
    kind = gateway.partition("-")[0]
    if kind == "igw":
        return [
            Call("ec2", "detach_internet_gateway", {"InternetGatewayId": gateway, "VpcId": vpc}),
            Call("ec2", "delete_internet_gateway", {"InternetGatewayId": gateway}),
        ]
    if kind == "nat":
        return [Call("ec2", "delete_nat_gateway", {"NatGatewayId": gateway})]
    return [Call("ec2", "delete_vpc_endpoints", {"VpcEndpointIds": [gateway]})] if kind == "vpce" else []


def create_acl_rule(acl: str, number: str, direction: str, protocol: str, ports: str, cidr: str, action: str) -> Call:
    """What was typed, as a call. Raises UsageError."""
    return Call("ec2", "create_network_acl_entry", _entry(acl, number, direction, protocol, ports, cidr, action))


def replace_acl_rule(acl: str, rule: AclRule, protocol: str, ports: str, cidr: str, action: str) -> Call:
    """What was typed in a rule's place: its number and its direction stay. Raises UsageError."""
    direction = "out" if rule.outbound else "in"
    params = _entry(acl, str(rule.number), direction, protocol, ports, cidr, action)
    if protocol == rule.kind:
        # The types of ICMP, which nobody has typed.
        params |= {"IcmpTypeCode": {"Type": rule.icmp[0], "Code": rule.icmp[1]}} if rule.icmp else {}
        same = (ports.strip() or "all") == rule.ports or protocol not in ("6", "17")
        if same and cidr.strip() == rule.cidr and (action == "allow") == rule.allows:
            raise UsageError("Nothing is different yet.")
    return Call("ec2", "replace_network_acl_entry", params)


def _entry(acl: str, number: str, direction: str, protocol: str, ports: str, cidr: str, action: str) -> dict[str, Any]:
    place = whole_number(number, 1, _LAST_RULE - 1)
    if place is None:
        raise UsageError(f"A rule's number is from 1 to {_LAST_RULE - 1}.", "The lowest number that fits decides.")
    params: dict[str, Any] = {
        "NetworkAclId": acl,
        "RuleNumber": place,
        "Protocol": protocol,
        "RuleAction": action,
        "Egress": direction == "out",
        **_range(cidr.strip()),
    }
    if protocol in ("6", "17"):
        first, last = read_ports(ports)
        params["PortRange"] = {"From": first, "To": last}
    elif protocol == "1":
        params["IcmpTypeCode"] = {"Type": -1, "Code": -1}
    return params


def delete_acl_rule(acl: str, rule: AclRule) -> Call:
    params = {"NetworkAclId": acl, "RuleNumber": rule.number, "Egress": rule.outbound}
    return Call("ec2", "delete_network_acl_entry", params)


def _named(described: Any, key: str, kind: str) -> str:
    name = as_tags(described).get("Name", "")
    return f"{name} ({described[key]}), {kind}" if name else f"{described[key]}, {kind}"


def _gateway(described: Any, key: str, kind: str, state: str, more: str = "", address: str = "") -> GatewayRow:
    return GatewayRow(described[key], as_tags(described).get("Name", ""), kind, state.lower(), more, address)


def _nat_gateway(described: Any) -> GatewayRow:
    addresses = [each["PublicIp"] for each in described.get("NatGatewayAddresses", []) if each.get("PublicIp")]
    more = "; ".join(filter(None, (f"in {described['SubnetId']}", described.get("FailureMessage", ""))))
    return _gateway(described, "NatGatewayId", "NAT gateway", described["State"], more, ", ".join(addresses))


def _route(described: Any) -> ShownRoute:
    destinations = ("DestinationCidrBlock", "DestinationIpv6CidrBlock", "DestinationPrefixListId")
    return ShownRoute(
        next((str(described[key]) for key in destinations if described.get(key)), ""),
        target_of(described),
        described.get("State", ""),
    )


def _rule(described: Any) -> AclRule:
    number, ports = str(described["Protocol"]), described.get("PortRange", {})
    first, last = ports.get("From"), ports.get("To")
    return AclRule(
        number=described["RuleNumber"],
        outbound=bool(described["Egress"]),
        protocol=PROTOCOLS.get(number, number),
        ports="all" if first is None else str(first) if first == last else f"{first}-{last}",
        cidr=described.get("CidrBlock") or described.get("Ipv6CidrBlock", ""),
        allows=described["RuleAction"] == "allow",
        kind=number,
        icmp=(described["IcmpTypeCode"]["Type"], described["IcmpTypeCode"]["Code"])
        if "IcmpTypeCode" in described
        else None,
    )


PROTOCOLS = {"-1": "All traffic", "6": "TCP", "17": "UDP", "1": "ICMP"}
"""By IANA's number, which is what an ACL has."""


def spell_subnets(subnets: Iterable[str]) -> str:
    return ", ".join(subnets) or "none of its own"
