"""Costs, as the console asks for them: the bill of a cloud on this machine, or an AWS account's jobs at list prices,
and the same hours under other ways to buy."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from shlex import quote
from typing import Any

from skylift import catalogue
from skylift.client.job.quote import Rates
from skylift.client.job.tags import TAG_JOB, job_of
from skylift.client.price.price import rates_of, stand_in
from skylift.client.text.money import spell_usd
from skylift.console.call import Call
from skylift.console.port import OwnCall, Port
from skylift.console.rows import JobRow

PERIODS = {"month": "This month", "week": "The last 7 days", "day": "The last 24 hours"}
GROUPS = {"job": "job", "type": "type", "option": "way to buy", "instance": "instance"}
_SERVERS = ("on-demand", "spot", "reserved", "dedicated")
_WAYS = (("reserved", 1), ("reserved", 3), ("savings-plan", 1), ("savings-plan", 3))
WAYS = ("On demand", "Spot", "Reserved, 1 year", "Reserved, 3 years", "Savings plan, 1 year", "Savings plan, 3 years")


@dataclass(frozen=True)
class CostShare:
    """What one job, type, ... has cost. Not all of it has a price where `whole` is False."""

    key: str
    usd: float
    whole: bool = True


@dataclass(frozen=True)
class Hours:
    """A type's hours in a time, and what each of WAYS would have cost; None where no source has the price."""

    type: str
    hours: float
    usd: tuple[float | None, ...]

    @property
    def least(self) -> float | None:
        return min((each for each in self.usd if each is not None), default=None)


@dataclass(frozen=True)
class CostReport:
    total: float
    shares: tuple[CostShare, ...]
    days: tuple[str, ...]
    by_day: Mapping[str, tuple[float, ...]]
    """For each way to buy, or for jobs, USD of each of the days."""
    hours: tuple[Hours, ...]
    notes: tuple[str, ...]
    commands: tuple[str, ...]


def beginning(period: str, now: datetime) -> datetime:
    """UTC, as the bill counts."""
    if period == "month":
        return now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return now - timedelta(days=7 if period == "week" else 1)


def days_between(start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    """The days of UTC, the first and the last as far as they belong to it."""
    found, at = [], start
    while at < end:
        after = min(end, (at + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0))
        found.append((at, after))
        at = after
    return found


def read_bill(start: datetime, end: datetime, by: str) -> OwnCall:
    grouping = {"GroupBy": "tag", "TagKey": TAG_JOB} if by == "job" else {"GroupBy": by}
    option = f"tag:{TAG_JOB}" if by == "job" else by
    command = f"skylift cloud bill --by {quote(option)} --from {start:%Y-%m-%dT%H:%M:%S}"
    return OwnCall("get_bill", {"From": start, "To": end, **grouping}, command)


def ask_explorer(start: date, end: date) -> Call:
    """AWS's own count. The console does not make this call: it costs money."""
    params = {
        "TimePeriod": {"Start": f"{start}", "End": f"{end}"},
        "Granularity": "DAILY",
        "Metrics": ["UnblendedCost"],
        "GroupBy": [{"Type": "DIMENSION", "Key": "SERVICE"}],
    }
    return Call("ce", "get_cost_and_usage", params)


class Costs:
    def __init__(self, port: Port, jobs: Callable[[], Sequence[JobRow]]) -> None:
        self._port, self._jobs = port, jobs

    @property
    def groups(self) -> dict[str, str]:
        """What it may be grouped by, with the words. Records of jobs know of no disks and no further ways to buy."""
        return GROUPS if self._port.has_control else {each: GROUPS[each] for each in ("job", "type")}

    def spent(self, period: str, by: str) -> CostReport:
        """Raises SkyliftError."""
        now = datetime.now(UTC).replace(microsecond=0)
        start = beginning(period, now)
        return self._billed(start, now, by) if self._port.has_control else self._listed(start, now, by)

    def _billed(self, start: datetime, end: datetime, by: str) -> CostReport:
        call = read_bill(start, end, by)
        bill = self._port.control(call)
        days = days_between(start, end)
        found = [self._port.control(read_bill(first, last, "option")) for first, last in days]
        dates = ", ".join(f"{each['Option']} {each['Date']}" for each in bill["PricesAsOf"])
        notes = [f"What AWS would have charged, to the second. Prices as of: {dates or 'none for this region'}."]
        notes.append("Transfers, snapshots and requests are not counted.")
        if bill["UnpricedLines"]:
            notes.append(f"No source has a price for {bill['UnpricedLines']} of its lines; they are not in the total.")
        return CostReport(
            total=float(bill["Total"]),
            shares=_largest(
                CostShare(each["Key"], float(each["Amount"]), not each["UnpricedLines"]) for each in bill["Groups"]
            ),
            days=tuple(f"{first:%m-%d}" for first, _ in days),
            by_day=by_option([each["Groups"] for each in found]),
            hours=what_if(hours_of(bill["Lines"]), self._port.settings.region, (end - start).total_seconds() / 3600),
            notes=tuple(notes),
            commands=(call.command,),
        )

    def _listed(self, start: datetime, end: datetime, by: str) -> CostReport:
        """Of an AWS account, the servers of its jobs at list prices: it is what skylift has a record of."""
        rows = [(each, day) for each in self._jobs() if (day := _day(each)) is not None and day >= start]
        days = [first for first, _ in days_between(start, end)]
        labels = tuple(f"{each:%m-%d}" for each in days)
        daily: dict[str, float] = dict.fromkeys(labels, 0.0)
        shares: dict[str, float] = defaultdict(float)
        hours: dict[str, float] = defaultdict(float)
        for row, day in rows:
            daily[f"{day:%m-%d}"] = daily.get(f"{day:%m-%d}", 0.0) + (row.cost or 0.0)
            shares[row.type if by == "type" else row.id] += row.cost or 0.0
            hours[row.type] += (row.seconds or 0) / 3600
        call = ask_explorer(start.date(), end.date() + timedelta(days=1))
        return CostReport(
            total=sum(shares.values()),
            shares=_largest(CostShare(key, usd) for key, usd in shares.items()),
            days=labels,
            by_day={"jobs": tuple(daily[each] for each in labels)},
            hours=what_if(hours, self._port.settings.region, (end - start).total_seconds() / 3600),
            notes=(
                "Servers of skylift's last 200 jobs, at AWS's list prices, on the day that each was submitted.",
                "What else the account has, disks, transfers, discounts and taxes are AWS's to tell. Its Cost Explorer"
                " takes 0.01 USD for each call, so the console does not make it; this command does:",
            ),
            commands=("skylift ps --all", call.command),
        )


def _day(row: JobRow) -> datetime | None:
    if not row.created:
        return None
    return datetime.strptime(row.created, "%Y-%m-%d %H:%M:%S").astimezone(UTC)


def _largest(shares: Any) -> tuple[CostShare, ...]:
    return tuple(sorted(shares, key=lambda each: (-each.usd, each.key)))


def by_option(days: Sequence[Sequence[Mapping[str, Any]]]) -> dict[str, tuple[float, ...]]:
    """The groups of each day's bill, as a row for each way to buy."""
    options = sorted({each["Key"] for groups in days for each in groups})
    amounts = [{each["Key"]: float(each["Amount"]) for each in groups} for groups in days]
    return {option: tuple(each.get(option, 0.0) for each in amounts) for option in options}


def hours_of(lines: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Hours of servers by type, from the lines of a bill."""
    found: dict[str, float] = defaultdict(float)
    for each in lines:
        if each["Option"] in _SERVERS and each["Type"]:
            found[each["Type"]] += each["Seconds"] / 3600
    return found


def what_if(hours: Mapping[str, float], region: str, period: float) -> tuple[Hours, ...]:
    """What so many hours of each type would have cost in each way, in a time of `period` hours. A commitment is paid
    for all of them; it serves one server at a time, and servers are taken to have run one after the other."""
    where = stand_in(region)[0]
    found = [
        Hours(kind, used, _costs(rates_of(kind, where), used, period))
        for kind, used in sorted(hours.items(), key=lambda each: -each[1])
        if kind in catalogue.types() and used > 0
    ]
    return tuple(found)


def _costs(rates: Rates, used: float, period: float) -> tuple[float | None, ...]:
    def by_use(price: float | None) -> float | None:
        return None if price is None else price * used

    beyond = by_use(rates.on_demand)
    beyond = None if beyond is None else beyond * max(0.0, used - period) / used
    committed = []
    for kind, years in _WAYS:
        prices = [each.hourly for each in rates.commitments if (each.kind, each.years) == (kind, years)]
        committed.append(min(prices) * period + beyond if prices and beyond is not None else None)
    return (by_use(rates.on_demand), by_use(rates.spot), *committed)


def spell(usd: float | None) -> str:
    return "unknown" if usd is None else f"${spell_usd(usd)}"


def job_path(key: str) -> str:
    """Where a share's job is; empty for what no job of this form has."""
    name = job_of([{"Key": TAG_JOB, "Value": key}]) if key else ""
    return f"/jobs/{name}" if name else ""
