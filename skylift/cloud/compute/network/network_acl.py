"""Network ACLs of one VPC as nft rules: each packet is checked when it enters or leaves a subnet. Pure.

Behaviour follows the Amazon VPC user guide, "Control subnet traffic with network access control lists": rules are
stateless, numbered, the lowest that matches decides and what none matches is denied; traffic within a subnet, and
between a server and what AWS runs at link-local addresses, is not looked at.

A packet through a NAT gateway passes four borders: out of its server's subnet, into the gateway's, out of that and on.
Rules look at one address of a packet only: the peer's, outside of their subnet. So all four can be decided on the
packet as the server sends it, and for replies as the server will receive them.
"""

from __future__ import annotations

from collections.abc import Iterable

from skylift.cloud.compute.network.plan import VpcPlan
from skylift.cloud.compute.network.ruleset import Collection
from skylift.cloud.compute.network.traffic import protocol_match, quoted, subnet_mark
from skylift.cloud.domain.network import AclEntry, NatGateway, NetworkAcl, NetworkInterface

HOOK = "type filter hook forward priority filter - 5; policy accept;"


class NetworkAclRules:
    """The parts of a VPC's ruleset for its network ACLs. `uplink` names the router's link to the uplink."""

    def __init__(self, plan: VpcPlan, uplink: str) -> None:
        self._uplink = uplink
        self._interfaces = plan.interfaces
        self._nats = plan.nat_gateways
        self._marks = {subnet.id: subnet_mark(subnet) for subnet in plan.subnets}
        self._acl_of = {one.subnet_id: acl for acl in plan.acls for one in acl.associations}

    def collections(self) -> dict[str, Collection]:
        within = [f"{self._marks[one.subnet_id]:#010x} . {quoted(one)}" for one in self._interfaces]
        return {
            "within": Collection.set("mark . ifname", within),
            **{
                f"acl_{direction}": Collection.map(
                    "ifname : verdict",
                    {quoted(one): jump for one in self._interfaces if (jump := self._jump(one, direction))},
                )
                for direction in ("in", "out")
            },
            "nat_acl_out": self._through_nat((nat, nat.private_ip) for nat in self._nats),
            "nat_acl_back": self._through_nat((nat, at.seen) for nat in self._nats for at in nat.addresses),
        }

    def chains(self) -> dict[str, tuple[str, ...]]:
        acls = {acl.id: acl for acl in self._acl_of.values()}
        return {
            **{
                chain_name(direction, acl): tuple(entry_rules(acl, direction))
                for acl in acls.values()
                for direction in ("in", "out")
                if not lets_all(acl, direction)
            },
            **{f"acl-nat-{acl.id}": tuple(_both(acl)) for acl in self._of_nats() if any(_both(acl))},
            "border": (
                HOOK,
                "meta mark . oifname @within accept",
                "iifname vmap @acl_out",
                *(f"oifname {link} rt ip nexthop vmap @nat_acl_out" for link in self._beyond_nats()),
                *(
                    f"iifname {link} ct direction reply ct reply ip daddr vmap @nat_acl_back"
                    for link in self._beyond_nats()
                ),
                "oifname vmap @acl_in",
            ),
        }

    def _jump(self, interface: NetworkInterface, direction: str) -> str | None:
        acl = self._acl_of.get(interface.subnet_id)
        return None if acl is None or lets_all(acl, direction) else f"jump {chain_name(direction, acl)}"

    def _beyond_nats(self) -> list[str]:
        """The links to where NAT gateways lead: out, and private ones to peered VPCs."""
        private = any(nat.connectivity == "private" for nat in self._nats)
        return [f'"{self._uplink}"', *(["@peers"] if private else [])]

    def _through_nat(self, addresses: Iterable[tuple[NatGateway, str]]) -> Collection:
        found = {}
        for nat, address in addresses:
            acl = self._acl_for(nat)
            if acl is not None and any(_both(acl)):
                found[address] = f"jump acl-nat-{acl.id}"
        return Collection.map("ipv4_addr : verdict", found)

    def _acl_for(self, nat: NatGateway) -> NetworkAcl | None:
        return self._acl_of.get(nat.subnet_id)

    def _of_nats(self) -> list[NetworkAcl]:
        found = {acl.id: acl for nat in self._nats if (acl := self._acl_for(nat)) is not None}
        return list(found.values())


def lets_all(acl: NetworkAcl, direction: str) -> bool:
    """Whether nothing can be denied in this direction: then no packet need be looked at."""
    first = next(iter(_entries(acl, direction)), None)
    return first is not None and first.allow and first.protocol == "-1" and first.cidr == "0.0.0.0/0"


def chain_name(direction: str, acl: NetworkAcl) -> str:
    return f"acl-{direction}-{acl.id}"


def entry_rules(acl: NetworkAcl, direction: str) -> list[str]:
    """`return` goes on to the next border, and then to the security groups."""
    side = "saddr" if direction == "in" else "daddr"
    rules = []
    for entry in _entries(acl, direction):
        peer = "" if entry.cidr == "0.0.0.0/0" else f"ip {side} {entry.cidr}"
        verdict = "return" if entry.allow else "drop"
        rules.append(" ".join(part for part in (peer, protocol_match(entry), verdict) if part))
    return [*rules, "drop"]


def _entries(acl: NetworkAcl, direction: str) -> list[AclEntry]:
    """The entries in their order. IPv6 entries are left out, because these networks carry no IPv6."""
    found = [one for one in acl.entries if one.egress == (direction == "out") and one.cidr is not None]
    return sorted(found, key=lambda one: one.number)


def _both(acl: NetworkAcl) -> list[str]:
    """Into the gateway's subnet and out of it again."""
    return [f"jump {chain_name(direction, acl)}" for direction in ("in", "out") if not lets_all(acl, direction)]
