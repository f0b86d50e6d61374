"""Prices from what the Pricing API answers: a product of AmazonEC2 with its terms, as JSON text.

https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/reading-service-price-list-file-for-services.html
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from skylift.catalogue.price import HOURS_A_YEAR, Kind

FILTERS = {
    "operatingSystem": "Linux",
    "preInstalledSw": "NA",
    "capacitystatus": "Used",
    "licenseModel": "No License required",
}
"""What all products that are asked for have in common; without them a type has dozens, by software and licence."""

TENANCIES = {"Shared": "on-demand", "Dedicated": "dedicated"}
"""Whose hour on demand is which kind of price."""


def read_products(texts: Iterable[str]) -> dict[Kind, dict[str, float]]:
    """By kind, the types that have a price. A commitment is known for shared tenancy only."""
    found: dict[Kind, dict[str, float]] = {}
    for text in texts:
        product = json.loads(text)
        attributes = product["product"]["attributes"]
        kind = TENANCIES.get(attributes.get("tenancy", ""))
        name = attributes.get("instanceType", "")
        if kind is None or not _is_plain(attributes):
            continue
        for term in product["terms"].get("OnDemand", {}).values():
            if price := _hourly(term, hours=1):
                found.setdefault(kind, {})[name] = price
        if kind == "on-demand":
            for term in product["terms"].get("Reserved", {}).values():
                _add_commitment(found, name, term)
    return found


def _is_plain(attributes: Mapping[str, str]) -> bool:
    """An instance's own hours, not those of an unused reservation or of a block of capacity, whose products look
    alike."""
    plain = {**FILTERS, "marketoption": "OnDemand"}
    return all(attributes.get(key, value) == value for key, value in plain.items())


def _add_commitment(found: dict[Kind, dict[str, float]], name: str, term: Any) -> None:
    terms = term["termAttributes"]
    years = {"1yr": 1, "3yr": 3}.get(terms.get("LeaseContractLength", "").replace(" ", ""))
    payment = terms.get("PurchaseOption", "").lower().replace(" ", "-")
    if years is None or terms.get("OfferingClass") != "standard":
        return
    price = _hourly(term, hours=years * HOURS_A_YEAR)
    if price:
        found.setdefault(f"reserved {years} {payment}", {})[name] = price


def _hourly(term: Any, hours: int) -> float:
    """What is paid by the hour, and the share of an hour in what is paid beforehand."""
    dimensions = term["priceDimensions"].values()
    beforehand = sum(_usd(each) for each in dimensions if each["unit"] == "Quantity")
    return sum(_usd(each) for each in dimensions if each["unit"] == "Hrs") + beforehand / hours


def _usd(dimension: Any) -> float:
    return float(dimension["pricePerUnit"].get("USD", 0))
