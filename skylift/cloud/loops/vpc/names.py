"""Which private names and addresses a VPC's DNS server answers, by the VPC's attributes.

https://docs.aws.amazon.com/vpc/latest/userguide/AmazonDNS-concepts.html
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from skylift.cloud.domain.network import Vpc, private_dns_name
from skylift.cloud.store.database import Tx
from skylift.cloud.store.network import interface_at


def has_dns(tx: Tx, vpc_id: str) -> bool:
    """Without DNS support a VPC has no DNS server of AWS's at all."""
    vpc = tx.get(Vpc, id=vpc_id)
    return vpc is not None and vpc.dns_support


def address_of(tx: Tx, vpc_id: str, name: str, region: str) -> str | None:
    """The private address of a name such as `ip-10-0-1-5.ec2.internal` in this VPC; None when no interface has it.

    Private names take both attributes, DNS support and DNS hostnames.
    """
    address = name.partition(".")[0].removeprefix("ip-").replace("-", ".")
    if name != private_dns_name(address, region) or not _named(tx.get(Vpc, id=vpc_id)):
        return None
    return address if interface_at(tx, vpc_id, address) else None


def name_of(tx: Tx, vpc_id: str, address: str, region: str) -> str | None:
    """The name of an address. Empty for an unnamed address of this VPC, None for an address outside of the VPC."""
    vpc = tx.get(Vpc, id=vpc_id)
    if vpc is None or not any(ip_address(address) in ip_network(cidr) for cidr in vpc.cidrs):
        return None
    name = private_dns_name(address, region)
    return name if address_of(tx, vpc_id, name, region) else ""


def _named(vpc: Vpc | None) -> bool:
    return vpc is not None and vpc.dns_support and vpc.dns_hostnames
