"""Rules and routes whose target is not in their VPC, in the form that compute knows: one for each address range.

The target is a prefix list, or the members of a security group of a peered VPC.
https://docs.aws.amazon.com/vpc/latest/userguide/VPC_Route_Tables.html#route-priority-managed-prefix-list
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv4Network, collapse_addresses

from skylift.cloud.domain.network import PrefixList, Route, RouteTable, Rule, SecurityGroup, ToEndpoint, Vpc

Lists = Mapping[str, PrefixList]

Members = Callable[[str, str], Iterable[str]]
"""(peering connection, security group) -> the addresses of that group's interfaces; none once the VPCs are
disconnected.
"""


def with_listed_peers(group: SecurityGroup, lists: Lists, members: Members) -> SecurityGroup:
    if not any(rule.prefix_list_id or rule.peering_id for rule in group.rules):
        return group
    return replace(group, rules=tuple(one for rule in group.rules for one in _rules(rule, lists, members)))


def with_listed_routes(table: RouteTable, vpc: Vpc, lists: Lists) -> RouteTable:
    """A route to a range takes precedence over one to a list; of two lists, the first.

    Ranges within the VPC are skipped: a list may name the VPC's servers, and their traffic must not be diverted.
    """
    if not any(route.prefix_list_id for route in table.routes):
        return table
    routes = {IPv4Network(route.cidr): route for route in table.routes if route.cidr}
    own = [IPv4Network(cidr) for cidr in vpc.cidrs]
    for route in table.routes:
        if isinstance(route.target, ToEndpoint):
            # The endpoint of AWS's services is the router itself, which needs no route.
            continue
        for network in _networks(route.prefix_list_id, lists):
            if not any(network.subnet_of(one) for one in own):
                routes.setdefault(network, Route(str(network), route.target, route.origin))
    return replace(table, routes=tuple(routes.values()))


def _rules(rule: Rule, lists: Lists, members: Members) -> Iterator[Rule]:
    if rule.peering_id is not None and rule.group_id is not None:
        for address in members(rule.peering_id, rule.group_id):
            yield replace(rule, cidr=f"{address}/32", group_id=None, peer_vpc_id=None, peering_id=None)
        return
    if rule.prefix_list_id is None:
        yield rule
        return
    for network in collapse_addresses(_networks(rule.prefix_list_id, lists)):
        yield replace(rule, cidr=str(network), prefix_list_id=None)


def _networks(prefix_list_id: str | None, lists: Lists) -> Iterator[IPv4Network]:
    """Empty for IPv6 lists, because these networks carry no IPv6."""
    found = lists.get(prefix_list_id or "")
    if found is not None and found.family == "IPv4":
        yield from (IPv4Network(entry.cidr) for entry in found.entries)
