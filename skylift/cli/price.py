"""`skylift price`: what a program costs under each way to buy its server, and which of them to take."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from skylift.cli import complete
from skylift.cli.needs import ArchOption, CpuOption, GpuOption, MemoryOption, RegionOption
from skylift.cli.place import On
from skylift.cli.run import COMMAND_FLAG, mark_program, read_program, run_presets
from skylift.cli.say import say, say_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from skylift.client.job.job import Job
    from skylift.client.job.quote import Offer, Quote
    from skylift.client.price.history import History, QuoteBasis

_VALUES = {"--type", "-t", "--cpu", "--memory", "--arch", "--gpu", "--time", "--hours", "--region", "--on"}
_DEFAULT_TIME = "1h"

_HELP = """Compare what a program costs, by purchase option.

These are on-demand, spot, commitments and dedicated.

\b
skylift price [OPTIONS] SCRIPT [ARGS...]
skylift price [OPTIONS] -m MODULE [ARGS...]
skylift price [OPTIONS] -- COMMAND [ARGS...]

How long a run takes, and how many hours a month its type is used, is taken from this account's own jobs of the last 30
days. Nothing is started: without a cloud, or without a network, it says what it assumes instead.
"""


class PriceCommand(TyperCommand):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        words = mark_program(args, _VALUES)
        if args and not ctx.resilient_parsing and not {"-h", "--help"} & set(args[: words.ours]):
            mine = {each.name for each in self.params}
            found = run_presets(args[: words.ours], words.script)
            ctx.default_map = {name: value for name, value in found.items() if name in mine}
        return super().parse_args(ctx, words.marked)


def register(app: typer.Typer) -> None:
    app.command("price", cls=PriceCommand, help=_HELP, no_args_is_help=True)(price)


def price(
    program: Annotated[
        list[str] | None, typer.Argument(metavar="SCRIPT [ARGS]", help="The program, as for run.")
    ] = None,
    module: Annotated[
        str | None, typer.Option("--module", "-m", metavar="MODULE", help="A module, like python -m.")
    ] = None,
    type: Annotated[
        str | None,
        typer.Option(
            "--type",
            "-t",
            metavar="TYPE",
            help="Instance type; default: the type of its last run.",
            autocompletion=complete.instance_type,
        ),
    ] = None,
    cpu: CpuOption = None,
    memory: MemoryOption = None,
    arch: ArchOption = None,
    gpu: GpuOption = None,
    duration: Annotated[
        str | None, typer.Option("--time", metavar="DURATION", help="Time of one run; default: from past runs.")
    ] = None,
    hours: Annotated[
        float | None, typer.Option("--hours", metavar="HOURS", min=0, help="Hours a month; default: from past runs.")
    ] = None,
    region: RegionOption = None,
    on: On = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    is_command: Annotated[bool, typer.Option(COMMAND_FLAG, hidden=True)] = False,
) -> None:
    from skylift.client.errors import UsageError
    from skylift.client.job.commands import program_argv
    from skylift.client.job.job import Program
    from skylift.client.job.requirements import read_requirements
    from skylift.client.plan.plan_job import Order, plan_job
    from skylift.client.price.history import basis_of
    from skylift.client.price.price import rates_of
    from skylift.client.price.purchase import quote
    from skylift.client.text.duration import parse_duration
    from skylift.place.figures import use_own_figures

    use_own_figures()
    wanted = read_requirements(cpu=cpu, memory=memory, arch=arch, gpu=gpu)
    named = read_program(program or [], module, is_command=is_command)
    # A script is the same whatever its arguments; `make report` is another program than `make test`.
    args = named.args if named.kind == "command" else ()
    order = Order(Program(named.kind, named.target, args), instance_type=type, wanted=wanted)
    job = plan_job(order, Path.cwd(), os.environ)
    argv = program_argv(job.program)
    seconds = parse_duration(duration or _DEFAULT_TIME, "--time")
    if hours is not None and not hours < float("inf"):
        raise UsageError(f"--hours {hours:g} is not a number of hours.", "Write it like 200.")
    history, place, notes = (None, None, []) if duration and hours is not None else _look_back(on)
    where, note = _region(region, place)
    kind, why = _type(job, argv, history, where)
    _check_type(kind)
    basis = basis_of(history, argv, kind, seconds)
    basis = _with_given_times(basis, seconds if duration else None, hours)
    found = quote(rates_of(kind, where), basis.seconds, basis.hours, basis.served, basis.as_json())
    if as_json:
        say_json({"program": argv, "why_type": why, "notes": [*notes, *note], **found.as_json()})
        return
    for line in [*notes, *note]:
        say(line, to_stderr=True)
    _show(" ".join(argv).removeprefix("python "), found, basis, why)


def _look_back(on: str | None) -> tuple[History | None, str | None, list[str]]:
    """The account's history, its region, and why there is none of either."""
    from skylift.client.errors import SkyliftError
    from skylift.place.settings import check_place, settings_of_running

    check_place(on)
    try:
        settings = settings_of_running(on)
        if settings is None:
            return None, None, ["The cloud on this machine is down, so its jobs cannot be looked at."]
        from skylift.client.price.history import read_history
        from skylift.client.remote.account import open_account

        history = read_history(open_account(settings))
        return history, settings.region, list(history.damaged)
    except SkyliftError as error:
        return None, None, [f"The account's jobs cannot be looked at: {error.message}"]


def _region(asked: str | None, place: str | None) -> tuple[str, list[str]]:
    from skylift.client.price.price import priced_region, stand_in

    where, note = stand_in(place) if place is not None and asked is None else priced_region(asked)
    return where, [note] if note else []


def _type(job: Job, argv: Sequence[str], history: History | None, region: str) -> tuple[str, str]:
    """The type, and why it is this one."""
    from skylift.client.plan.resolve_options import choose

    if job.type_was_said:
        return job.instance_type, "as said"
    if job.wanted:
        choice, _ = choose(job.wanted, region, None)
        return choice.type, f"the cheapest for {job.wanted.spell()}"
    earlier = history.of(argv) if history is not None else ()
    return (earlier[-1].instance_type, "as in its last run") if earlier else (job.instance_type, "the default")


def _check_type(name: str) -> None:
    import difflib

    from skylift import catalogue
    from skylift.client.errors import UsageError

    known = catalogue.types()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=4, cutoff=0.5)
        raise UsageError(
            f"skylift's catalogue has no instance type {name!r}.",
            f"Near it: {', '.join(near)}." if near else "See `skylift types`; new ones come with its --refresh.",
        )


def _with_given_times(basis: QuoteBasis, seconds: float | None, hours: float | None) -> QuoteBasis:
    from dataclasses import replace

    from skylift.client.price.purchase import HOURS_A_MONTH

    given = [
        *(["the time of a run"] if seconds is not None else []),
        *(["the hours a month"] if hours is not None else []),
    ]
    if not given:
        return basis
    rest = f"; {basis.text}" if len(given) == 1 else ""
    return replace(
        basis,
        seconds=basis.seconds if seconds is None else seconds,
        hours=basis.hours if hours is None else hours,
        served=basis.served if hours is None else min(hours, HOURS_A_MONTH),
        text=f"as said: {' and '.join(given)}{rest}",
    )


def _show(program: str, found: Quote, basis: QuoteBasis, why: str) -> None:
    from skylift.client.price.price import BESIDES
    from skylift.client.price.purchase import HOURS_A_MONTH
    from skylift.client.text.duration import spell_duration

    rates = found.rates
    say(
        f"{program} on {rates.instance_type} ({why}), {rates.region}",
        f"{basis.text}: {spell_duration(found.seconds)} a run, {found.hours:.2f} h a month",
        "",
    )
    known = [each for each in found.offers if each.hourly is not None]
    if known:
        _show_offers(known)
    if lacking := _together([_name(each) for each in found.offers if each.hourly is None]):
        say(*textwrap.wrap(f"No source has a price for: {', '.join(lacking)}.", 80, break_on_hyphens=False))
    say(
        "",
        "USD, for Linux servers. THIS RUN is its time x USD/H, of 60 s at least; a public",
        f"address and the root disk cost {BESIDES:.4f} an hour besides, whichever way.",
    )
    paying = [each for each in known if each.years is not None]
    if rates.on_demand and paying and found.commitments_matter:
        least = min(paying, key=lambda each: each.hourly or 0)
        reckoning = f"{least.hourly:.4f} x {HOURS_A_MONTH} / {rates.on_demand:.4f} = {_pays(least)}"
        say(
            f"A commitment is paid for all {HOURS_A_MONTH} h of a month. It pays from as many hours on as cost",
            f"the same on demand; {_name(least)}: {reckoning}.",
        )
    say("", *textwrap.wrap(found.advice, 80, break_on_hyphens=False))


def _show_offers(offers: Sequence[Offer]) -> None:
    from skylift.cli.table import Column, show_table
    from skylift.client.text.money import spell_usd

    figures = ("USD/H", "THIS RUN", "A MONTH", "PAYS FROM", "AS OF")
    rows = [
        (_name(each), f"{each.hourly:.4f}", spell_usd(each.run), spell_usd(each.month), _pays(each), each.as_of or "")
        for each in offers
    ]
    show_table((Column("OPTION", least=12), *(Column(name, right=True) for name in figures)), rows)


def _together(names: list[str]) -> list[str]:
    """One word for both terms of a commitment."""
    for name in ("reserved", "savings plan"):
        if f"{name} 1y" in names and f"{name} 3y" in names:
            names = [name if each == f"{name} 1y" else each for each in names if each != f"{name} 3y"]
    return names


def _name(offer: Offer) -> str:
    words = [offer.name if offer.name == "on-demand" else offer.name.replace("-", " ")]
    if offer.years is not None:
        words.append(f"{offer.years}y")
    if offer.payment is not None:
        words.append(offer.payment.replace("-", " "))
    return " ".join(words)


def _pays(offer: Offer) -> str:
    if offer.name == "on-demand":
        return "-"
    if offer.hourly is None:
        return "unknown"
    if offer.pays_from is None:
        return "never"
    return f"{offer.pays_from:.0f} h/month" if offer.pays_from else "always"
