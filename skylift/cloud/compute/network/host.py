"""The host's side of a cloud: one link, one route to it, one nft table. Nothing that was there before is changed.

The host reaches a public address 127.N.x.y like any of its own addresses. On its way out the packet is renamed to
240.N.x.y, because a packet to a host's own address never leaves the host. It then takes the transit link to the uplink.

The host's own firewall does not interfere. A policy that drops outgoing packets (`ufw default deny outgoing`) sees the
packet before the renaming, as loopback traffic. The replies are ESTABLISHED, which ufw, firewalld and Docker accept.
Address translation turns connection tracking on for the host.
"""

from __future__ import annotations

from skylift.cloud.compute.network import egress_policy, uplink
from skylift.cloud.compute.network.egress_policy import EgressPolicy
from skylift.cloud.compute.network.loopback_range import LoopbackRange
from skylift.cloud.compute.network.namespace import Namespace, listed_rules, load_ruleset, write_setting
from skylift.cloud.compute.network.netlink import (
    KernelRoute,
    Message,
    Netlink,
    add_veth,
    delete_link,
    link_up,
    set_neighbour,
    set_route,
)

MTU = 9001


def ruleset(loopback: LoopbackRange) -> str:
    """The cloud's table in the host's namespace, replaced in one step.

    `fence` holds whatever comes from the cloud, and was not asked for, off the host and off the networks it forwards
    to, and keeps others on those networks out of the cloud. `way_out` keeps pasta, which connects from this namespace,
    off the host itself, off other clouds and off the networks around: also should a packet have made another program of
    it, and whatever other tables of the host make of an address on its way.
    """
    link = loopback.host_link
    held = "\n    ".join(egress_policy.rules("reject with icmp type admin-prohibited", 'oifname "lo"'))
    return f"""\
{_removal(loopback)}table ip {loopback.table} {{
{egress_policy.SETS}  chain to_carrier {{
    type nat hook output priority dstnat; policy accept;
    ip daddr {loopback.addresses} dnat ip prefix to ip daddr map {{ {loopback.addresses} : {loopback.carrier} }}
  }}
  chain as_host {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname "{link}" snat to {loopback.host_address}
  }}
  chain fence {{
    type filter hook prerouting priority filter; policy accept;
    iifname "{link}" ct state != {{ established, related }} drop
    iifname != {{ "{link}", "lo" }} ip daddr {loopback.carrier} drop
  }}
  chain way_out {{
    type filter hook output priority filter; policy accept;
    meta skuid {loopback.pasta_uid} jump held
  }}
  chain held {{
    ct original ip daddr . meta l4proto . ct original proto-dst @opened_exactly return
    {held}
  }}
}}
table ip6 {loopback.table} {{
  chain way_out {{
    type filter hook output priority filter; policy accept;
    meta skuid {loopback.pasta_uid} drop
  }}
}}
"""


def _removal(loopback: LoopbackRange) -> str:
    """Removes the tables, whether they are there or not."""
    return "".join(
        f"table {family} {loopback.table}\ndelete table {family} {loopback.table}\n" for family in ("ip", "ip6")
    )


def close_off(loopback: LoopbackRange, policy: EgressPolicy) -> None:
    """Refuse pasta these networks from now on, except for the openings."""
    load_ruleset(policy.fill(f"ip {loopback.table}"), "the host")


def connect(loopback: LoopbackRange, netlink: Netlink, uplink_namespace: Namespace, policy: EgressPolicy) -> None:
    """Make the link to the uplink, or find it, and everything on it. Idempotent."""
    # The other end of a link that is here may be in a namespace that was lost, and is on its way out.
    if uplink_namespace.netlink.link_index(uplink.HOST_LINK) is None:
        netlink.do(
            delete_link(loopback.host_link),
            add_veth(
                loopback.host_link,
                mtu=MTU,
                mac=uplink.OUTER_MAC,
                peer=uplink.HOST_LINK,
                peer_mac=uplink.INNER_MAC,
                peer_namespace=uplink_namespace.descriptor,
            ),
        )
    index = netlink.link(loopback.host_link)
    write_setting(f"ipv6/conf/{loopback.host_link}/disable_ipv6", "1")
    # Both are of the one link. Source addresses of loopback may leave by it and answers to them come in; and the host's
    # reverse-path check, where it is strict, finds the carrier range behind this link.
    write_setting(f"ipv4/conf/{loopback.host_link}/route_localnet", "1")
    write_setting(f"ipv4/conf/{loopback.host_link}/accept_redirects", "0")
    netlink.do(
        link_up(index, f"skylift {loopback.home}"[:255]),
        set_neighbour(index, uplink.INNER_ADDRESS, uplink.INNER_MAC),
        _way_in(loopback, index),
    )
    load_ruleset(ruleset(loopback) + policy.fill(f"ip {loopback.table}"), "the host")


def _way_in(loopback: LoopbackRange, index: int) -> Message:
    return set_route(KernelRoute(str(loopback.carrier), link=index, via=uplink.INNER_ADDRESS))


def rules(loopback: LoopbackRange, netlink: Netlink) -> str:
    """The cloud's tables as nft lists them; empty where one is not there, or the link is not, or is down. The link's
    route is there afterwards: programs that set up a host's network remove what they do not know."""
    if not netlink.is_up(loopback.host_link):
        return ""
    netlink.do(_way_in(loopback, netlink.link(loopback.host_link)))
    tables = [listed_rules("table", family, loopback.table) for family in ("ip", "ip6")]
    return "".join(tables) if all(tables) else ""


def disconnect(loopback: LoopbackRange, netlink: Netlink) -> None:
    """Remove the tables, and the link with its route. Idempotent."""
    load_ruleset(_removal(loopback), "the host")
    netlink.do(delete_link(loopback.host_link))
