"""The one region of a cloud, its three availability zones, and what an account may know of its limits."""

from __future__ import annotations

from typing import Any

from skylift.cloud.error import ServiceError
from skylift.cloud.facts import CloudFacts
from skylift.cloud.identity import Caller
from skylift.cloud.network import Vpc
from skylift.cloud.services.api.filter import matching
from skylift.cloud.services.api.refusal import invalid
from skylift.cloud.store.database import Tx

LETTERS = "abc"

MAX_GROUPS_PER_INTERFACE = 5

MAX_ADDRESSES = 5
"""How many Elastic IPs an account may have: the quota that an AWS account begins with."""


def zones(region: str) -> tuple[str, ...]:
    """Names of the zones: `us-east-1a` and so on."""
    return tuple(f"{region}{letter}" for letter in LETTERS)


def zone_id(zone: str) -> str:
    """`use1-az1` for `us-east-1a`: the region's parts by their initials, as AWS abbreviates them."""
    region, letter = zone[:-1], zone[-1]
    *area, direction, number = region.split("-")
    short = "".join(part if len(part) == 2 else part[0] for part in area)
    points = "".join(word[0] for word in ("north", "south", "east", "west", "central") if word in direction)
    return f"{short}{points}{number}-az{LETTERS.index(letter) + 1}"


def require_zone(region: str, zone: str | None, identifier: str | None) -> str | None:
    """The zone that a name or an id names, None when neither is given; raises InvalidParameterValue."""
    known = zones(region)
    if zone is not None and zone not in known:
        raise invalid(f"Invalid availability zone: [{zone}]")
    if identifier is None:
        return zone
    by_id = {zone_id(name): name for name in known}
    if identifier not in by_id:
        raise invalid(f"Invalid availability zone-id: [{identifier}]")
    if zone is not None and by_id[identifier] != zone:
        raise ServiceError(
            "InvalidParameterCombination",
            f"The availability zone '{zone}' and the availability zone ID '{identifier}' are different zones.",
        )
    return by_id[identifier]


def describe_zones(_tx: Tx, caller: Caller, params: Any) -> dict[str, Any]:
    items = [
        {
            "ZoneName": name,
            "ZoneId": zone_id(name),
            "ZoneType": "availability-zone",
            "RegionName": caller.region,
            "GroupName": f"{caller.region}-zg-1",
            "NetworkBorderGroup": caller.region,
            "OptInStatus": "opt-in-not-required",
            "State": "available",
            "Messages": [],
        }
        for name in zones(caller.region)
    ]
    wanted = [require_zone(caller.region, name, None) for name in params.get("ZoneNames", [])]
    wanted += [require_zone(caller.region, None, identifier) for identifier in params.get("ZoneIds", [])]
    if wanted:
        items = [item for item in items if item["ZoneName"] in wanted]
    paths = {
        "group-name": "GroupName",
        "message": "Messages.Message",
        "opt-in-status": "OptInStatus",
        "parent-zone-id": "ParentZoneId",
        "parent-zone-name": "ParentZoneName",
        "region-name": "RegionName",
        "state": "State",
        "zone-id": "ZoneId",
        "zone-name": "ZoneName",
        "zone-type": "ZoneType",
    }
    return {"AvailabilityZones": matching(items, params.get("Filters"), paths)}


def describe_regions(tx: Tx, caller: Caller, params: Any) -> dict[str, Any]:
    """The endpoint is this cloud's own: a client that goes on to use it must not reach AWS."""
    (facts,) = tx.find(CloudFacts)
    items = [{"RegionName": caller.region, "Endpoint": facts.endpoint, "OptInStatus": "opt-in-not-required"}]
    for name in params.get("RegionNames", []):
        if name != caller.region:
            raise invalid(f"Invalid region name: {name}. This cloud has one region, {caller.region}.")
    paths = {"endpoint": "Endpoint", "opt-in-status": "OptInStatus", "region-name": "RegionName"}
    return {"Regions": matching(items, params.get("Filters"), paths)}


def describe_account_attributes(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    default_vpc = tx.get(Vpc, is_default=True)
    attributes = {
        "supported-platforms": "VPC",
        "default-vpc": default_vpc.id if default_vpc else "none",
        "vpc-max-security-groups-per-interface": str(MAX_GROUPS_PER_INTERFACE),
        # EC2 no longer counts instances, and answers this all the same.
        "max-instances": "20",
        "max-elastic-ips": str(MAX_ADDRESSES),
        "vpc-max-elastic-ips": str(MAX_ADDRESSES),
    }
    wanted = params.get("AttributeNames") or list(attributes)
    for name in wanted:
        if name not in attributes:
            raise invalid(f"Value ({name}) for parameter attributeName is invalid. Unknown attribute.")
    return {
        "AccountAttributes": [
            {"AttributeName": name, "AttributeValues": [{"AttributeValue": attributes[name]}]} for name in wanted
        ]
    }
