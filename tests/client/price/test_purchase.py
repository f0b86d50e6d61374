"""What a run costs under each way to buy, and from when on each pays: the arithmetic, held against sums done apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylift.client.job.quote import Commitment, Offer, Quote, Rates
from skylift.client.price.purchase import HOURS_A_MONTH, quote

RATES = Rates(
    "m7i.xlarge",
    "us-east-1",
    {"on-demand": "2026-01-19"},
    on_demand=0.2,
    spot=0.08,
    commitments=(
        Commitment("reserved", 1, "no-upfront", 0.13),
        Commitment("reserved", 3, "all-upfront", 0.08),
        Commitment("savings-plan", 1, "no-upfront", 0.15),
    ),
    dedicated=0.212,
    host=4.0,
)


def offer(found: Quote, name: str, years: int | None = None) -> Offer:
    (one,) = [each for each in found.offers if (each.name, each.years) == (name, years)]
    return one


def test_a_run_and_a_month() -> None:
    found = quote(RATES, 1800, 100)
    usual, spot, one = offer(found, "on-demand"), offer(found, "spot"), offer(found, "reserved", 1)
    assert (usual.run, usual.month) == pytest.approx((0.1, 20.0))
    assert (spot.run, spot.month, spot.pays_from) == pytest.approx((0.04, 8.0, 0))
    assert (one.run, one.month, one.pays_from) == pytest.approx((0.065, 0.13 * 730, 0.13 * 730 / 0.2))
    assert offer(found, "dedicated-instance").pays_from is None
    host = offer(found, "dedicated-host")
    assert (host.month, host.pays_from) == pytest.approx((4.0 * 730, 4.0 * 730 / 0.2))


def test_a_short_run_is_billed_for_a_minute() -> None:
    assert quote(RATES, 2, 1).seconds == 60
    assert offer(quote(RATES, 2, 1), "on-demand").run == pytest.approx(0.2 / 60)


@given(usual=st.floats(0.001, 400), share=st.floats(0.1, 1.2), hours=st.floats(0, 2000))
def test_it_pays_exactly_where_it_says(usual: float, share: float, hours: float) -> None:
    rates = Rates("x", "r", {}, on_demand=usual, commitments=(Commitment("reserved", 1, "no-upfront", usual * share),))
    one = offer(quote(rates, 60, hours), "reserved", 1)
    saves = usual * share * HOURS_A_MONTH < usual * min(hours, HOURS_A_MONTH)
    close = abs(share * HOURS_A_MONTH - min(hours, HOURS_A_MONTH)) < 0.001
    assert one.month is not None
    assert close or (one.month < usual * hours) == saves
    assert close or (one.pays_from is not None and hours > one.pays_from) == saves
    takes = quote(rates, 60, hours).advice.startswith("Take reserved")
    assert close or takes == saves


def test_advice() -> None:
    assert quote(RATES, 60, 100).advice == (
        "Take on-demand: 100 h a month are less than the 292 h from which a commitment pays."
        " Spot costs 60% less than on-demand, if the program may be interrupted."
    )
    assert quote(RATES, 60, 700).advice.startswith(
        "Take reserved, 3 years, all upfront: 700 h a month are more than the 292 h it pays from, and it saves 81.60"
    )


def test_nobody_hears_of_commitments_for_a_minute() -> None:
    assert quote(RATES, 60, 0.5).advice == "Take on-demand, or spot for 60% less if the program may be interrupted."
    assert quote(Rates("x9.large", "us-east-1", {}, on_demand=1.0), 60, 0.5).advice == "Take on-demand."
    assert not quote(RATES, 60, 0.5).commitments_matter
    assert quote(RATES, 60, 500).commitments_matter


def test_a_commitment_that_never_pays() -> None:
    rates = Rates("x", "r", {}, on_demand=0.1, commitments=(Commitment("reserved", 1, "no-upfront", 0.11),))
    assert offer(quote(rates, 60, 730), "reserved", 1).pays_from is None
    assert quote(rates, 60, 730).advice.startswith("Take on-demand: no commitment whose price is known costs less")


def test_what_one_commitment_does_not_serve_is_bought_on_demand() -> None:
    # Ten servers side by side: 730 hours a month, and a commitment is good for 73 of them.
    found = quote(RATES, 60, 730, 73)
    three = offer(found, "reserved", 3)
    assert three.month == pytest.approx(0.08 * 730 + 0.2 * (730 - 73))
    assert found.advice.startswith(
        "Take on-demand: 730 h a month, of which one commitment serves 73 h, are less than the 292 h from which"
    )


def test_what_no_source_tells_is_unknown_and_never_made_up() -> None:
    found = quote(Rates("x9.large", "us-east-1", {}), 60, 10)
    assert {each.run for each in found.offers} == {each.month for each in found.offers} == {None}
    assert "nothing can be compared" in found.advice
    some = Rates("x9.large", "us-east-1", {}, on_demand=1.0)
    assert (
        "AWS's largest discount is 72%, which pays from 204 h a month on; 100 h a month are less"
        in quote(some, 60, 100).advice
    )
    assert quote(some, 60, 365).advice.startswith("A commitment pays at 365 h a month if it takes more than 50% off")
    assert quote(some, 60, 900).advice.startswith(
        "A commitment pays at 900 h a month, of which one commitment serves 730 h,"
    )
    for each in found.as_json()["offers"]:
        assert (each["hourly_usd"], each["run_usd"]) == (None, None)
