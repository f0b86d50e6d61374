"""That a scrape's errors are found: the ones that libcloud's has, put into figures which are right."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylift.catalogue import on_demand, types

SCRIPT = Path(__file__).parents[2] / "scripts" / "make_catalogue.py"

RIGHT = {
    name: price
    for name, kind in types().items()
    if (price := on_demand(name, "us-east-1")) is not None and not kind.bare_metal and kind.accelerators is None
}


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_catalogue", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make = load()


@given(st.sets(st.sampled_from(sorted(RIGHT)), max_size=80), st.sampled_from([1.06, 1.0625, 1.1]))
def test_a_dedicated_price_in_place_of_the_usual_one_is_left_out(wrong: set[str], factor: float) -> None:
    """And nothing right goes with it, as long as two of a family are right."""
    elsewhere = {name: round(price * 1.115, 5) for name, price in RIGHT.items()}
    families: dict[str, list[str]] = {}
    for name in RIGHT:
        families.setdefault(name.partition(".")[0], []).append(name)
    wrong = {
        name for name in wrong if len([each for each in families[name.partition(".")[0]] if each not in wrong]) > 1
    }
    scraped = elsewhere | {name: round(elsewhere[name] * factor, 5) for name in wrong}
    kept = make.like_its_family(scraped, RIGHT)
    assert not wrong & set(kept)
    alone = {name for members in families.values() if len(members) == 1 for name in members}
    assert set(kept) == set(RIGHT) - wrong - alone


def test_a_family_that_fits_no_pattern_is_left_out() -> None:
    reference = {"m9.large": 1.0, "m9.xlarge": 2.0, "m9.2xlarge": 4.0}
    assert make.like_its_family({"m9.large": 1.1, "m9.xlarge": 2.2, "m9.2xlarge": 4.4}, reference) != {}
    assert make.like_its_family({"m9.large": 1.1, "m9.xlarge": 2.2, "m9.2xlarge": 9.9}, reference) == {}
    assert make.like_its_family({"m9.large": 1.1}, reference) == {}
    assert make.like_its_family({"m9.large": 1.0}, reference) == {"m9.large": 1.0}


def test_a_listed_price_comes_before_a_scraped_one_and_has_to_go_with_its_family() -> None:
    reference = {"m9.large": 1.0, "m9.xlarge": 2.0, "m9.2xlarge": 4.0}
    scraped = {"m9.large": 1.17, "m9.2xlarge": 4.4}
    assert make.with_listed(scraped, {"m9.large": 1.1, "m9.xlarge": 2.2, "n1.large": 1.0}, reference) == {
        "m9.large": 1.1,
        "m9.xlarge": 2.2,
        "m9.2xlarge": 4.4,
    }
    with pytest.raises(AssertionError):
        make.with_listed(scraped, {"m9.large": 1.1, "m9.xlarge": 22.0}, reference)


def test_what_the_scrape_did_not_find_is_no_price() -> None:
    scraped = {"m9.large": {"us-east-1": 0.0, "eu-west-1": 1.0}, "m9": {"us-east-1": 7.0}}
    assert make.of_region(scraped, "us-east-1") == {}
    assert make.of_region(scraped, "eu-west-1") == {"m9.large": 1.0}


def test_a_price_that_was_lowered_since_is_not_taken_from_an_older_scrape() -> None:
    scraped = {"p9.large": {"us-east-1": 9.0}, "m9.large": {"us-east-1": 1.1}}
    assert make.outdated("p9.large", {"p9.large": 5.0}, scraped)
    assert not make.outdated("m9.large", {"m9.large": 1.0}, scraped)


def test_bare_metal_costs_what_the_virtual_server_of_its_size_costs() -> None:
    described = {name: {"VCpuInfo": {"DefaultVCpus": 96}} for name in ("m9.24xlarge", "m9.metal", "m9.metal-24xl")}
    typed = {"m9.24xlarge": 5.0, "m9.metal": 5.0, "m9.metal-24xl": 5.5}
    assert make.of_shared_tenancy(typed, {}, described) == {"m9.24xlarge": 5.0, "m9.metal": 5.0}
    assert make.of_shared_tenancy(typed, {"m9.metal-24xl": 5.0}, described)["m9.metal-24xl"] == 5.0


def test_a_type_stands_once_in_what_was_typed(tmp_path: Path) -> None:
    (tmp_path / "typed.txt").write_text("# a line about it\nm9 large=1.5 xlarge=3\nm9 2xlarge=6\n")
    assert make.read_typed(tmp_path / "typed.txt") == {"m9.large": 1.5, "m9.xlarge": 3.0, "m9.2xlarge": 6.0}
    (tmp_path / "typed.txt").write_text("m9 large=1.5\nm9 large=1.6\n")
    with pytest.raises(AssertionError):
        make.read_typed(tmp_path / "typed.txt")


def test_a_reserved_price_stands_to_that_on_demand_as_its_family_s_do() -> None:
    """A slip of whoever typed them over would stand out."""
    for years in (1, 3):
        shares: dict[str, list[float]] = {}
        for name, price in make.read_reserved(years, RIGHT).prices.items():
            shares.setdefault(name.partition(".")[0], []).append(price / RIGHT[name])
        assert len(shares) > 40
        assert [each for each in shares.values() if max(each) / min(each) > 1.03] == []
