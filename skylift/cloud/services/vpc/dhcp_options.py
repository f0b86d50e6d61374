"""DHCP options: the name servers and the search domain that a VPC's servers get when they boot.

https://docs.aws.amazon.com/vpc/latest/userguide/VPC_DHCP_Options.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import AddressValueError, IPv4Address
from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.network import AMAZON_DNS, DhcpOptions, Vpc, private_domain
from skylift.cloud.services.api.check import on_row
from skylift.cloud.services.api.ec2_operation import PAGES, acts, makes, reads, writes
from skylift.cloud.services.api.list_response import Listing
from skylift.cloud.services.api.operation import Check, Nothing
from skylift.cloud.services.api.refusal import invalid, invalid_value, missing
from skylift.cloud.services.api.resource import new_id, require
from skylift.cloud.services.api.tag import tag_list, tags_for
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2

NONE = "default"
"""AssociateDhcpOptions takes this for no options."""

MAX_NAME_SERVERS = 4

_DOMAIN = re.compile(r"[A-Za-z0-9._-]{1,253}( [A-Za-z0-9._-]{1,253}){0,5}")
_ELSEWHERE = ("ntp-servers", "netbios-name-servers", "netbios-node-type", "ipv6-address-preferred-lease-time")
"""DHCP's options that nothing in a server here would follow: its clock is the host's."""

LISTING = Listing(
    DhcpOptions,
    ids="DhcpOptionsIds",
    key="DhcpOptionsId",
    filters={
        "dhcp-options-id": "DhcpOptionsId",
        "key": "DhcpConfigurations.Key",
        "owner-id": "OwnerId",
        "value": "DhcpConfigurations.Values.Value",
    },
)


def view(options: DhcpOptions, owner: str) -> ec2.DhcpOptions:
    return {
        "DhcpOptionsId": options.id,
        "OwnerId": owner,
        "DhcpConfigurations": [
            {"Key": key, "Values": [{"Value": value} for value in values]}
            for key, values in options.configurations.items()
        ],
        "Tags": tag_list(options.tags),
    }


def create(tx: Tx, caller: Caller, params: ec2.CreateDhcpOptionsRequest) -> ec2.CreateDhcpOptionsResult:
    found: dict[str, list[str]] = {}
    for given in params["DhcpConfigurations"]:
        key = given.get("Key", "")
        if key in found:
            raise invalid(f"The DHCP option {key} is given more than once.")
        found[key] = _values(key, given.get("Values") or [])
    if not found:
        raise missing("dhcpConfiguration")
    options = DhcpOptions(new_id("dopt"), found, tags_for(params, "dhcp-options"))
    tx.add(options)
    return {"DhcpOptions": view(options, caller.account)}


def describe(tx: Tx, caller: Caller, params: ec2.DescribeDhcpOptionsRequest) -> ec2.DescribeDhcpOptionsResult:
    shown = LISTING.describe(tx, params, lambda options: view(options, caller.account))
    return {"DhcpOptions": shown.items, **shown.next}


def delete(tx: Tx, _caller: Caller, params: ec2.DeleteDhcpOptionsRequest) -> Nothing:
    options = require(tx, DhcpOptions, params["DhcpOptionsId"])
    if tx.find(Vpc, dhcp_options_id=options.id):
        raise ServiceError(
            "DependencyViolation", f"The dhcpOptions '{options.id}' has dependencies and cannot be deleted."
        )
    tx.remove(options)
    return {}


def associate(tx: Tx, _caller: Caller, params: ec2.AssociateDhcpOptionsRequest) -> Nothing:
    """Servers that run get them at their next boot; on AWS, at their next lease."""
    vpc = require(tx, Vpc, params["VpcId"])
    wanted = params["DhcpOptionsId"]
    tx.save(replace(vpc, dhcp_options_id=NONE if wanted == NONE else require(tx, DhcpOptions, wanted).id))
    return {}


def amazons(tx: Tx, region: str) -> DhcpOptions:
    """The options of a new VPC: the region's default set, made again if it was deleted."""
    wanted = {"domain-name": [private_domain(region)], "domain-name-servers": [AMAZON_DNS]}
    for options in tx.find(DhcpOptions):
        if options.configurations == wanted:
            return options
    made = DhcpOptions(new_id("dopt"), wanted)
    tx.add(made)
    return made


def check_associate(tx: Tx, caller: Caller, params: ec2.AssociateDhcpOptionsRequest) -> Iterator[Check]:
    action = "ec2:AssociateDhcpOptions"
    if params["DhcpOptionsId"] != NONE:
        yield on_row(tx, caller, action, DhcpOptions, params["DhcpOptionsId"])
    yield on_row(tx, caller, action, Vpc, params["VpcId"])


def _values(key: str, values: list[str]) -> list[str]:
    if key in _ELSEWHERE:
        raise ServiceError("UnsupportedOperation", f"This cloud's servers do not follow the DHCP option {key}.")
    if not values:
        raise missing(f"dhcpConfiguration.{key}.value")
    if key == "domain-name":
        if len(values) > 1 or not _DOMAIN.fullmatch(values[0]):
            raise invalid_value(", ".join(values), key, "It has to be one domain name.")
        return list(values)
    if key != "domain-name-servers":
        raise invalid(f"Value ({key}) for parameter name is invalid. Unknown DHCP option")
    # One value may list several, as clients that pass on what a user typed do.
    servers = [one.strip() for value in values for one in value.split(",")]
    if len(servers) > MAX_NAME_SERVERS:
        raise invalid(f"At most {MAX_NAME_SERVERS} domain name servers can be given.")
    return [server if server == AMAZON_DNS else _address(server) for server in servers]


def _address(text: str) -> str:
    try:
        return str(IPv4Address(text))
    except AddressValueError as error:
        raise invalid_value(text, "domain-name-servers", f"It has to be an IPv4 address or {AMAZON_DNS}.") from error


OPERATIONS = (
    makes("CreateDhcpOptions", create, "DhcpConfigurations TagSpecifications", "dhcp-options"),
    reads("DescribeDhcpOptions", describe, f"DhcpOptionsIds {PAGES}"),
    acts("DeleteDhcpOptions", delete, "DhcpOptionsId", "DhcpOptionsId"),
    writes("AssociateDhcpOptions", associate, "DhcpOptionsId VpcId", check_associate),
)
