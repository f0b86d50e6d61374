"""GetBill: what this cloud's servers would have cost, by the account's purchases, the market and the catalogue."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from skylift import catalogue
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.market import SpotPrice
from skylift.cloud.domain.reservation import ReservedInstances
from skylift.cloud.services.api.refusal import combination, invalid_value, missing
from skylift.cloud.services.ec2.capacity import priced, usual_price
from skylift.cloud.services.market.control import reads
from skylift.cloud.services.market.invoice import DIGITS, InvoiceLine, draw_up, grouped, total
from skylift.cloud.services.market.reserved_use import HOUR
from skylift.cloud.services.market.tariff import STORAGE_AS_OF
from skylift.cloud.store.database import Tx
from skylift.cloud.store.usage import usages_between

if TYPE_CHECKING:
    from aws_shapes import skylift


Key = Callable[[InvoiceLine], str]
"""The key by which lines are grouped."""

GROUPS = ("instance", "option", "type", "tag")

SECOND = timedelta(seconds=1)


def get_bill(tx: Tx, caller: Caller, params: skylift.GetBillRequest) -> skylift.GetBillResult:
    """The bill of these times; by default from the beginning of the month until now."""
    now = _full_second(tx.now)
    start = _full_second(params.get("From") or now.replace(day=1, hour=0, minute=0, second=0))
    # The second that is under way is not left out: what has just ended is on the bill.
    end = min(_full_second(params["To"]) if params.get("To") else now + SECOND, now + SECOND)
    if start >= end:
        raise invalid_value(f"{start:%Y-%m-%dT%H:%M:%SZ}", "From", "It has to be before To, and not in the future.")
    key = _key(params)
    lines = _lines(tx, caller.region, start, end)
    return {
        "From": start,
        "To": end,
        "RegionName": caller.region,
        "CurrencyCode": "USD",
        "Total": _spelled(total(lines)),
        "UnpricedLines": sum(line.amount is None for line in lines),
        "PricesAsOf": _dates(caller.region, {line.option for line in lines}),
        "Groups": [_group(name, some) for name, some in sorted(grouped(lines, key).items())] if key else [],
        "Lines": [_line(line) for line in lines],
    }


def _lines(tx: Tx, region: str, start: datetime, end: datetime) -> list[InvoiceLine]:
    first = datetime.fromtimestamp(start.timestamp() // HOUR * HOUR, UTC)
    last = datetime.fromtimestamp(-(-end.timestamp() // HOUR) * HOUR, UTC)
    prices: dict[tuple[str, str], list[SpotPrice]] = {}

    def spot_price(kind: str, zone: str, moment: datetime) -> float | None:
        if (kind, zone) not in prices:
            prices[kind, zone] = sorted(tx.find(SpotPrice, type=kind, zone=zone), key=lambda one: one.since)
        then = [one.price for one in prices[kind, zone] if one.since < moment + SECOND]
        return then[-1] if then else usual_price(kind, zone)

    usages = usages_between(tx, first, last + SECOND)
    return draw_up(usages, tx.find(ReservedInstances), spot_price, region, start, end, tx.now)


def _key(params: skylift.GetBillRequest) -> Key | None:
    by, tag = params.get("GroupBy"), params.get("TagKey")
    if by not in (None, *GROUPS):
        raise invalid_value(by, "GroupBy", f"It has to be {', '.join(GROUPS[:-1])} or {GROUPS[-1]}.")
    if by == "tag" and not tag:
        raise missing("TagKey")
    if tag and by != "tag":
        raise combination("The parameter TagKey can be used with GroupBy tag only.")
    keys: dict[str, Key] = {
        "instance": lambda line: line.instance_id or line.resource_id,
        "option": lambda line: line.option,
        "type": lambda line: line.type or line.option,
        "tag": lambda line: line.tags.get(tag or "", ""),
    }
    return keys[by] if by else None


def _group(name: str, lines: list[InvoiceLine]) -> skylift.BillGroup:
    return {"Key": name, "Amount": _spelled(total(lines)), "UnpricedLines": sum(line.amount is None for line in lines)}


def _line(line: InvoiceLine) -> skylift.BillLine:
    return {
        "ResourceId": line.resource_id,
        **({"InstanceId": line.instance_id} if line.instance_id else {}),
        "Option": line.option,
        "Type": line.type,
        "Seconds": float(line.seconds),
        **(
            {"Price": _spelled(Decimal(line.price.numerator) / line.price.denominator)}
            if line.price is not None
            else {}
        ),
        "PriceUnit": "month" if line.option == "volume" else "hour",
        **({"Amount": _spelled(line.amount)} if line.amount is not None else {}),
        **({"ReservedInstancesId": line.reserved_id} if line.reserved_id else {}),
        "Tags": [{"Key": key, "Value": value} for key, value in line.tags.items()],
    }


def _dates(region: str, options: set[str]) -> list[skylift.PriceSource]:
    """The days of the price figures, by option. A reserved instance has the price that it was bought at."""
    known: list[skylift.PriceSource] = [
        {"Option": what, "Date": source.date, "Source": source.name}
        for (where, what), source in catalogue.sources().items()
        if what in options and where == (priced(region) if what == "spot" else region)
    ]
    storage: skylift.PriceSource = {"Option": "volume", "Date": STORAGE_AS_OF, "Source": "list prices of Amazon EBS"}
    return [*known, *([storage] if "volume" in options else [])]


def _full_second(moment: datetime) -> datetime:
    if moment.year < 1971:
        raise ServiceError("InvalidParameterValue", f"There are no bills of {moment:%Y-%m-%d}.")
    return moment.astimezone(UTC).replace(microsecond=0)


def _spelled(amount: Decimal) -> str:
    return f"{amount.quantize(DIGITS):f}"


OPERATIONS = (reads("GetBill", get_bill, "From To GroupBy TagKey"),)
