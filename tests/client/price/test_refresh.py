"""The catalogue made anew from what AWS answers: moto's EC2, and a Pricing API with answers like AWS's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from price_list import price_list, product

from skylift import catalogue
from skylift.client.errors import RunError
from skylift.client.job.settings import Settings
from skylift.client.price.refresh import Refresh, Renewed, lowest, pricing_region
from skylift.client.remote.api import Api

REGION = "eu-west-1"

PRODUCTS = [
    product(
        "m7i.large",
        REGION,
        "0.1124000000",
        commitments=[
            ("1yr", "standard", "No Upfront", "0.0744", ""),
            ("1yr", "standard", "All Upfront", "0.0000000000", "613.2"),
            ("3yr", "standard", "Partial Upfront", "0.0240", "657"),
            ("1yr", "convertible", "No Upfront", "0.0900", ""),
        ],
    ),
    product("m7i.xlarge", REGION, "0.2248000000"),
    product("t9.small", REGION, "0.0200000000"),
    product("m7i.large", REGION, "0.1236000000", tenancy="Dedicated"),
    product("m7i.large", REGION, "0.0000000000", tenancy="Host"),
    product("m7i.large", REGION, "0.2000000000", operatingSystem="Windows"),
    product("m7i.large", REGION, "0.0000010000", marketoption="CapacityBlock"),
    product("m7i.large", REGION, "0.9000000000", preInstalledSw="SQL Std"),
    product("m7i.large", REGION, "0.1124000000", capacitystatus="UnusedCapacityReservation"),
    product("c7i.large", "us-east-1", "0.0892500000"),
]


@pytest.fixture
def there(settings: Settings) -> Settings:
    return replace(settings, region=REGION)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    chosen = catalogue.refreshed_folder(tmp_path)
    catalogue.use(chosen)
    yield chosen
    catalogue.use(None)


class Quick(Api):
    """moto takes seconds to describe all types: a few will do. What is no API of its is an internal error of its."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.patience.seconds = 0.0

    def pages(self, service: str, operation: str, key: str, **params: Any) -> list[Any]:
        if operation == "describe_instance_types":
            params["InstanceTypes"] = ["m7i.large", "m7i.xlarge", "p5.48xlarge"]
        return super().pages(service, operation, key, **params)


def with_prices(url: str) -> Any:
    """The Pricing API's region is another one than that of the prices: so its clients are told from the others."""

    def api(settings: Settings) -> Api:
        return Quick(settings if settings.region == REGION else replace(settings, endpoint_url=url))

    return api


def by_kind(told: list[Renewed]) -> dict[str, Renewed]:
    return {each.what: each for each in told}


def test_types_and_prices_are_those_that_aws_gives(there: Settings, folder: Path) -> None:
    packaged = set(catalogue.types())
    with price_list(PRODUCTS) as url:
        told = by_kind(Refresh(there, folder, with_prices(url)).run())
    assert [each.why_not for each in told.values()] == ["", "", ""]
    assert catalogue.on_demand("m7i.large", REGION) == 0.1124
    assert catalogue.on_demand("m7i.xlarge", REGION) == 0.2248
    assert catalogue.on_demand("t9.small", REGION) == 0.02, "of a type that the package does not know"
    assert catalogue.on_demand("c7i.large", REGION) is None, "prices of another region are not this one's"
    assert catalogue.dedicated("m7i.large", REGION) == 0.1236
    assert catalogue.reserved("m7i.large", REGION, 1, "no-upfront") == 0.0744
    assert catalogue.reserved("m7i.large", REGION, 1, "all-upfront") == 0.07
    assert catalogue.reserved("m7i.large", REGION, 3, "partial-upfront") == 0.049
    assert catalogue.reserved("m7i.large", REGION, 3, "no-upfront") is None
    assert told["types"].count == 3
    assert packaged <= set(catalogue.types()), "what other regions have is still known"
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    known = catalogue.sources()
    for kind in ("on-demand", "dedicated", "spot", "reserved 1 no-upfront"):
        assert known[REGION, kind].age(datetime.fromisoformat(today).date()) <= 1
    assert known[REGION, "on-demand"].name == f"Pricing API at {url}"
    assert told["spot prices"].count > 100
    assert catalogue.on_demand("m7i.large", "us-east-1") == 0.1008, "other regions are the package's"


def test_where_there_is_no_pricing_api_its_prices_stay(there: Settings, folder: Path) -> None:
    """moto has none, as the embedded EC2."""
    before, source = catalogue.on_demand("m7i.xlarge", REGION), catalogue.sources()[REGION, "on-demand"]
    told = by_kind(Refresh(there, folder, Quick).run())
    assert told["types"].why_not == told["spot prices"].why_not == ""
    assert told["prices"].why_not
    assert catalogue.on_demand("m7i.xlarge", REGION) == before is not None
    assert catalogue.sources()[REGION, "on-demand"] == source
    assert catalogue.spot("m7i.large", REGION) is not None


def test_without_a_way_to_aws_everything_stays_and_one_attempt_is_enough(there: Settings, folder: Path) -> None:
    asked: list[str] = []

    class Nowhere(Api):
        def pages(self, service: str, operation: str, key: str, **params: Any) -> list[Any]:
            asked.append(operation)
            return super().pages(service, operation, key, **params)

    closed = replace(there, endpoint_url="http://127.0.0.1:1")
    told = Refresh(closed, folder, Nowhere).run()
    assert len({each.why_not for each in told}) == 1
    assert "127.0.0.1:1" in told[0].why_not
    assert asked == ["describe_instance_types"]
    assert not folder.exists()
    assert catalogue.on_demand("m7i.large", "us-east-1") == 0.1008


def test_a_region_without_products_says_so(there: Settings, folder: Path) -> None:
    with price_list([]) as url:
        told = by_kind(Refresh(there, folder, with_prices(url)).run())
    assert told["prices"].why_not == f"The Pricing API has no prices of {REGION}."
    assert catalogue.on_demand("m7i.xlarge", REGION) is not None


def test_a_folder_that_cannot_be_written_is_said(there: Settings, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(RunError, match="cannot be kept"):
        Refresh(there, catalogue.refreshed_folder(tmp_path / "taken"), Quick).run()


def test_the_lowest_zone_counts_and_in_each_zone_the_last_price() -> None:
    now = datetime.now(UTC)

    def price(name: str, zone: str, text: str, age: int) -> dict[str, Any]:
        then = now - timedelta(hours=age)
        return {"InstanceType": name, "AvailabilityZone": zone, "SpotPrice": text, "Timestamp": then}

    history = [
        price("m7i.large", "a", "0.0100", 9),
        price("m7i.large", "a", "0.0400", 1),
        price("m7i.large", "b", "0.0390", 2),
        price("c7i.large", "a", "0.0300", 2),
    ]
    assert lowest(history) == lowest(history[::-1]) == {"m7i.large": 0.039, "c7i.large": 0.03}


def test_the_pricing_api_that_is_near() -> None:
    regions = ["us-west-2", "eu-west-1", "ap-southeast-2", "cn-north-1", "sa-east-1", "me-south-1"]
    assert [pricing_region(region) for region in regions] == [
        "us-east-1",
        "eu-central-1",
        "ap-south-1",
        "cn-northwest-1",
        "us-east-1",
        "eu-central-1",
    ]
