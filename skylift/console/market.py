"""The market, as the console asks for it: spot requests and their notices, prices, and ways to buy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from shlex import quote as shell_quote
from typing import Any

from skylift import catalogue
from skylift.client.errors import UsageError
from skylift.client.job.quote import Offer
from skylift.client.job.requirements import Requirements, read_requirements, spell_memory
from skylift.client.job.tags import job_of
from skylift.client.price.choice import select
from skylift.client.price.price import rates_of, stand_in
from skylift.client.price.purchase import HOURS_A_MONTH, quote, spell_offer
from skylift.client.text.duration import parse_duration
from skylift.client.text.money import spell_usd
from skylift.console.call import Call
from skylift.console.port import OwnCall, Port
from skylift.console.rows import Row, as_tags, as_time, spell_tags
from skylift.console.typed import whole_number
from skylift.console.widgets.plot import Series

SORTED = {"price": "Price", "price-per-vcpu": "Price a vCPU", "price-per-gib": "Price a GiB"}
"""Orders of a list of types, with the words for them."""
HOURS = HOURS_A_MONTH
"""In a month, as AWS counts."""
NOTICE = 120
"""Seconds of a notice, as AWS gives it."""
_DAYS = 7
_SHOWN = 50
_LONGEST = 86400


@dataclass(frozen=True)
class SpotRow(Row):
    """A spot request with its instance. `notice` is when that ends, or that it is at risk."""

    state: str
    status: str
    type: str
    zone: str
    instance: str
    instance_state: str
    notice: str
    job: str
    most: str
    created: str
    tags: str


@dataclass(frozen=True)
class Types:
    """`rows` have a type each: its name, vCPUs, memory, architecture, GPUs and network, then its prices an hour on
    demand and on spot, and by how much the second is less."""

    rows: tuple[tuple[str, ...], ...]
    left_out: int
    region: str
    note: str
    command: str


@dataclass(frozen=True)
class PurchaseOptions:
    """Those whose price is known, as rows of a table; `command` does the same. `lines` are what each costs over hours
    of use, and cross where a commitment begins to pay."""

    rows: tuple[tuple[str, ...], ...]
    advice: str
    hours: float
    lines: tuple[Series, ...]
    command: str


# Calls.


def price_history(kind: str, since: datetime) -> Call:
    params = {"InstanceTypes": [kind], "ProductDescriptions": ["Linux/UNIX"], "StartTime": since.isoformat()}
    return Call("ec2", "describe_spot_price_history", params)


def interrupt(instance: str, seconds: str) -> OwnCall:
    """A notice of so many seconds, as they were typed. Raises UsageError."""
    number = whole_number(seconds, 0, _LONGEST)
    if number is None:
        raise UsageError(
            f"{seconds.strip()!r} is not a number of seconds.", f"From 0 to {_LONGEST}; AWS gives {NOTICE}."
        )
    params = {"InstanceId": instance, "Seconds": number}
    return OwnCall("interrupt_instance", params, f"skylift cloud interrupt {shell_quote(instance)} --in {number}s")


def recommend(instance: str) -> OwnCall:
    command = f"skylift cloud interrupt {shell_quote(instance)} --rebalance"
    return OwnCall("recommend_rebalance", {"InstanceId": instance}, command)


def withdraw(instance: str) -> OwnCall:
    command = f"skylift cloud interrupt {shell_quote(instance)} --withdraw"
    return OwnCall("withdraw_interruption", {"InstanceId": instance}, command)


# What there is.


class Market:
    """Methods that ask the cloud may raise SkyliftError."""

    def __init__(self, port: Port) -> None:
        self._port = port

    def requests(self) -> list[SpotRow]:
        """The latest first."""
        found = self._port.pages(Call("ec2", "describe_spot_instance_requests"), "SpotInstanceRequests")
        lifecycle = {"Filters": [{"Name": "instance-lifecycle", "Values": ["spot"]}]}
        reservations = self._port.pages(Call("ec2", "describe_instances", lifecycle), "Reservations") if found else []
        servers = {each["InstanceId"]: each for one in reservations for each in one["Instances"]}
        # On AWS, only the instance itself and the status of its request say of a notice.
        own = self._port.has_control and bool(found)
        call = OwnCall("describe_interruptions", {}, "skylift cloud interrupt")
        notices = self._port.control(call)["Interruptions"] if own else []
        words = {each["InstanceId"]: _spell_notice(each) for each in notices}
        rows = [_row(each, servers.get(each.get("InstanceId", ""), {}), words) for each in found]
        return sorted(rows, key=lambda row: (row.created, row.id), reverse=True)

    def types(self, needs: Requirements, order: str, *, spot: bool) -> Types:
        """The cheapest first. Raises UsageError where nothing fits."""
        region, note = stand_in(self._port.settings.region)
        lookup = catalogue.spot if spot else catalogue.on_demand
        found = select(catalogue.types().values(), needs, lambda name: lookup(name, region), order)
        command = " ".join(filter(None, ["skylift types", needs.spell(), "--spot" if spot else ""]))
        command += f" --sort {order}" if order != "price" else ""
        rows = tuple(_offered(each.kind, region) for each in found[:_SHOWN])
        return Types(rows, len(found) - len(rows), region, note, command)

    def offered(self, kind: str) -> tuple[str, ...]:
        """As a row of Types. Raises UsageError for a type that is not in the catalogue."""
        if kind not in catalogue.types():
            raise UsageError(f"skylift's catalogue has no instance type {kind!r}.", "See the list of types.")
        return _offered(catalogue.types()[kind], self.region)

    @property
    def region(self) -> str:
        return stand_in(self._port.settings.region)[0]

    def history(self, kind: str) -> list[Series]:
        """Each zone's prices."""
        now = datetime.now(UTC)
        found: dict[str, list[tuple[float, float]]] = {}
        call = price_history(kind, now - timedelta(days=_DAYS))
        for each in self._port.pages(call, "SpotPriceHistory"):
            points = found.setdefault(each["AvailabilityZone"], [])
            # What was so before these days is so from their beginning on.
            since = max(each["Timestamp"].timestamp(), (now - timedelta(days=_DAYS)).timestamp())
            points.append((since, float(each["SpotPrice"])))
        return [
            Series(zone, (*sorted(points), (now.timestamp(), max(points)[1]))) for zone, points in sorted(found.items())
        ]

    def ways(self, kind: str, hours: str, run: str) -> PurchaseOptions:
        """What was typed: hours a month, and the time of one run. Raises UsageError."""
        try:
            used = float(hours)
        except ValueError:
            used = -1.0
        if not 0 <= used < float("inf"):
            raise UsageError(f"{hours.strip()!r} is not a number of hours.", f"A month has {HOURS_A_MONTH}.")
        seconds = parse_duration(run.strip(), "The time of a run")
        found = quote(rates_of(kind, self.region), seconds, used)
        known = [each for each in found.offers if each.hourly is not None]
        least = min((each.month for each in known if each.month is not None), default=None)
        rows = tuple(_way(each, is_least=each.month is not None and each.month == least) for each in known)
        command = f"skylift price --type {shell_quote(kind)} --hours {used:g} --time {seconds}s job.py"
        return PurchaseOptions(rows, found.advice, used, break_even(known), command)


def break_even(offers: Sequence[Offer]) -> tuple[Series, ...]:
    """On demand and spot, which cost by the hour, and of each commitment the way to pay that costs least."""
    found = [
        Series(spell_offer(each), ((0, 0), (HOURS_A_MONTH, (each.hourly or 0) * HOURS_A_MONTH)))
        for each in offers
        if each.name in ("on-demand", "spot")
    ]
    for name, years in dict.fromkeys((each.name, each.years) for each in offers if each.years is not None):
        paid = [each for each in offers if (each.name, each.years) == (name, years)]
        best = min(paid, key=lambda each: each.hourly or 0)
        whole = (best.hourly or 0) * HOURS_A_MONTH
        found.append(Series(spell_offer(best), ((0, whole), (HOURS_A_MONTH, whole))))
    return tuple(found)


def _way(offer: Offer, *, is_least: bool) -> tuple[str, ...]:
    if offer.name == "on-demand":
        pays = "–"
    elif offer.pays_from is None:
        pays = "never"
    else:
        pays = f"{offer.pays_from:.0f} h a month" if offer.pays_from else "always"
    prices = (hourly(offer.hourly), f"${spell_usd(offer.run)}", f"${spell_usd(offer.month)}")
    return (spell_offer(offer), *prices, pays, offer.as_of or "", "yes" if is_least else "")


def hourly(price: float | None) -> str:
    return "unknown" if price is None else f"${price:.4f}"


def read_needs(cpu: str, memory: str, arch: str, gpu: str, words: str) -> Requirements:
    """What was typed; empty where nothing is asked. Raises UsageError."""
    return read_requirements(
        cpu=cpu.strip() or None,
        memory=memory.strip() or None,
        arch=arch or None,
        gpu=gpu.strip() or None,
        words=words.split(),
    )


def _offered(kind: catalogue.InstanceType, region: str) -> tuple[str, ...]:
    gpus = f"{kind.accelerators.count} x {kind.accelerators.name}" if kind.accelerators is not None else "–"
    has = (kind.name, str(kind.vcpus), spell_memory(kind.memory_mib), kind.architecture, gpus, kind.network)
    usual, spot = catalogue.on_demand(kind.name, region), catalogue.spot(kind.name, region)
    return (*has, hourly(usual), hourly(spot), f"{1 - spot / usual:.0%}" if usual and spot is not None else "–")


def _row(described: Any, server: Any, notices: dict[str, str]) -> SpotRow:
    specification, instance = described.get("LaunchSpecification", {}), described.get("InstanceId", "")
    most, alive = described.get("SpotPrice", ""), server.get("State", {}).get("Name", "")
    return SpotRow(
        id=described["SpotInstanceRequestId"],
        state=described["State"],
        status=described.get("Status", {}).get("Code", ""),
        type=server.get("InstanceType") or specification.get("InstanceType", ""),
        zone=described.get("LaunchedAvailabilityZone") or server.get("Placement", {}).get("AvailabilityZone", ""),
        instance=instance,
        instance_state=alive,
        notice=notices.get(instance, "") if alive in ("pending", "running") else "",
        job=job_of(server.get("Tags", [])),
        most=f"${float(most):.4f}" if most else "",
        created=as_time(described.get("CreateTime")),
        tags=spell_tags(as_tags(described)),
    )


def _spell_notice(notice: Any) -> str:
    if due := notice.get("Time"):
        word = {"stop": "stops", "hibernate": "hibernates"}.get(notice.get("InstanceAction", ""), "ends")
        return f"{word} at {as_time(due).partition(' ')[2]}"
    return "at risk" if notice.get("RebalanceTime") else ""
