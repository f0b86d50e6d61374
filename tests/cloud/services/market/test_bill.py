"""GetBill: what is asked of it, and what it makes of an account's servers."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from ec2_fixtures import Cloud, tagged

from skylift import catalogue
from skylift.cloud.domain.error import ServiceError


def amounts(bill: dict[str, Any]) -> dict[str, Decimal]:
    return {one["Key"]: Decimal(one["Amount"]) for one in bill["Groups"]}


def ran(cloud: Cloud, hours: float, **params: Any) -> str:
    """A server that was on for so long and is off now."""
    made: str = cloud.run(**params)["InstanceId"]
    cloud.observe(made, "running")
    cloud.clock.forward(hours=hours)
    cloud.call("StopInstances", InstanceIds=[made])
    cloud.observe(made, "stopped")
    return made


def test_by_what_it_is_added_up(cloud: Cloud) -> None:
    first = ran(cloud, 2, TagSpecifications=tagged("instance", team="net"))
    second = ran(cloud, 1, InstanceType="m7i.large")
    micro, large = (Decimal(str(catalogue.on_demand(kind, "us-east-1"))) for kind in ("t3.micro", "m7i.large"))
    by_tag = amounts(cloud.control("GetBill", GroupBy="tag", TagKey="team"))
    assert by_tag["net"] == 2 * micro
    by_option = amounts(cloud.control("GetBill", GroupBy="option"))
    assert by_option["on-demand"] == 2 * micro + large
    assert by_option["public-ipv4"] == Decimal("0.015")
    by_type = amounts(cloud.control("GetBill", GroupBy="type"))
    assert (by_type["t3.micro"], by_type["m7i.large"]) == (2 * micro, large)
    by_instance = amounts(cloud.control("GetBill", GroupBy="instance"))
    assert set(by_instance) == {first, second}
    totals = {cloud.control("GetBill", **by)["Total"] for by in ({}, {"GroupBy": "type"}, {"GroupBy": "instance"})}
    assert totals == {str(sum(by_type.values()))}


def test_from_the_beginning_of_the_month_until_now(cloud: Cloud) -> None:
    ran(cloud, 1)
    bill = cloud.control("GetBill")
    assert bill["From"] == cloud.clock.now.replace(day=1, hour=0, minute=0, second=0)
    assert bill["To"] == cloud.clock.now + timedelta(seconds=1)
    (instance,) = (one for one in bill["Lines"] if one["Option"] == "on-demand")
    assert (instance["Seconds"], instance["PriceUnit"], instance["Type"]) == (3600, "hour", "t3.micro")
    later = cloud.clock.now - timedelta(minutes=30)
    half = cloud.control("GetBill", From=later)
    assert [one["Seconds"] for one in half["Lines"] if one["Option"] == "on-demand"] == [1800]
    earlier = cloud.control("GetBill", To=later)
    parts = Decimal(half["Total"]) + Decimal(earlier["Total"])
    assert abs(parts - Decimal(bill["Total"])) < Decimal("1e-8")
    assert {one["Option"] for one in bill["PricesAsOf"]} >= {"on-demand", "volume"}


def test_a_spot_server_costs_the_price_that_was_set(cloud: Cloud) -> None:
    cloud.control("PutSpotPrice", InstanceType="t3.micro", SpotPrice="0.005")
    made = cloud.run()["InstanceId"]
    with cloud.database.write() as tx:
        tx.save(replace(cloud.row(made), spot_request_id="sir-12345678"))
    cloud.observe(made, "running")
    cloud.clock.forward(hours=2)
    assert amounts(cloud.control("GetBill", GroupBy="option"))["spot"] == Decimal("0.01")


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"GroupBy": "tag"}, "MissingParameter"),
        ({"TagKey": "team"}, "InvalidParameterCombination"),
        ({"GroupBy": "colour"}, "InvalidParameterValue"),
    ],
)
def test_what_cannot_be_meant_is_refused(cloud: Cloud, params: dict[str, str], code: str) -> None:
    with pytest.raises(ServiceError) as refused:
        cloud.control("GetBill", **params)
    assert refused.value.code == code
    for wrong in ({"From": cloud.clock.now + timedelta(days=1)}, {"To": cloud.clock.now - timedelta(days=300)}):
        with pytest.raises(ServiceError, match="From"):
            cloud.control("GetBill", **wrong)
