"""Decides what depends on where a job runs: its instance type, and how long its --max-cost lasts there."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from skylift import catalogue
from skylift.catalogue import InstanceType
from skylift.client.errors import UsageError
from skylift.client.job.choice import Choice
from skylift.client.job.job import Job
from skylift.client.job.record import SETUP_ALLOWANCE
from skylift.client.job.requirements import Requirements, spell_memory
from skylift.client.job.settings import Machine, Settings
from skylift.client.job.spot import with_types
from skylift.client.price.choice import Price, by_price, cheapest, describe, fits, fitting
from skylift.client.price.price import dates_of, hourly_price, seconds_for, stand_in

_NEXT = 2
"""The number of runners-up that are shown after the chosen type."""


def resolve_options(job: Job, settings: Settings, servers: int = 1) -> Job:
    """The job with its type and its cap, for so many servers at the most. Raises UsageError where no type fits, or the
    sum does not pay for a run."""
    if not job.depends_on_place:
        return job
    servers = max(servers, job.most_servers)
    if job.wanted:
        job = _with_type(job, settings)
    if job.spot is not None:
        job = replace(job, spot=with_types(job.spot, _types_that_do(job, settings)))
    return job if job.max_cost is None else _with_cap(job, job.max_cost, settings.region, servers)


def _types_that_do(job: Job, settings: Settings) -> list[tuple[str, float]]:
    """Any type that meets the needs, or has at least the default type's resources. A type that was given is the only
    one, and so is the one whose price the cap was made of.
    """
    only = [(job.instance_type, 0.0)]
    if job.type_was_said or job.max_cost is not None:
        return only
    default = catalogue.types()[job.instance_type]
    wanted = job.wanted or Requirements(cpu=default.vcpus, memory_mib=default.memory_mib)
    price = partial(catalogue.on_demand, region=stand_in(settings.region)[0])
    offers = cheapest(_jobs_types(settings.machine), _for_one_processor(wanted, settings.machine), price)
    return [(kind.name, usd) for kind, usd in offers if kind.spot] or only


def _with_type(job: Job, settings: Settings) -> Job:
    if job.type_was_said:
        return replace(job, notes=(*job.notes, *_note_type_counts(job.instance_type, job.wanted)))
    choice, notes = choose(job.wanted, settings.region, settings.machine)
    return replace(job, instance_type=choice.type, choice=choice, notes=(*job.notes, choice.spell(), *notes))


def _note_type_counts(name: str, wanted: Requirements) -> list[str]:
    """--type wins. The note says so if the type has less than what was asked for."""
    kind = catalogue.types().get(name)
    less = f", which is less: {describe(kind)}" if kind is not None and not fits(kind, wanted) else ""
    return [f"--type {name} counts, not {wanted.spell()}{less}."]


def choose(wanted: Requirements, region: str, machine: Machine | None) -> tuple[Choice, list[str]]:
    """The cheapest type that a job can have there, and what else there is to say of it. Programs are built for one
    processor, and most for x86-64: arm64 is chosen where it is asked for, or where the one machine is of that kind."""
    priced, note = stand_in(region)
    if machine is not None:
        _check_machine(wanted, machine)
    asked = _for_one_processor(wanted, machine)
    price, types = partial(catalogue.on_demand, region=priced), _jobs_types(machine)
    free = not wanted.arch and machine is None
    if free:
        _check_processor(types, asked)
    (best, hourly), *others = cheapest(types, asked, price)
    hints = [_arm_hint(types, wanted, price, hourly)] if free else []
    hints.append(_unpriced(fitting(types, asked), best, price))
    following = tuple((kind.name, usd) for kind, usd in others[:_NEXT])
    dates = dates_of(priced)
    choice = Choice(
        best.name, hourly, priced, dates.get("on-demand", ""), wanted, following, " ".join(filter(None, hints))
    )
    notes = [note] if note else []
    if machine is not None:
        notes += _shared(best, machine)
    return choice, notes


def _for_one_processor(wanted: Requirements, machine: Machine | None) -> Requirements:
    return replace(wanted, arch=wanted.arch or (machine.processor if machine is not None else "x86_64"))


def _jobs_types(machine: Machine | None) -> list[InstanceType]:
    known = [each for each in catalogue.types().values() if each.architecture in ("x86_64", "arm64")]
    found = [each for each in known if each.current and not each.bare_metal]
    return [each for each in found if machine is None or (each.accelerators is None and each.disks is None)]


def _check_machine(wanted: Requirements, machine: Machine) -> None:
    if wanted.gpus:
        raise UsageError(f"--gpu: servers of {machine.name} have none.", "Run it on AWS: --on aws.")
    if wanted.arch and wanted.arch != machine.processor:
        raise UsageError(
            f"--arch {wanted.arch}: servers of {machine.name} are {machine.processor}.", "Run it on AWS: --on aws."
        )


def _check_processor(types: list[InstanceType], asked: Requirements) -> None:
    """What there is for the other processor only has to be asked for."""
    others = fitting(types, replace(asked, arch="arm64"))
    if others and not fitting(types, asked):
        raise UsageError(
            f"There is no instance type for {asked.spell()}.", f"For arm64 there is {describe(others[0])}."
        )


def _arm_hint(types: list[InstanceType], wanted: Requirements, price: Price, hourly: float) -> str:
    """What a program that runs there would save."""
    found = by_price(fitting(types, replace(wanted, arch="arm64")), price)
    first = found[0] if found else None
    if first is None or first.price is None or first.price >= hourly:
        return ""
    return f"For arm64 it would be {first.kind.name}, {first.price:.4f} (--arch arm64)."


def _unpriced(fitting: list[InstanceType], best: InstanceType, price: Price) -> str:
    """Types that may be cheaper than the chosen one: they are no larger, and no source has their price."""
    names = sorted(
        each.name
        for each in fitting
        if price(each.name) is None and each.vcpus <= best.vcpus and each.memory_mib <= best.memory_mib
    )
    more = f" and {len(names) - _NEXT} more" if len(names) > _NEXT else ""
    return f"No source tells the price of {', '.join(names[:_NEXT])}{more}, which would do." if names else ""


def _shared(kind: InstanceType, machine: Machine) -> list[str]:
    """Where the machine itself has less than its servers are sold as."""
    less = []
    if kind.vcpus > machine.cpus:
        less.append(f"{machine.cpus} processor{'s' * (machine.cpus != 1)} for its {kind.vcpus} vCPU")
    if kind.memory_mib > machine.memory_mib:
        less.append(f"{spell_memory(machine.memory_mib)} of memory for its {spell_memory(kind.memory_mib)}")
    return [f"{machine.name[0].upper()}{machine.name[1:]} has {' and '.join(less)}."] if less else []


def _with_cap(job: Job, cost: float, region: str, servers: int) -> Job:
    """The shorter of both caps. Several servers share the sum. What a server may cost counts from its first to its last
    moment, so the boot, the results and the time that it is kept are taken off."""
    besides = SETUP_ALLOWANCE + job.keep
    left = seconds_for(cost / servers, job.instance_type, region) - besides
    if left <= 0:
        least = (hourly_price(job.instance_type, region) or 0) * besides * servers / 3600
        raise UsageError(
            f"--max-cost {cost:g} does not pay for {_named(job.instance_type, servers)} to boot and send results.",
            f"That may cost {least:.4f} USD before the program has run for a second.",
        )
    return replace(job, max_time=left, cap="--max-cost") if left < job.max_time else job


def _named(kind: str, servers: int) -> str:
    return f"a {kind}" if servers == 1 else f"{servers} servers of type {kind}"
