"""The market as it is set: prices over time, room by zone and market, quotas of vCPUs."""

from __future__ import annotations

from datetime import timedelta

import pytest
from ec2_fixtures import Cloud

from skylift.catalogue import types
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.market import Market
from skylift.cloud.services.ec2.capacity import check_pool, family_of, spot_price


def price(cloud: Cloud, zone: str = "us-east-1a") -> float | None:
    with cloud.database.read() as tx:
        return spot_price(tx, "t3.micro", zone)


def launchable(cloud: Cloud, least: int, most: int, market: Market = "on-demand") -> int | str:
    with cloud.database.read() as tx:
        try:
            return check_pool(tx, "t3.micro", "us-east-1a", market, least, most)
        except ServiceError as error:
            return error.code


def test_a_price_holds_from_its_moment_on_in_its_zone(cloud: Cloud) -> None:
    before = price(cloud)
    cloud.control("PutSpotPrice", InstanceType="t3.micro", AvailabilityZone="us-east-1a", SpotPrice="0.005")
    later = cloud.clock.now + timedelta(minutes=10)
    cloud.control("PutSpotPrice", InstanceType="t3.micro", SpotPrice="0.02", EffectiveFrom=later)
    assert (price(cloud), price(cloud, "us-east-1b")) == (0.005, before)
    listed = cloud.control("DescribeSpotPrices")["SpotPrices"]
    assert [(one["AvailabilityZone"], one["SpotPrice"]) for one in listed] == [
        ("us-east-1a", "0.005000"),
        ("us-east-1a", "0.020000"),
        ("us-east-1b", "0.020000"),
        ("us-east-1c", "0.020000"),
    ]
    cloud.clock.forward(minutes=10)
    assert (price(cloud), price(cloud, "us-east-1b")) == (0.02, 0.02)
    cloud.control("ResetSpotPrice", InstanceType="t3.micro")
    assert price(cloud) == before
    assert cloud.control("DescribeSpotPrices") == {"SpotPrices": []}


def test_what_a_price_was_cannot_be_changed(cloud: Cloud) -> None:
    before = cloud.clock.now - timedelta(seconds=1)
    with pytest.raises(ServiceError, match="effectiveFrom") as refused:
        cloud.control("PutSpotPrice", InstanceType="t3.micro", SpotPrice="0.02", EffectiveFrom=before)
    assert refused.value.code == "InvalidParameterValue"


@pytest.mark.parametrize("wrong", ["0", "-1", "much", "nan", "inf", "", "0.0000004", "1e300", "1_0", " 1", "."])
def test_a_price_that_is_none_is_refused(cloud: Cloud, wrong: str) -> None:
    with pytest.raises(ServiceError, match="spotPrice") as refused:
        cloud.control("PutSpotPrice", InstanceType="t3.micro", SpotPrice=wrong)
    assert refused.value.code == "InvalidParameterValue"


def test_a_price_has_six_digits(cloud: Cloud) -> None:
    """What is told is what holds."""
    cloud.control("PutSpotPrice", InstanceType="t3.micro", SpotPrice="0.12345678")
    assert price(cloud) == 0.123457


def test_there_is_room_for_so_many(cloud: Cloud) -> None:
    assert launchable(cloud, 1, 5) == 5
    cloud.control("PutCapacity", InstanceType="*", InstanceCount=0)
    assert launchable(cloud, 1, 5) == "InsufficientInstanceCapacity"
    cloud.control("PutCapacity", InstanceType="t3.micro", InstanceCount=3)
    assert launchable(cloud, 1, 5) == 3
    assert launchable(cloud, 4, 5) == "InsufficientInstanceCapacity"
    cloud.control("PutCapacity", InstanceType="t3.micro", MarketType="spot", InstanceCount=1)
    assert (launchable(cloud, 1, 5), launchable(cloud, 1, 5, "spot")) == (3, 1)
    cloud.control("ResetCapacity", InstanceType="*")
    cloud.control("ResetCapacity", InstanceType="t3.micro", MarketType="any")
    assert (launchable(cloud, 1, 5), launchable(cloud, 1, 5, "spot")) == (5, 1)
    cloud.control("ResetCapacity", InstanceType="t3.micro")
    assert cloud.control("DescribeCapacity") == {"Capacities": []}


def test_a_quota_counts_vcpus_of_its_class(cloud: Cloud) -> None:
    cloud.control("PutQuota", InstanceClass="standard", MarketType="on-demand", VCpus=5)
    vcpus = types()["t3.micro"].vcpus
    assert launchable(cloud, 1, 9) == 5 // vcpus
    assert launchable(cloud, 9, 9) == "VcpuLimitExceeded"
    assert launchable(cloud, 9, 9, "spot") == 9
    cloud.control("PutQuota", InstanceClass="standard", MarketType="spot", VCpus=0)
    assert launchable(cloud, 1, 1, "spot") == "MaxSpotInstanceCountExceeded"
    cloud.control("ResetQuota", InstanceClass="standard", MarketType="on-demand")
    assert [one["MarketType"] for one in cloud.control("DescribeQuotas")["Quotas"]] == ["spot"]
    with pytest.raises(ServiceError, match="There is no quota 'large'; there are dl, f, g"):
        cloud.control("PutQuota", InstanceClass="large", MarketType="spot", VCpus=1)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("t3.micro", "standard"),
        ("im4gn.large", "standard"),
        ("inf2.48xlarge", "inf"),
        ("vt1.3xlarge", "g"),
        ("p4d.x", "p"),
    ],
)
def test_a_type_counts_towards_its_class(name: str, family: str) -> None:
    assert family_of(name) == family


def test_only_what_the_market_gave_has_notice(cloud: Cloud) -> None:
    mine = cloud.run()["InstanceId"]
    for operation in ("InterruptInstance", "RecommendRebalance", "WithdrawInterruption"):
        with pytest.raises(ServiceError, match="not a Spot Instance"):
            cloud.control(operation, InstanceId=mine)
    assert cloud.control("DescribeInterruptions") == {"Interruptions": []}
