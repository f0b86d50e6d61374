"""`skylift types`: which instance types there are, and what they cost. No cloud is asked, unless by --refresh."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from skylift.cli import complete
from skylift.cli.needs import ArchOption, CpuOption, GpuOption, MemoryOption, RegionOption
from skylift.cli.say import say, say_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from skylift.catalogue import InstanceType
    from skylift.client.price.choice import Priced

_SHOWN = 25
_ARCHITECTURES = {"x86_64": "x86", "x86_64_mac": "mac", "arm64_mac": "mac"}
_SPARE = {"NETWORK": 3, "DISK": 2, "ARCH": 1}
"""What a table that would be wider than the terminal does without, the first thing first."""
_SIZES = ("family", "category", "vcpus", "cores", "memory_mib", "architecture", "manufacturer", "clock_ghz", "network")
_FLAGS = ("burstable", "free_tier", "bare_metal", "current")
"""What JSON calls as the catalogue does."""
_WORDS = ("TYPE", "ARCH", "GPU")
"""Words stand left, figures right."""

_HELP = """List instance types with their prices, the cheapest first.

These are the types of the current generation.

WORDS select kinds and families: general-purpose, compute-optimized, memory-optimized,
storage-optimized, accelerated, high-performance-computing, or a family like m7i. Types of any of them
are listed. The word burstable keeps only burstable types.
"""


def register(app: typer.Typer) -> None:
    app.command("types", help=_HELP)(types)


def types(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[WORDS]",
            help="Like memory-optimized, burstable, m7i or t3.small.",
            autocompletion=complete.instance_type,
        ),
    ] = None,
    cpu: CpuOption = None,
    memory: MemoryOption = None,
    arch: ArchOption = None,
    gpu: GpuOption = None,
    disk: Annotated[
        str | None, typer.Option("--disk", metavar="SIZE", help="Minimum instance store, like 100GB.")
    ] = None,
    network: Annotated[
        str | None, typer.Option("--network", metavar="RATE", help="Minimum baseline bandwidth, like 10Gbps.")
    ] = None,
    sort: Annotated[
        str, typer.Option("--sort", metavar="ORDER", help="price, price-per-vcpu or price-per-gib.")
    ] = "price",
    spot: Annotated[bool, typer.Option("--spot", help="Show spot prices, and sort by them.")] = False,
    region: RegionOption = None,
    everything: Annotated[
        bool, typer.Option("--all", "-a", help=f"Show all matches, not only {_SHOWN}, and earlier generations.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print all matches as a JSON list.")] = False,
    refresh: Annotated[bool, typer.Option("--refresh", help="Get types and prices from AWS first.")] = False,
) -> None:
    from skylift import catalogue
    from skylift.client.job.requirements import read_requirements
    from skylift.client.price.choice import select
    from skylift.client.price.price import priced_region, stand_in
    from skylift.place.figures import use_own_figures

    wanted = read_requirements(
        cpu=cpu, memory=memory, arch=arch, gpu=gpu, disk=disk, network=network, words=words or ()
    )
    use_own_figures()
    refreshed = _refresh(region) if refresh else None
    where, note = stand_in(refreshed) if refreshed and region is None else priced_region(region)
    lookup = catalogue.spot if spot else catalogue.on_demand
    found = select(catalogue.types().values(), wanted, lambda name: lookup(name, where), sort, everything=everything)
    if as_json:
        say_json([as_object(each.kind, where) for each in found])
        return
    shown = found if everything else found[:_SHOWN]
    _show(shown, where, sort, spot=spot)
    rest = f"{len(found) - len(shown)} more: --all." if len(found) > len(shown) else ""
    for text in (note, _dates_of_figures(where, spot=spot), rest):
        if text:
            say(text, to_stderr=True)


def _refresh(region: str | None) -> str:
    """Of this region, or of that which boto3 finds. What cannot be had is told, and the figures of before are used."""
    from skylift.client.job.cache import Cache
    from skylift.client.launch.aws_settings import aws_settings
    from skylift.client.price.refresh import Refresh
    from skylift.cloud.state.home import default_home
    from skylift.place.figures import own_figures

    home = default_home().path
    settings = aws_settings(home / "keys", Cache(home / "cache"), region)
    for renewed in Refresh(settings, own_figures()).run():
        if renewed.why_not:
            say(f"No new {renewed.what} of {settings.region}: {renewed.why_not}", to_stderr=True)
        else:
            say(f"✓ {renewed.count:,} {renewed.what} of {settings.region} from AWS", to_stderr=True)
    return settings.region


def _dates_of_figures(region: str, *, spot: bool) -> str:
    from datetime import UTC, datetime

    from skylift import catalogue

    today, old = datetime.now(UTC).date(), False
    dates = []
    for kind in ("on-demand", "spot") if spot else ("on-demand",):
        source = catalogue.sources().get((region, kind))
        if source is not None:
            dates.append(f"{kind} as of {source.date}, {_days(source.age(today))}")
            old = old or source.is_old(kind, today)
    hint = " New ones: --refresh." if old else ""
    return f"USD an hour for Linux in {region}: {'; '.join(dates)}; `unknown` where no source has it.{hint}"


def _days(age: int) -> str:
    return "today" if age <= 0 else f"{age} day{'s' if age > 1 else ''} old"


def as_object(kind: InstanceType, region: str) -> dict[str, Any]:
    from skylift import catalogue
    from skylift.client.price.price import commitments_of

    hourly = catalogue.on_demand(kind.name, region)
    return {
        "type": kind.name,
        **{name: getattr(kind, name) for name in _SIZES},
        "network_baseline_gbps": kind.baseline_gbps or None,
        "network_peak_gbps": kind.peak_gbps or None,
        "disk_gb": kind.disk_gb,
        "accelerators": None if kind.accelerators is None else _fields(kind.accelerators),
        **{name: getattr(kind, name) for name in _FLAGS},
        "region": region,
        "usd_per_hour": hourly,
        "usd_per_vcpu_hour": None if hourly is None else round(hourly / kind.vcpus, 6),
        "usd_per_gib_hour": None if hourly is None else round(hourly / (kind.memory_mib / 1024), 6),
        "spot_usd_per_hour": catalogue.spot(kind.name, region),
        "dedicated_usd_per_hour": catalogue.dedicated(kind.name, region),
        "commitments": [
            {"kind": each.kind, "years": each.years, "payment": each.payment, "usd_per_hour": each.hourly}
            for each in commitments_of(kind.name, region)
        ],
    }


def _fields(noun: Any) -> dict[str, Any]:
    return {name: getattr(noun, name) for name in noun.__slots__}


def _show(found: Sequence[Priced], region: str, order: str, *, spot: bool) -> None:
    """A column in which nothing stands is left out."""
    from skylift import catalogue
    from skylift.cli.table import Column, show_table

    columns: dict[str, Callable[[InstanceType], str]] = {
        "TYPE": lambda kind: kind.name,
        "VCPU": lambda kind: str(kind.vcpus),
        "GIB": lambda kind: f"{round(kind.memory_mib / 1024, 1):g}",
        "ARCH": lambda kind: _ARCHITECTURES.get(kind.architecture, kind.architecture),
        "NETWORK": _network,
        "DISK": lambda kind: "" if kind.disks is None else f"{kind.disks.count}x{kind.disks.size_gb}",
        "GPU": lambda kind: "" if kind.accelerators is None else f"{kind.accelerators.count} {kind.accelerators.name}",
        "USD/H": lambda kind: _usd(catalogue.on_demand(kind.name, region)),
    }
    if spot:
        columns["SPOT"] = lambda kind: _usd(catalogue.spot(kind.name, region))
    each_price = {each.kind.name: each.price for each in found}
    if order == "price-per-vcpu":
        columns["/VCPU"] = lambda kind: _usd(_share(each_price[kind.name], kind.vcpus))
    elif order == "price-per-gib":
        columns["/GIB"] = lambda kind: _usd(_share(each_price[kind.name], kind.memory_mib / 1024))
    cells = {head: [cell(each.kind) for each in found] for head, cell in columns.items()}
    cells = {head: column for head, column in cells.items() if any(column)}
    heads = [
        Column(head, right=head not in _WORDS, least=8 if head == "GPU" else 0, spare=_SPARE.get(head, 0))
        for head in cells
    ]
    show_table(heads, list(zip(*cells.values(), strict=True)))


def _network(kind: InstanceType) -> str:
    """In Gbit/s; `0.75-12.5` has the first always and the second for a while."""
    if not kind.peak_gbps:
        return kind.network.lower()
    baseline = f"{kind.baseline_gbps:g}-" if kind.baseline_gbps < kind.peak_gbps else ""
    return f"{baseline}{kind.peak_gbps:g}"


def _usd(price: float | None) -> str:
    return "unknown" if price is None else f"{price:.4f}"


def _share(price: float | None, parts: float) -> float | None:
    return None if price is None else price / parts
