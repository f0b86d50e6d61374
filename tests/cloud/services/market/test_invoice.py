"""The arithmetic of a bill: to the second, and the parts always make up the whole."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylift import catalogue
from skylift.cloud.domain.reservation import ReservedInstances
from skylift.cloud.domain.usage import Usage
from skylift.cloud.services.market.invoice import InvoiceLine, draw_up, grouped, total

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def server(start: float, end: float | None, **more: Any) -> Usage:
    fields: dict[str, Any] = {"type": "m5.large", "zone": "us-east-1a", "resource_id": "i-1", **more}
    ended = None if end is None else at(end)
    return Usage(0, began=at(start), started=at(start), ended=ended, kind="instance", **fields)


def reserved(kind: str, start: float = 0, **more: Any) -> ReservedInstances:
    fields: dict[str, Any] = {"count": 1, "hourly_price": 0.06, **more}
    return ReservedInstances("ri-1", "offering", kind, start=at(start), end=at(start) + 365 * DAY, **fields)


def bill(
    *usages: Usage,
    reservations: tuple[ReservedInstances, ...] = (),
    start: datetime = NOON - DAY,
    end: datetime = NOON + DAY,
    spot: Any = lambda *_: 0.03,
    now: datetime = NOON + DAY,
) -> list[InvoiceLine]:
    return draw_up(usages, reservations, spot, "us-east-1", start, end, now)


def price(kind: str) -> Fraction:
    found = catalogue.on_demand(kind, "us-east-1")
    assert found is not None
    return Fraction(str(found))


def test_to_the_second() -> None:
    (line,) = bill(server(0, 4000.9))
    assert (line.seconds, line.price, line.option) == (4000, price("m5.large"), "on-demand")
    assert line.amount is not None
    assert abs(Fraction(line.amount) - price("m5.large") * 4000 / 3600) < Fraction(1, 10**10)


def test_a_start_costs_a_minute_at_least() -> None:
    assert [one.seconds for one in bill(server(0, 12))] == [60]
    assert [one.seconds for one in bill(server(0, 0.2))] == [60]
    assert [one.seconds for one in bill(server(0, 12), server(100, 130))] == [120], "each start"
    assert [one.seconds for one in bill(server(0, None), now=at(12))] == [12], "not before it has ended"
    # One start whose tags or size changed meanwhile is still one.
    first = Usage(1, "vol-1", "volume", NOON, NOON, at(10), "gp3", quantity=8)
    second = Usage(2, "vol-1", "volume", NOON, at(10), at(20), "gp3", quantity=9)
    assert [one.seconds for one in bill(first, second)] == [10, 50]


def test_a_period_takes_what_is_in_it() -> None:
    usage = server(-100, 7000)
    first, second = bill(usage, start=NOON - DAY, end=NOON), bill(usage, start=NOON, end=NOON + DAY)
    assert [line.seconds for line in (*first, *second)] == [100, 7000]
    short = server(-5, 5)
    assert bill(short, end=NOON)[0].seconds == 5
    assert bill(short, start=NOON)[0].seconds == 55, "the minute is full when it has ended"


def test_reserved_hours_cost_nothing_more_and_the_reservation_costs_every_hour() -> None:
    lines = bill(server(0, 2 * 3600), server(0, 3600, resource_id="i-2"), reservations=(reserved("m5.large"),))
    covered = [line for line in lines if line.reserved_id]
    assert [(line.resource_id, line.seconds, line.amount) for line in covered] == [("i-1", 7200, Decimal("0E-10"))]
    (fee,) = (line for line in lines if line.resource_id == "ri-1")
    assert (fee.seconds, fee.amount) == (86400, Decimal("1.4400000000"))
    assert total(lines) == Decimal("1.44") + Decimal(str(float(price("m5.large"))))


def test_what_was_paid_beforehand_is_paid_once() -> None:
    upfront = reserved("m5.large", hourly_price=0.0, fixed_price=300.5, count=2, offering_type="All Upfront")
    assert total(bill(reservations=(upfront,))) == Decimal(601)
    assert bill(reservations=(upfront,), start=NOON + HOUR) == []


def test_a_reservation_gives_its_hours_by_the_clock_whatever_period_is_asked_for() -> None:
    """The larger server runs in the first half of the hour, but the smaller one, of the second half, comes first."""
    usages = (server(0, 1800, type="m5.xlarge"), server(1800, 3600, resource_id="i-2"))
    held = (reserved("m5.large"),)
    whole = bill(*usages, reservations=held)
    halves = [
        *bill(*usages, reservations=held, end=NOON + HOUR / 2),
        *bill(*usages, reservations=held, start=NOON + HOUR / 2),
    ]
    assert total(whole) == total(halves)
    assert {line.resource_id: line.seconds for line in whole if line.reserved_id} == {"i-2": 1800, "i-1": 900}


def test_spot_costs_what_it_cost_when_each_of_its_hours_began() -> None:
    def spot(kind: str, zone: str, moment: datetime) -> float:
        assert (kind, zone) == ("m5.large", "us-east-1a")
        return 0.04 if moment >= at(1000) else 0.02

    lines = bill(server(600, 600 + 5400, market="spot"), spot=spot)
    assert [(line.seconds, line.price) for line in lines] == [(3600, Fraction("0.02")), (1800, Fraction("0.04"))]
    assert total(lines) == Decimal("0.04")


def test_a_spot_instance_that_ec2_ends_in_its_first_hour_is_free() -> None:
    interrupted = server(0, 3000, market="spot", reason="Server.SpotInstanceTermination")
    assert total(bill(interrupted)) == 0
    assert total(bill(replace(interrupted, reason="Client.UserInitiatedShutdown"))) > 0
    assert total(bill(replace(interrupted, ended=at(3601)))) > 0


def test_a_price_that_nobody_knows_is_not_made_up() -> None:
    (line,) = bill(server(0, 3600, type="x9.huge"))
    assert (line.price, line.amount, total([line])) == (None, None, 0)
    (line,) = bill(server(0, 3600, market="spot"), spot=lambda *_: None)
    assert line.amount is None
    lines = bill(server(0, 3600, tenancy="dedicated"))
    assert {line.resource_id: line.amount for line in lines}["dedicated-per-region-fee"] == 2


def test_a_region_with_dedicated_instances_costs_once_an_hour() -> None:
    usages = [server(start, 3600, tenancy="dedicated", resource_id=f"i-{start}") for start in (0, 100, 200)]
    fees = [line for line in bill(*usages, server(4000, 4100, tenancy="dedicated")) if line.resource_id[:2] == "de"]
    assert sum(line.amount or 0 for line in fees) == 4


def test_instances_on_a_host_cost_nothing_more() -> None:
    assert total(bill(server(0, 3600, tenancy="host", host_id="h-1"))) == 0


def test_a_month_of_storage_costs_the_same_however_long_it_is() -> None:
    year = [datetime(2026 + month // 12, month % 12 + 1, 1, tzinfo=UTC) for month in range(25)]
    volume = Usage(1, "vol-1", "volume", year[0], year[0], type="gp3", quantity=100, iops=3000, throughput=125)
    for first, following in pairwise(year):
        assert total(bill(volume, start=first, end=following, now=year[-1])) == Decimal(8)
    assert total(bill(volume, start=year[0], end=year[-1], now=year[-1])) == Decimal(192)
    fast = replace(volume, iops=4000, throughput=225)
    assert total(bill(fast, start=year[0], end=year[1], now=year[-1])) == 8 + 5 + 4
    assert bill(replace(volume, type="io2"), start=year[0], end=year[1], now=year[-1])[0].amount is None


def test_addresses() -> None:
    assert total(bill(Usage(1, "eni-1", "address", NOON, NOON, at(7200)))) == Decimal("0.01")


kinds = st.sampled_from(("t3.nano", "m5.large", "m5.xlarge", "g4dn.xlarge", "none.small"))
usages = st.builds(
    lambda number, start, length, kind, zone, market, tenancy, tag, resource: Usage(
        number,
        f"{resource[:3]}-{number}",
        resource,
        at(start),
        at(start),
        None if length is None else at(start + length),
        kind if resource == "instance" else "gp3",
        f"us-east-1{zone}",
        market=market,
        tenancy=tenancy if market == "on-demand" else "default",
        instance_id=f"i-{number % 2}",
        tags={"team": tag} if tag else {},
    ),
    st.integers(1, 10**9),
    st.floats(-9000, 9000),
    st.one_of(st.none(), st.floats(0, 9000)),
    kinds,
    st.sampled_from("ab"),
    st.sampled_from(("on-demand", "on-demand", "spot")),
    st.sampled_from(("default", "default", "dedicated", "host")),
    st.sampled_from(("", "net", "web")),
    st.sampled_from(("instance", "instance", "volume", "address")),
)
reservations = st.builds(
    lambda number, kind, start, count, zone, fixed, hourly: ReservedInstances(
        f"ri-{number}",
        "offering",
        kind,
        count,
        at(start),
        at(start) + 365 * DAY,
        zone,
        fixed_price=fixed,
        hourly_price=hourly,
    ),
    st.integers(1, 10**9),
    kinds,
    st.integers(-9000, 9000),
    st.integers(1, 3),
    st.sampled_from((None, None, "us-east-1a")),
    st.sampled_from((0.0, 123.45)),
    st.sampled_from((0.0, 0.0123)),
)
KEYS = (
    lambda line: line.instance_id or line.resource_id,
    lambda line: line.option,
    lambda line: line.type,
    lambda line: line.tags.get("team", ""),
)


@given(
    st.lists(usages, max_size=5, unique_by=lambda one: one.resource_id),
    st.lists(reservations, max_size=3, unique_by=lambda one: one.id),
    st.lists(st.integers(-9000, 18000), max_size=3, unique=True),
)
def test_the_parts_make_up_the_whole(ran: list[Usage], held: list[ReservedInstances], cuts: list[int]) -> None:
    later = at(18000)

    def of(start: datetime, end: datetime) -> list[InvoiceLine]:
        return bill(*ran, reservations=tuple(held), start=start, end=end, now=later)

    lines = of(NOON - DAY, later)
    for key in KEYS:
        assert sum(total(some) for some in grouped(lines, key).values()) == total(lines)
    # What is paid in parts of the time is what is paid in the whole of it, but for the rounding of each line.
    moments = [NOON - DAY, *(at(cut) for cut in sorted(cuts) if cut < 18000), later]
    parts = [of(start, end) for start, end in pairwise(moments)]
    roundings = sum(len(some) for some in parts) + len(lines)
    assert abs(sum(total(some) for some in parts) - total(lines)) <= Decimal("0.0000000001") * roundings
    seconds = sum(line.seconds for line in lines)
    assert sum(line.seconds for some in parts for line in some) == seconds
    # What is reserved is never paid for twice: without reservations, usage takes as long and costs as much or more.
    alone = bill(*ran, start=NOON - DAY, end=later, now=later)
    used = [line for line in lines if not line.resource_id.startswith("ri-")]
    assert sum(line.seconds for line in used) == sum(line.seconds for line in alone)
    assert total(used) <= total(alone) + Decimal("0.0000000001") * len(used)


@pytest.mark.parametrize("month", ["2026-12", "2027-01"])
def test_months_follow_each_other(month: str) -> None:
    first = datetime.fromisoformat(f"{month}-01T00:00:00+00:00")
    volume = Usage(1, "vol-1", "volume", first - DAY, first - DAY, first + DAY, "gp3", quantity=31)
    (line,) = bill(volume, start=first - 2 * DAY, end=first + 2 * DAY, now=first + 2 * DAY)
    assert line.seconds == 2 * 86400
