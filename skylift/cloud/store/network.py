"""Where the nouns of a VPC are kept, and the questions about them that need SQL."""

from __future__ import annotations

from collections.abc import Iterable

from skylift.cloud.domain import network
from skylift.cloud.domain.facts import CloudFacts
from skylift.cloud.domain.peering import JOINED, Peering
from skylift.cloud.domain.vpc_endpoint import VpcEndpoint
from skylift.cloud.store.database import Tx
from skylift.cloud.store.mapping import as_text, table
from skylift.cloud.store.usage import follow_address, follow_interface

as_text(network.RouteTarget, network.route_target)
table(network.Vpc, "vpcs", key=("id",))
table(network.Subnet, "subnets", key=("id",))
table(network.InternetGateway, "internet_gateways", key=("id",))
table(network.RouteTable, "route_tables", key=("id",))
table(network.SecurityGroup, "security_groups", key=("id",))
table(network.RuleTags, "rule_tags", key=("id",))
table(network.NetworkInterface, "network_interfaces", key=("id",), follow=follow_interface)
table(network.Address, "addresses", key=("id",), follow=follow_address)
table(network.ReleasedAddress, "released_addresses", key=("public_ip",))
table(network.NatGateway, "nat_gateways", key=("id",))
table(network.NetworkAcl, "network_acls", key=("id",))
table(network.DhcpOptions, "dhcp_options", key=("id",))
table(network.PrefixList, "prefix_lists", key=("id",))
table(network.EarlierPrefixList, "earlier_prefix_lists", key=("id", "version"))
table(Peering, "vpc_peerings", key=("id",))
table(VpcEndpoint, "vpc_endpoints", key=("id",))

ElasticIps = dict[tuple[str, str], network.Address]
"""Associated Elastic IPs by interface and private address."""


def private_ips(tx: Tx, subnet_id: str) -> set[str]:
    """The addresses that interfaces in this subnet have."""
    rows = tx.execute(
        "SELECT private_ip FROM network_interfaces WHERE subnet_id = ?1 UNION ALL "
        "SELECT json_extract(value, '$.private_ip') FROM network_interfaces, json_each(secondary) "
        "WHERE subnet_id = ?1 AND secondary != '[]'",
        subnet_id,
    )
    return {row[0] for row in rows}


def interface_at(tx: Tx, vpc_id: str, address: str) -> network.NetworkInterface | None:
    """The interface that has this private address in a VPC."""
    found = tx.select(
        network.NetworkInterface,
        "WHERE vpc_id = ?1 AND (private_ip = ?2 OR secondary != '[]' AND EXISTS "
        "(SELECT 1 FROM json_each(secondary) WHERE json_extract(value, '$.private_ip') = ?2))",
        vpc_id,
        address,
    )
    return found[0] if found else None


def route_table_of(tx: Tx, subnet: network.Subnet) -> network.RouteTable | None:
    """The table that a subnet is associated with, else its VPC's main one."""
    tables = tx.find(network.RouteTable, vpc_id=subnet.vpc_id)
    own = (one for one in tables if any(each.subnet_id == subnet.id for each in one.associations))
    return next(own, None) or next((one for one in tables if one.is_main), None)


def has_public_ip(tx: Tx, address: str) -> bool:
    """Whether an interface, or the account, has this public address."""
    tables = ("network_interfaces", "addresses")
    found = " UNION ALL ".join(f"SELECT 1 FROM {name} WHERE public_ip = ?1" for name in tables)  # noqa: S608 - ours
    return tx.execute(found, address).fetchone() is not None


def move_public_ips(tx: Tx, before: int, now: int) -> None:
    """The cloud has been given another of the host's loopback networks: an owner of a public address has the one with
    the same ending there. Rules that name such addresses, or the host's own, go on to mean whom they meant."""
    old, new = f"127.{before}.", f"127.{now}."
    for statement in (
        "UPDATE network_interfaces SET public_ip = replace(public_ip, ?1, ?2) WHERE public_ip LIKE ?1 || '%'",
        "UPDATE addresses SET public_ip = replace(public_ip, ?1, ?2) WHERE public_ip LIKE ?1 || '%'",
        "UPDATE released_addresses SET public_ip = replace(public_ip, ?1, ?2) WHERE public_ip LIKE ?1 || '%'",
        "UPDATE nat_gateways SET public_ip = replace(public_ip, ?1, ?2) WHERE public_ip LIKE ?1 || '%'",
        """UPDATE nat_gateways SET secondary = replace(secondary, '"' || ?1, '"' || ?2)""",
        """UPDATE network_interfaces SET secondary = replace(secondary, '"' || ?1, '"' || ?2)""",
        """UPDATE security_groups SET rules = replace(rules, '"' || ?1, '"' || ?2)""",
        """UPDATE network_acls SET entries = replace(entries, '"' || ?1, '"' || ?2)""",
        """UPDATE prefix_lists SET entries = replace(entries, '"' || ?1, '"' || ?2)""",
        """UPDATE earlier_prefix_lists SET entries = replace(entries, '"' || ?1, '"' || ?2)""",
    ):
        tx.execute(statement, old, new)


def addresses_per_subnet(tx: Tx) -> dict[str, int]:
    """How many of a subnet's addresses interfaces have."""
    return dict(
        tx.execute(
            "SELECT subnet_id, sum(1 + json_array_length(secondary)) FROM network_interfaces GROUP BY subnet_id"
        ).fetchall()
    )


def unsettled(tx: Tx) -> list[network.NetworkInterface]:
    """Interfaces of servers that the loops have something to do for."""
    return tx.select(
        network.NetworkInterface, "WHERE attachment IN ('attaching', 'changing', 'detaching') ORDER BY rowid"
    )


def group_of_rule(tx: Tx, rule_id: str) -> str | None:
    """The id of the group that has this rule. No other group's rules are parsed."""
    rows = "SELECT security_groups.id FROM security_groups, json_each(rules) WHERE instr(rules, ?1) > 0"
    row = tx.execute(f"{rows} AND json_extract(value, '$.id') = ?1", rule_id).fetchone()
    return str(row[0]) if row else None


def rule_tags(tx: Tx, rule_id: str) -> dict[str, str]:
    found = tx.select(network.RuleTags, "WHERE id = (SELECT tags_id FROM tagged_rules WHERE id = ?)", rule_id)
    return found[0].tags if found else {}


def tag_rules(tx: Tx, made: network.RuleTags, rule_ids: Iterable[str]) -> None:
    """Give these rules of a group other tags. Those that no rule has any more go by themselves."""
    tx.add(made)
    row = "INSERT INTO tagged_rules VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET tags_id = excluded.tags_id"
    for rule_id in rule_ids:
        tx.execute(row, rule_id, made.group_id, made.id)


def group_names(tx: Tx) -> dict[str, str]:
    """Name by id of every security group, without reading their rules."""
    return dict(tx.execute("SELECT id, name FROM security_groups").fetchall())


def elastic_ip(tx: Tx, interface_id: str, private_ip: str) -> network.Address | None:
    """The Elastic IP that is associated with an address of an interface."""
    return tx.get(network.Address, interface_id=interface_id, private_ip=private_ip)


def remove_interface(tx: Tx, interface: network.NetworkInterface) -> None:
    """Delete an interface; the Elastic IPs that it had stay the account's."""
    for address in tx.find(network.Address, interface_id=interface.id):
        tx.save(address.free())
    tx.remove(interface)


def elastic_ips(tx: Tx) -> ElasticIps:
    return {
        (one.interface_id, one.private_ip): one
        for one in tx.find(network.Address)
        if one.interface_id and one.private_ip
    }


def primary_interface(tx: Tx, instance_id: str) -> network.NetworkInterface | None:
    """The interface that an instance was launched with."""
    return tx.get(network.NetworkInterface, instance_id=instance_id, index=0)


def prefix_lists(tx: Tx) -> dict[str, network.PrefixList]:
    """The account's prefix lists and the AWS services', by id."""
    return service_prefix_lists(tx) | {one.id: one for one in tx.find(network.PrefixList)}


def service_prefix_lists(tx: Tx) -> dict[str, network.PrefixList]:
    found = [network.services_prefix_list(facts.region) for facts in tx.find(CloudFacts)]
    return {one.id: one for one in found}


def keep_version(tx: Tx, current: network.PrefixList) -> None:
    """The next one is about to be written. It is copied as it is stored: to encode a thousand entries takes long."""
    versions = "INSERT INTO earlier_prefix_lists SELECT id, version, entries FROM prefix_lists WHERE id = ?"
    tx.execute(versions, current.id)


def of_vpc(tx: Tx, vpc_id: str) -> list[Peering]:
    """The peering connections that a VPC has at either end, whatever their state."""
    return tx.select(Peering, "WHERE requester_vpc_id = ?1 OR accepter_vpc_id = ?1 ORDER BY rowid", vpc_id)


def joined(tx: Tx) -> list[Peering]:
    """The peering connections that packets pass, or are about to pass."""
    return [one for state in JOINED for one in tx.find(Peering, state=state)]


def connection_between(tx: Tx, vpc_id: str, other: str) -> Peering | None:
    """The peering connection that joins two VPCs now."""
    return next((one for one in of_vpc(tx, vpc_id) if one.state in JOINED and one.other(vpc_id) == other), None)
