from __future__ import annotations

import pytest
from ec2_fixtures import Cloud, filters

from skylift.cloud.services.api.zone import zone_id


@pytest.mark.parametrize(
    ("zone", "identifier"),
    [
        ("us-east-1a", "use1-az1"),
        ("us-west-2c", "usw2-az3"),
        ("eu-central-1b", "euc1-az2"),
        ("eu-north-1a", "eun1-az1"),
        ("ap-southeast-2a", "apse2-az1"),
        ("ap-northeast-1b", "apne1-az2"),
        ("ap-south-1c", "aps1-az3"),
        ("us-gov-west-1a", "usgw1-az1"),
        ("sa-east-1a", "sae1-az1"),
    ],
)
def test_zone_ids(zone: str, identifier: str) -> None:
    assert zone_id(zone) == identifier


def test_zones(cloud: Cloud) -> None:
    zones = cloud.call("DescribeAvailabilityZones")["AvailabilityZones"]
    assert [(one["ZoneName"], one["ZoneId"]) for one in zones] == [
        ("us-east-1a", "use1-az1"),
        ("us-east-1b", "use1-az2"),
        ("us-east-1c", "use1-az3"),
    ]
    (one,) = cloud.call("DescribeAvailabilityZones", ZoneNames=["us-east-1b"])["AvailabilityZones"]
    assert one["ZoneId"] == "use1-az2"
    assert cloud.code("DescribeAvailabilityZones", ZoneNames=["us-east-1z"]) == "InvalidParameterValue"
    assert cloud.call("DescribeAvailabilityZones", Filters=filters(zone_type="local-zone"))["AvailabilityZones"] == []


def test_the_one_region_has_this_clouds_endpoint(cloud: Cloud) -> None:
    assert cloud.call("DescribeRegions")["Regions"] == [
        {"RegionName": "us-east-1", "Endpoint": "127.0.0.1:4520", "OptInStatus": "opt-in-not-required"}
    ]
    assert cloud.code("DescribeRegions", RegionNames=["eu-west-1"]) == "InvalidParameterValue"


def test_account_attributes(cloud: Cloud) -> None:
    (shown,) = cloud.call("DescribeAccountAttributes", AttributeNames=["default-vpc"])["AccountAttributes"]
    assert shown["AttributeValues"] == [{"AttributeValue": cloud.default("vpc")["VpcId"]}]
