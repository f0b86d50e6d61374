from __future__ import annotations

from collections import defaultdict
from datetime import date
from statistics import median

import pytest

from skylift.catalogue import dedicated, on_demand, priced_regions, reserved, savings_plan, sources, spot, types


@pytest.mark.parametrize("region", priced_regions())
def test_most_current_types_have_a_price(region: str) -> None:
    priced = [kind.name for kind in types().values() if kind.current and on_demand(kind.name, region) is not None]
    assert len(priced) >= 300


def test_three_regions_are_priced_and_each_says_of_when() -> None:
    assert len(priced_regions()) >= 3
    for (region, _), source in sources().items():
        assert date.fromisoformat(source.date) and source.name
        assert region in ("", *priced_regions())
    assert ("", "types") in sources()


@pytest.mark.parametrize("region", priced_regions())
def test_within_a_family_the_price_goes_with_the_size(region: str) -> None:
    """What has as much memory a vCPU costs as much a vCPU; accelerators are counted otherwise."""
    families: dict[tuple[str, float], dict[str, float]] = defaultdict(dict)
    for kind in types().values():
        price = on_demand(kind.name, region)
        if price is not None and kind.accelerators is None:
            families[kind.family, round(kind.memory_mib / kind.vcpus / 1024, 1)][kind.name] = price / kind.vcpus
    wrong = [
        (name, price)
        for members in families.values()
        for name, price in members.items()
        if abs(price / median(members.values()) - 1) > 0.015
    ]
    assert wrong == []


@pytest.mark.parametrize("region", priced_regions())
def test_every_other_price_is_below_that_on_demand(region: str) -> None:
    for name in types():
        usual = on_demand(name, region)
        others = [spot(name, region)]
        for years in (1, 3):
            others += [reserved(name, region, years, "no-upfront"), savings_plan(name, region, years, "no-upfront")]
        for other in others:
            assert other is None or (usual is not None and 0 < other <= usual)
        alone = dedicated(name, region)
        assert alone is None or (usual is not None and usual <= alone <= usual * 1.13)


def test_known_prices() -> None:
    assert on_demand("t3.micro", "us-east-1") == 0.0104
    assert on_demand("m7i.large", "us-east-1") == 0.1008
    assert on_demand("c8g.metal-24xl", "us-east-1") == on_demand("c8g.24xlarge", "us-east-1") == 3.82848
    assert on_demand("a1.medium", "us-east-1") == 0.0255


def test_what_is_not_known_is_none() -> None:
    assert on_demand("m7i.large", "mars-north-1") is None
    assert on_demand("t9.huge", "us-east-1") is None
    assert on_demand("mac2.metal", "us-east-1") is None
    assert reserved("t9.huge", "us-east-1", 1, "no-upfront") is None
    assert reserved("m7i.large", "us-east-1", 2, "no-upfront") is None
