"""A bill: usage, cut into pieces of one price each, and their cost.

To the second, as AWS bills Linux: from `running` on, a minute at least for each start. Every total is a sum of the same
lines, and each line is rounded once, so that the parts always make up the whole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from typing import Literal

from skylift.cloud.domain.reservation import ReservedInstances
from skylift.cloud.domain.usage import Usage
from skylift.cloud.services.market import tariff
from skylift.cloud.services.market.reserved_use import HOUR, CoveredUse, Grant, apply

LEAST_SECONDS = 60
DIGITS = Decimal("0.0000000001")
"""Ten digits after the point, as AWS's cost and usage reports have them."""

Option = Literal["on-demand", "spot", "reserved", "dedicated", "host", "volume", "public-ipv4"]

SpotPrices = Callable[[str, str, datetime], float | None]
"""(type, zone, moment) -> the spot price."""


@dataclass(frozen=True)
class InvoiceLine:
    """The cost of one resource at one price. `price` is for an hour, of a volume for a month; it and `amount` are None
    if no source has a price. `reserved_id` is the reservation whose hours cover the use.
    """

    resource_id: str
    option: Option
    type: str
    seconds: Fraction
    price: Fraction | None
    amount: Decimal | None
    instance_id: str | None = None
    reserved_id: str | None = None
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Span:
    """When something was paid for, in whole seconds. `least` is what is missing to a minute at the end of a start: it
    is paid when that has ended."""

    usage: Usage
    start: int
    end: int
    least: int = 0


@dataclass(frozen=True)
class _Piece:
    usage: Usage
    option: Option
    seconds: Fraction
    price: Fraction | None
    cost: Fraction | None
    reserved_id: str | None = None


def draw_up(
    usages: Iterable[Usage],
    reservations: Iterable[ReservedInstances],
    spot_price: SpotPrices,
    region: str,
    start: datetime,
    end: datetime,
    now: datetime,
) -> list[InvoiceLine]:
    """The lines for what was paid from `start` to `end`, whole seconds both. `usages` have to be all that was going on
    in the clock hours of these two and between: reserved hours are given out by the clock hour."""
    period = _Period(_seconds(start), _seconds(end))
    spans = list(_spans(usages, now))
    held = list(reservations)
    pieces = [
        *_instances(spans, held, spot_price, region, period),
        *_others(spans, region, period),
        *_region_fee(spans, period),
    ]
    return [*_added_up(pieces), *(line for one in held for line in _fees(one, period))]


def total(lines: Iterable[InvoiceLine]) -> Decimal:
    return sum((line.amount for line in lines if line.amount is not None), Decimal(0))


def grouped(lines: Iterable[InvoiceLine], key: Callable[[InvoiceLine], str]) -> dict[str, list[InvoiceLine]]:
    found: dict[str, list[InvoiceLine]] = defaultdict(list)
    for line in lines:
        found[key(line)].append(line)
    return dict(found)


@dataclass(frozen=True)
class _Period:
    start: int
    end: int

    def of(self, start: Fraction, end: Fraction) -> Fraction:
        """The number of these seconds within the span."""
        return max(Fraction(0), min(end, Fraction(self.end)) - max(start, Fraction(self.start)))

    def holds(self, moment: int) -> bool:
        return self.start <= moment < self.end


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp() // 1)


def _spans(usages: Iterable[Usage], now: datetime) -> Iterator[_Span]:
    starts: dict[tuple[str, datetime], list[Usage]] = defaultdict(list)
    for usage in usages:
        starts[usage.resource_id, usage.began].append(usage)
    for chain in starts.values():
        for usage in chain:
            until = _seconds(usage.ended or now)
            begun = _seconds(usage.started)
            last = usage is chain[-1] and usage.ended is not None
            least = max(0, LEAST_SECONDS - (until - _seconds(usage.began))) if last else 0
            if until > begun or least:
                yield _Span(usage, begun, max(begun, until), least)


def _instances(
    spans: list[_Span], reservations: list[ReservedInstances], spot_price: SpotPrices, region: str, period: _Period
) -> Iterator[_Piece]:
    """The seconds that make up a minute count as if it had run on, for reservations too."""
    needs: list[CoveredUse] = []
    for number, span in enumerate(spans):
        usage = span.usage
        if usage.kind != "instance":
            continue
        if usage.market == "spot":
            yield from _spot(span, spot_price, period)
        elif usage.tenancy == "host":
            seconds = period.of(Fraction(span.start), Fraction(span.end))
            yield _Piece(usage, "host", seconds, Fraction(0), Fraction(0))
        else:
            whole = (usage.type, usage.zone, usage.tenancy)
            needs.append(CoveredUse(2 * number, *whole, span.start, span.end))
            if span.least:
                needs.append(CoveredUse(2 * number + 1, *whole, span.end, span.end + span.least))
    grants = [
        Grant(one.id, one.type, one.zone, one.tenancy, one.count, _seconds(one.start), _seconds(one.end))
        for one in reservations
    ]
    for used in apply((need for need in needs if need.end > need.start), grants):
        number, extra = divmod(used.key, 2)
        span = spans[number]
        if extra:
            seconds = used.end - used.start if period.holds(span.end) else Fraction(0)
        else:
            seconds = period.of(used.start, used.end)
        yield _priced(span.usage, seconds, used.grant_id, region)


def _priced(usage: Usage, seconds: Fraction, reserved_id: str | None, region: str) -> _Piece:
    if reserved_id is not None:
        return _Piece(usage, "reserved", seconds, Fraction(0), Fraction(0), reserved_id)
    dedicated = usage.tenancy == "dedicated"
    price = (tariff.dedicated if dedicated else tariff.on_demand)(usage.type, region)
    return _Piece(usage, "dedicated" if dedicated else "on-demand", seconds, price, _cost(price, seconds))


def _spot(span: _Span, spot_price: SpotPrices, period: _Period) -> Iterator[_Piece]:
    """Each hour of the instance's own costs what was the price when it began. The first one is free if EC2 ends it.

    https://aws.amazon.com/ec2/faqs/ (Spot instances)
    """
    usage = span.usage
    if usage.reason in SPOT_REASONS and span.end - _seconds(usage.began) < HOUR:
        yield _Piece(usage, "spot", period.of(Fraction(span.start), Fraction(span.end)), Fraction(0), Fraction(0))
        return
    begun = _seconds(usage.began)
    hour = begun + (span.start - begun) // HOUR * HOUR
    while True:
        price = _exact(spot_price(usage.type, usage.zone, datetime.fromtimestamp(hour, UTC)))
        until = min(span.end, hour + HOUR)
        seconds = period.of(Fraction(max(hour, span.start)), Fraction(until))
        if until == span.end and period.holds(span.end):
            seconds += span.least
        yield _Piece(usage, "spot", seconds, price, _cost(price, seconds))
        if until == span.end:
            return
        hour += HOUR


SPOT_REASONS = ("Server.SpotInstanceTermination", "Server.SpotInstanceShutdown")
"""The state reasons of spot instances that EC2 ended or stopped."""


def _others(spans: list[_Span], region: str, period: _Period) -> Iterator[_Piece]:
    for span in spans:
        usage = span.usage
        seconds = period.of(Fraction(span.start), Fraction(span.end))
        if period.holds(span.end):
            seconds += span.least
        if usage.kind == "address":
            price: Fraction | None = tariff.PUBLIC_ADDRESS
            yield _Piece(usage, "public-ipv4", seconds, price, _cost(price, seconds))
        elif usage.kind == "host":
            yield _Piece(usage, "host", seconds, None, None)
        elif usage.kind == "volume":
            yield _volume(span, tariff.storage(usage, region), period)


def _volume(span: _Span, price: Fraction | None, period: _Period) -> _Piece:
    """A month costs the same however many days it has."""
    start, end = max(span.start, period.start), min(span.end, period.end)
    seconds, months = Fraction(0), Fraction(0)
    while start < end:
        first, following = _month(start)
        until = min(end, following)
        seconds += until - start
        months += Fraction(until - start, following - first)
        start = until
    if span.least and period.holds(span.end):
        first, following = _month(span.end)
        seconds += span.least
        months += Fraction(span.least, following - first)
    return _Piece(span.usage, "volume", seconds, price, None if price is None else price * months)


def _month(second: int) -> tuple[int, int]:
    """The beginning of this second's calendar month, and of the next one."""
    day = datetime.fromtimestamp(second, UTC)
    first = datetime(day.year, day.month, 1, tzinfo=UTC)
    following = datetime(day.year + day.month // 12, day.month % 12 + 1, 1, tzinfo=UTC)
    return _seconds(first), _seconds(following)


def _region_fee(spans: list[_Span], period: _Period) -> Iterator[_Piece]:
    """Once for each clock hour in which the region has a dedicated instance, when the first of them runs in it."""
    first: dict[int, tuple[int, Usage]] = {}
    for span in spans:
        if span.usage.kind != "instance" or span.usage.tenancy != "dedicated":
            continue
        for hour in range(span.start // HOUR, -(-span.end // HOUR)):
            moment = max(span.start, hour * HOUR)
            if hour not in first or moment < first[hour][0]:
                first[hour] = (moment, span.usage)
    for moment, usage in first.values():
        if period.holds(moment):
            shared = Usage(0, REGION_FEE, "instance", usage.began, usage.started, tenancy="dedicated")
            yield _Piece(shared, "dedicated", Fraction(HOUR), tariff.DEDICATED_REGION, tariff.DEDICATED_REGION)


REGION_FEE = "dedicated-per-region-fee"


def _fees(one: ReservedInstances, period: _Period) -> Iterator[InvoiceLine]:
    """The part that was paid at the start, and the one for each hour since then, used or not."""
    begun, ends = _seconds(one.start), _seconds(one.end)
    if period.holds(begun) and one.fixed_price:
        paid = _rounded(_of(one.fixed_price) * one.count)
        yield InvoiceLine(one.id, "reserved", one.type, Fraction(0), None, paid, tags=one.tags)
    seconds = period.of(Fraction(begun), Fraction(ends)) * one.count
    if seconds and one.hourly_price:
        price = _of(one.hourly_price)
        yield InvoiceLine(one.id, "reserved", one.type, seconds, price, _rounded(price * seconds / HOUR), tags=one.tags)


def _added_up(pieces: Iterable[_Piece]) -> list[InvoiceLine]:
    """One line for each resource and price."""
    seconds: dict[tuple[object, ...], Fraction] = defaultdict(Fraction)
    costs: dict[tuple[object, ...], Fraction | None] = defaultdict(Fraction)
    sample: dict[tuple[object, ...], _Piece] = {}
    for piece in pieces:
        if not piece.seconds:
            continue
        usage = piece.usage
        tags = tuple(sorted(usage.tags.items()))
        key = (usage.resource_id, piece.option, usage.type, usage.instance_id, piece.price, piece.reserved_id, tags)
        sample.setdefault(key, piece)
        seconds[key] += piece.seconds
        before = costs[key]
        costs[key] = None if before is None or piece.cost is None else before + piece.cost
    return [
        InvoiceLine(
            resource_id=piece.usage.resource_id,
            option=piece.option,
            type=piece.usage.type,
            seconds=seconds[key],
            price=piece.price,
            amount=_rounded(cost) if (cost := costs[key]) is not None else None,
            instance_id=piece.usage.instance_id,
            reserved_id=piece.reserved_id,
            tags=piece.usage.tags,
        )
        for key, piece in sample.items()
    ]


def _cost(price: Fraction | None, seconds: Fraction) -> Fraction | None:
    return None if price is None else price * seconds / HOUR


def _exact(price: float | None) -> Fraction | None:
    return None if price is None else _of(price)


def _of(price: float) -> Fraction:
    return Fraction(Decimal(str(price)))


def _rounded(amount: Fraction) -> Decimal:
    return (Decimal(amount.numerator) / Decimal(amount.denominator)).quantize(DIGITS, ROUND_HALF_EVEN)
