"""Renews the catalogue from AWS: types, on-demand, reserved and spot prices.

They are those of DescribeInstanceTypes, the Pricing API, and DescribeSpotPriceHistory. Figures that one of the three
does not give stay as they were, with their own date.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from skylift.catalogue import Source, types
from skylift.catalogue.described import from_description
from skylift.catalogue.price import Figures, figures
from skylift.catalogue.product import FILTERS, TENANCIES, read_products
from skylift.catalogue.refreshed import forget
from skylift.catalogue.writing import write_prices, write_types
from skylift.client.errors import NotNow, RunError, Unreachable
from skylift.client.job.settings import Settings
from skylift.client.remote.api import Api

_LINUX = "Linux/UNIX"
_PRICING = (("cn-", "cn-northwest-1"), ("ap-", "ap-south-1"), ("eu-", "eu-central-1"), ("me-", "eu-central-1"))
"""The Pricing API has endpoints in few regions. Each of them has the prices of all regions."""
_PRICING_ELSEWHERE = "us-east-1"


@dataclass(frozen=True)
class Renewed:
    """The result for one kind of figures: how many there are now, or why the old ones stay."""

    what: str
    count: int
    why_not: str = ""


class Refresh:
    """Renews the figures of one region, into a folder; `api_of` makes the clients."""

    def __init__(self, settings: Settings, folder: Path, api_of: Callable[[Settings], Api] = Api) -> None:
        self._settings, self._folder, self._api_of = settings, folder, api_of
        self._now = datetime.now(UTC)
        self._api = api_of(settings)
        self._no_way = ""

    def run(self) -> list[Renewed]:
        """Raises NoCredentials. Any other failure is part of the result for its kind of figures."""
        region = self._settings.region
        known = dict(figures(region))
        renewed = [
            self._attempt("types", self._renew_types),
            self._attempt("prices", partial(self._take, known, self._products)),
            self._attempt("spot prices", partial(self._take, known, self._spot)),
        ]
        if not all(each.why_not for each in renewed[1:]):
            with _writing(self._folder):
                write_prices(self._folder, region, known)
        forget()
        return renewed

    def _attempt(self, what: str, renew: Callable[[], int]) -> Renewed:
        """When AWS cannot be reached, only the first attempt waits."""
        if self._no_way:
            return Renewed(what, 0, self._no_way)
        try:
            return Renewed(what, renew())
        except RunError as error:
            if isinstance(error, Unreachable) and not isinstance(error, NotNow):
                self._no_way = error.message
            return Renewed(what, 0, error.message)

    @staticmethod
    def _take(known: dict[str, Figures], ask: Callable[[], Mapping[str, Figures]]) -> int:
        found = ask()
        known.update(found)
        return sum(len(each.prices) for each in found.values())

    def _renew_types(self) -> int:
        """Types that only other regions have stay as they are."""
        found = self._api.pages("ec2", "describe_instance_types", "InstanceTypes")
        renewed = {kind.name: kind for kind in map(from_description, found)}
        source = self._source(self._api, "ec2", "DescribeInstanceTypes")
        with _writing(self._folder):
            write_types(self._folder, source, {**types(), **renewed}.values())
        return len(renewed)

    def _products(self) -> dict[str, Figures]:
        api = self._api_of(replace(self._settings, region=pricing_region(self._settings.region)))
        texts: list[str] = []
        for tenancy in TENANCIES:
            wanted = {**FILTERS, "regionCode": self._settings.region, "tenancy": tenancy}
            filters = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in wanted.items()]
            texts += api.pages("pricing", "get_products", "PriceList", ServiceCode="AmazonEC2", Filters=filters)
        source = self._source(api, "pricing", "Pricing API")
        found = {kind: Figures(source, prices) for kind, prices in read_products(texts).items()}
        if "on-demand" not in found:
            raise RunError(f"The Pricing API has no prices of {self._settings.region}.")
        return found

    def _spot(self) -> dict[str, Figures]:
        found = self._api.pages(
            "ec2",
            "describe_spot_price_history",
            "SpotPriceHistory",
            StartTime=self._now,
            EndTime=self._now,
            ProductDescriptions=[_LINUX],
        )
        prices = lowest(found)
        if not prices:
            raise RunError(f"There are no spot prices in {self._settings.region}.")
        return {"spot": Figures(self._source(self._api, "ec2", "DescribeSpotPriceHistory"), prices)}

    def _source(self, api: Api, service: str, name: str) -> Source:
        return Source(f"{self._now:%Y-%m-%d}", f"{name} at {api.address(service)}")


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(f"What AWS answered cannot be kept: {error}", f"It goes to {folder}.") from None


def lowest(history: Iterable[Any]) -> dict[str, float]:
    """The price of each type in the zone of the region where it is lowest; of several in one zone, the last one."""
    last: dict[tuple[str, str], tuple[Any, float]] = {}
    for each in history:
        place = (each["InstanceType"], each.get("AvailabilityZone", ""))
        dated = (each["Timestamp"], float(each["SpotPrice"]))
        last[place] = max(last.get(place, dated), dated)
    found: dict[str, float] = {}
    for (name, _), (_, price) in last.items():
        found[name] = min(found.get(name, price), price)
    return found


def pricing_region(region: str) -> str:
    return next((there for begin, there in _PRICING if region.startswith(begin)), _PRICING_ELSEWHERE)
