"""Regions and zones as EC2 describes them, and what an account may know of its limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skylift.cloud.domain.facts import CloudFacts
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.network import Vpc
from skylift.cloud.services.api.ec2_operation import reads
from skylift.cloud.services.api.filter import matching, same_named
from skylift.cloud.services.api.refusal import invalid
from skylift.cloud.services.api.zone import MAX_ADDRESSES, MAX_GROUPS_PER_INTERFACE, require_zone, zone_id, zones
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2


def describe_zones(
    _tx: Tx, caller: Caller, params: ec2.DescribeAvailabilityZonesRequest
) -> ec2.DescribeAvailabilityZonesResult:
    items: list[ec2.AvailabilityZone] = [
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
        **same_named(
            "group-name opt-in-status parent-zone-id parent-zone-name region-name state zone-id zone-name zone-type"
        ),
        "message": "Messages.Message",
    }
    return {"AvailabilityZones": matching(items, params.get("Filters"), paths)}


def describe_regions(tx: Tx, caller: Caller, params: ec2.DescribeRegionsRequest) -> ec2.DescribeRegionsResult:
    """The endpoint is this cloud's own: a client that goes on to use it must not reach AWS."""
    (facts,) = tx.find(CloudFacts)
    items: list[ec2.Region] = [
        {"RegionName": caller.region, "Endpoint": facts.endpoint, "OptInStatus": "opt-in-not-required"}
    ]
    for name in params.get("RegionNames", []):
        if name != caller.region:
            raise invalid(f"Invalid region name: {name}. This cloud has one region, {caller.region}.")
    paths = {"endpoint": "Endpoint", "opt-in-status": "OptInStatus", "region-name": "RegionName"}
    return {"Regions": matching(items, params.get("Filters"), paths)}


def describe_account_attributes(
    tx: Tx, _caller: Caller, params: ec2.DescribeAccountAttributesRequest
) -> ec2.DescribeAccountAttributesResult:
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


OPERATIONS = (
    reads("DescribeRegions", describe_regions, "Filters RegionNames AllRegions"),
    reads("DescribeAvailabilityZones", describe_zones, "Filters ZoneNames ZoneIds AllAvailabilityZones"),
    reads("DescribeAccountAttributes", describe_account_attributes, "AttributeNames"),
)
