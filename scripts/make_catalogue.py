"""Makes the figures of skylift/catalogue from their sources, which docs/catalogue.md names.

    scripts/make_catalogue.py MOTO_INSTANCE_TYPES_JSON_GZ LIBCLOUD_PRICING_JSON

The first file comes with moto's wheel (moto/ec2/resources/instance_types.json.gz), the second with apache-libcloud's
(libcloud/data/pricing.json). What was typed over from elsewhere stands in scripts/catalogue. The same sources give the
same figures, byte for byte.

libcloud's scrape has the price of a dedicated instance in place of the usual one here and there, and 0 for others.
Within a family the price goes with the size, and dedicated instances cost a twentieth to a ninth more: that finds them,
and what is found is left out.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skylift.catalogue.described import from_description
from skylift.catalogue.price import Figures
from skylift.catalogue.source import Source
from skylift.catalogue.writing import write_prices, write_types

HERE = Path(__file__).parent
CATALOGUE = HERE.parent / "skylift" / "catalogue"

TYPED_REGION = "us-east-1"
REGIONS = (TYPED_REGION, "us-west-2", "eu-west-1", "eu-central-1")

SAME = 0.012
"""How much two figures of one family may differ for the last digit that AWS gives of the smaller one."""
DEDICATED = (1.045, 1.125)
"""What a dedicated instance costs of a usual one."""

OUT_OF_LINE = {"x8i.96xlarge", "x8i.metal-96xl"}
"""Typed prices that are a sixth above their family's, in a source that has nobody to agree with."""

Prices = dict[str, float]

SOURCES = {
    "types": Source("2026-10-27", "DescribeInstanceTypes, by moto 5.2.5"),
    "typed": Source("2026-01-19", "AWS Pricing API, by karpenter-provider-aws"),
    "spot": Source("2025-10-01", "SkyPilot's catalogue, a copy of that day or later"),
    "reserved": Source("2024-06-27", "AWS pricing page, by yeo/ec2.shop"),
    "listed": Source("2025-03-02", "AWS price list, by apache-libcloud 3.9.1 and ec2-cheaper-finder"),
}


def main(moto: Path, libcloud: Path) -> None:
    described = json.loads(gzip.decompress(moto.read_bytes()))
    write_types(CATALOGUE, SOURCES["types"], map(from_description, described.values()))
    scraped = json.loads(libcloud.read_text())["compute"]["ec2_linux"]
    typed = read_typed(HERE / "catalogue" / "on_demand_us-east-1.txt")
    shared = of_shared_tenancy(typed, of_region(scraped, TYPED_REGION), described)
    for region in REGIONS:
        if region == TYPED_REGION:
            on_demand = Figures(SOURCES["typed"], shared)
            more = {f"reserved {years} no-upfront": read_reserved(years, shared) for years in (1, 3)}
        else:
            found = of_region(scraped, region)
            fresh = {name: price for name, price in found.items() if not outdated(name, shared, scraped)}
            kept = with_listed(fresh, read_typed(HERE / "catalogue" / f"listed_{region}.txt"), shared)
            on_demand = Figures(
                SOURCES["listed"], joined(kept, read_typed(HERE / "catalogue" / f"on_demand_{region}.txt"))
            )
            more = {}
        spot = Figures(SOURCES["spot"], read_typed(HERE / "catalogue" / f"spot_{region}.txt"))
        write_prices(CATALOGUE, region, {"on-demand": on_demand, "spot": spot, **more})


def read_typed(path: Path) -> Prices:
    """Lines of `family size=price size=price`."""
    found: Prices = {}
    for line in path.read_text().splitlines():
        if line.startswith("#"):
            continue
        family, *sizes = line.split()
        for size, price in (each.split("=") for each in sizes):
            assert f"{family}.{size}" not in found, f"{family}.{size} stands there twice"
            found[f"{family}.{size}"] = float(price)
    return found


def with_listed(scraped: Prices, listed: Prices, reference: Prices) -> Prices:
    """The listed prices, and the scraped ones that stand to the reference as their families do.

    A listed price for which the reference has nothing is left out, as any other. One that does not go with its family
    is a slip of whoever typed it over.
    """
    kept = like_its_family({**scraped, **listed}, reference)
    slips = [name for name in listed if name in reference and name not in kept]
    assert not slips, f"not as their families: {slips}"
    return kept


def joined(kept: Prices, typed: Prices) -> Prices:
    """With the typed prices where there are none; where there are, they have to be the same."""
    for name, price in typed.items():
        assert same(kept.get(name, price), price), f"{name}: {kept[name]} and {price}"
    return {**kept, **typed}


def read_reserved(years: int, on_demand: Prices) -> Figures:
    """Of types that have a price on demand, to which a commitment can be compared."""
    typed = read_typed(HERE / "catalogue" / f"reserved_{years}_no-upfront_{TYPED_REGION}.txt")
    return Figures(SOURCES["reserved"], {name: price for name, price in typed.items() if name in on_demand})


def of_region(scraped: Mapping[str, Mapping[str, float]], region: str) -> Prices:
    """A price of 0 is one that the scrape did not find; names without a size are headings of its pages."""
    found = {name: float(regions.get(region) or 0) for name, regions in scraped.items() if "." in name}
    return {name: price for name, price in found.items() if price}


def of_shared_tenancy(typed: Prices, scraped: Prices, described: Mapping[str, Any]) -> Prices:
    """The typed prices without those of dedicated tenancy, which bare metal has there.

    Bare metal of shared tenancy costs what the virtual server of as many vCPUs costs. Where the scrape has that figure,
    it is taken.
    """
    found: Prices = {}
    for name, price in typed.items():
        family, _, size = name.partition(".")
        if name not in described or name in OUT_OF_LINE:
            continue
        if not size.startswith("metal"):
            found[name] = price
            continue
        vcpus = described[name]["VCpuInfo"]["DefaultVCpus"]
        alike = [
            typed[other]
            for other in typed
            if other.startswith(f"{family}.")
            and not other.startswith(f"{family}.metal")
            and described[other]["VCpuInfo"]["DefaultVCpus"] == vcpus
        ]
        if not alike or same(price, alike[0]):
            found[name] = price
        elif name in scraped and same(scraped[name], alike[0]):
            found[name] = scraped[name]
    return found


def outdated(name: str, shared: Prices, scraped: Mapping[str, Mapping[str, float]]) -> bool:
    """Whether the price has been lowered since: then the scrape has an old one everywhere."""
    then, now = scraped[name].get(TYPED_REGION), shared.get(name)
    return bool(then and now and then / now > DEDICATED[1])


def like_its_family(prices: Prices, reference: Prices) -> Prices:
    """The prices that stand to the reference as their family's do.

    That of a type whose family has no other may be a dedicated one, and nothing would tell: it is left out, unless it
    is what the reference says, too.
    """
    ratios: dict[str, dict[str, float]] = defaultdict(dict)
    for name, price in prices.items():
        if name in reference:
            ratios[name.partition(".")[0]][name] = price / reference[name]
    found: Prices = {}
    for family in ratios.values():
        least = min(family.values())
        alike = [name for name, ratio in family.items() if same(ratio, least)]
        if all(same(ratio, least) or dedicated(ratio, least) for ratio in family.values()) and (
            len(alike) > 1 or same(least, 1)
        ):
            found |= {name: prices[name] for name in alike}
    return {name: prices[name] for name in prices if name in found}


def same(price: float, other: float) -> bool:
    return abs(price / other - 1) <= SAME


def dedicated(ratio: float, usual: float) -> bool:
    return DEDICATED[0] <= ratio / usual <= DEDICATED[1]


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
