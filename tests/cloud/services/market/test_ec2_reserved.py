"""Reserved instances: offered where there is a price, bought, described, and seen on the bill."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from ec2_fixtures import Cloud, filters

from skylift import catalogue
from skylift.cloud.services.market import reserved

HOURLY = {"no-upfront": 0.0066, "partial-upfront": 0.0062, "all-upfront": 0.006}


@pytest.fixture(autouse=True)
def prices(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One type has prices, a year's only."""

    def price(kind: str, region: str, years: int, payment: str) -> float | None:
        assert region == "us-east-1"
        return HOURLY[payment] if kind == "t3.micro" and years == 1 else None

    monkeypatch.setattr(catalogue, "reserved", price)
    reserved._all.cache_clear()
    yield
    reserved._all.cache_clear()


def offered(cloud: Cloud, **params: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cloud.call("DescribeReservedInstancesOfferings", **params)[
        "ReservedInstancesOfferings"
    ]
    return found


def buy(cloud: Cloud, payment: str = "No Upfront", count: int = 1) -> str:
    (one,) = (one for one in offered(cloud, OfferingType=payment) if one["Scope"] == "Region")
    made: str = cloud.call(
        "PurchaseReservedInstancesOffering",
        ReservedInstancesOfferingId=one["ReservedInstancesOfferingId"],
        InstanceCount=count,
    )["ReservedInstancesId"]
    return made


def test_what_is_offered(cloud: Cloud) -> None:
    assert len(offered(cloud)) == 3 * 4, "three payments, for the region and each of its zones"
    assert {one["InstanceType"] for one in offered(cloud)} == {"t3.micro"}
    assert offered(cloud, InstanceType="m5.large") == [], "what nobody knows a price of is not offered"
    (whole,) = offered(cloud, OfferingType="All Upfront", Filters=filters(scope="Region"))
    assert whole == {
        "ReservedInstancesOfferingId": whole["ReservedInstancesOfferingId"],
        "InstanceType": "t3.micro",
        "Scope": "Region",
        "Duration": 31536000,
        "FixedPrice": 52.56,
        "UsagePrice": 0.0,
        "RecurringCharges": [],
        "CurrencyCode": "USD",
        "ProductDescription": "Linux/UNIX",
        "OfferingType": "All Upfront",
        "OfferingClass": "standard",
        "InstanceTenancy": "default",
        "Marketplace": False,
        "PricingDetails": [],
    }
    (half,) = offered(cloud, OfferingType="Partial Upfront", Filters=filters(scope="Region"))
    assert (half["FixedPrice"], half["RecurringCharges"]) == (27.16, [{"Amount": 0.0031, "Frequency": "Hourly"}])
    zonal = offered(cloud, AvailabilityZone="us-east-1b")
    assert {one["AvailabilityZone"] for one in zonal} == {"us-east-1b"} and len(zonal) == 3
    assert offered(cloud, ReservedInstancesOfferingIds=[whole["ReservedInstancesOfferingId"]]) == [whole]
    for nothing in (
        {"OfferingClass": "convertible"},
        {"InstanceTenancy": "dedicated"},
        {"ProductDescription": "Windows"},
        {"MinDuration": 94608000},
    ):
        assert offered(cloud, **nothing) == []
    assert len(offered(cloud, ProductDescription="Linux/UNIX (Amazon VPC)", MaxDuration=31536000)) == 12


def test_pages_of_offerings(cloud: Cloud) -> None:
    first = cloud.call("DescribeReservedInstancesOfferings", MaxResults=7)
    rest = cloud.call("DescribeReservedInstancesOfferings", MaxResults=7, NextToken=first["NextToken"])
    both = first["ReservedInstancesOfferings"] + rest["ReservedInstancesOfferings"]
    assert len({one["ReservedInstancesOfferingId"] for one in both}) == 12 and "NextToken" not in rest
    assert cloud.code("DescribeReservedInstancesOfferings", MaxResults=101) == "InvalidParameterValue"


def test_bought_described_and_over(cloud: Cloud) -> None:
    bought = buy(cloud, count=2)
    (one,) = cloud.call("DescribeReservedInstances")["ReservedInstances"]
    assert (one["ReservedInstancesId"], one["InstanceCount"], one["State"]) == (bought, 2, "active")
    assert one["End"] - one["Start"] == timedelta(days=365)
    assert one["RecurringCharges"] == [{"Amount": 0.0066, "Frequency": "Hourly"}]
    cloud.call("CreateTags", Resources=[bought], Tags=[{"Key": "team", "Value": "net"}])
    for asked in (
        {"ReservedInstancesIds": [bought]},
        {"Filters": [{"Name": "tag:team", "Values": ["net"]}]},
        {"Filters": filters(state="active", scope="Region")},
        {"OfferingClass": "standard", "OfferingType": "No Upfront"},
    ):
        (found,) = cloud.call("DescribeReservedInstances", **asked)["ReservedInstances"]
        assert found["Tags"] == [{"Key": "team", "Value": "net"}]
    assert cloud.call("DescribeReservedInstances", OfferingType="All Upfront")["ReservedInstances"] == []
    cloud.clock.forward(days=365)
    (one,) = cloud.call("DescribeReservedInstances")["ReservedInstances"]
    assert one["State"] == "retired"


def test_what_cannot_be_bought(cloud: Cloud) -> None:
    nobody = "11111111-2222-3333-4444-555555555555"
    asked = {"ReservedInstancesOfferingId": nobody, "InstanceCount": 1}
    assert cloud.code("PurchaseReservedInstancesOffering", **asked) == "InvalidReservedInstancesOfferingId"
    known = offered(cloud)[0]["ReservedInstancesOfferingId"]
    for count in (0, -1, 21):
        wrong = {"ReservedInstancesOfferingId": known, "InstanceCount": count}
        assert cloud.code("PurchaseReservedInstancesOffering", **wrong) == "InvalidParameterValue"
    right = {"ReservedInstancesOfferingId": known, "InstanceCount": 1}
    assert cloud.code("PurchaseReservedInstancesOffering", **right, DryRun=True) == "DryRunOperation"
    assert cloud.call("DescribeReservedInstances")["ReservedInstances"] == []
    for wrong_id in (nobody, "ri-1"):
        assert cloud.code("DescribeReservedInstances", ReservedInstancesIds=[wrong_id]) == "InvalidReservedInstancesId"


def test_reserved_hours_on_the_bill(cloud: Cloud) -> None:
    """One is reserved and two run, one of them twice as large: the smaller is covered, and the fee goes on."""
    bought = buy(cloud)
    for kind in ("t3.micro", "t3.small"):
        cloud.observe(cloud.run(InstanceType=kind)["InstanceId"], "running")
    cloud.clock.forward(hours=2)
    lines = cloud.control("GetBill", To=cloud.clock.now)["Lines"]
    servers = {one["Type"]: one for one in lines if one["ResourceId"].startswith("i-")}
    assert (servers["t3.micro"]["Option"], servers["t3.micro"]["ReservedInstancesId"]) == ("reserved", bought)
    assert Decimal(servers["t3.micro"]["Amount"]) == 0
    assert Decimal(servers["t3.small"]["Amount"]) == 2 * Decimal(str(catalogue.on_demand("t3.small", "us-east-1")))
    (fee,) = (one for one in lines if one["ResourceId"] == bought)
    assert Decimal(fee["Amount"]) == Decimal("0.0132")
