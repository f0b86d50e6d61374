"""The most servers of a map for which no number was given: as many as the inputs can use, and as the account may have.

`--servers auto` asks for that. Without --servers there are a few at most, and nothing may come of it that the user has
not asked for: no shorter time for the sum of --max-cost, and no error.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace

from skylift import catalogue
from skylift.client.errors import Refused, SkyliftError
from skylift.client.job.job import Job
from skylift.client.job.record import SETUP_ALLOWANCE
from skylift.client.job.settings import Machine, Settings
from skylift.client.launch.network import MOST_GROUPS
from skylift.client.map.planning import AUTO, MapLimits
from skylift.client.plan.plan_job import MOST_SERVERS, fits_several
from skylift.client.plan.resolve_options import resolve_options
from skylift.client.price.price import seconds_for
from skylift.client.remote.api import Api

UNKNOWN = 8
"""The most servers where nobody says how many vCPUs the account may have."""
UNASKED = 8
"""The most servers of a map that was asked for no number. A program that has taken over the map's own server could have
so many until the deadline."""
_STANDARD = ("L-1216C47A", "L-34B43A08")
_CODES = {
    "dl": ("L-6E869C2A", "L-85EED4F7"),
    "f": ("L-74FC7D96", "L-88CF9481"),
    "g": ("L-DB2E81BA", "L-3819A6DF"),
    "gr": ("L-DB2E81BA", "L-3819A6DF"),
    "inf": ("L-1945791B", "L-B5D1601B"),
    "p": ("L-417A185B", "L-7212CCBC"),
    "trn": ("L-2C3B7624", "L-6B0D517C"),
    "vt": ("L-DB2E81BA", "L-3819A6DF"),
    "x": ("L-7295265B", "L-E3A00192"),
}
"""AWS's codes of the quotas of vCPUs, on demand and on spot, by the letters that a type begins with; others are
standard."""


Bound = tuple[int, str]
"""So many servers at the most, and why."""


def choose_servers(
    api: Callable[[], Api], job: Job, settings: Settings, inputs: int, limits: MapLimits
) -> tuple[Job, MapLimits]:
    """The limits with a number of servers, if they have none, and the job with a note on it. `job` need not have its
    type yet. Raises UsageError, as resolve_options does."""
    if limits.servers > 0:
        return job, limits
    known = resolve_options(job, settings)
    if limits.servers == AUTO:
        number, why = most_servers(api(), known, inputs, limits.per_server, settings.machine)
        return replace(job, notes=(*job.notes, f"--servers auto: {why}")), replace(limits, servers=number, by_work=True)
    if not fits_several(job) or len(settings.access.groups) >= MOST_GROUPS:
        return job, replace(limits, servers=1)
    bounds = [
        *_bounds(known, inputs, limits.per_server, settings.machine),
        (UNASKED, "as it takes --servers auto to have more"),
    ]
    if job.max_cost is not None:
        bounds.append(_paid(known, job.max_cost, job.max_time, settings.region))
    if min(bounds)[0] <= 1:
        # The account need not be asked.
        return job, replace(limits, servers=1)
    number, why = _least([*bounds, _allowed(api(), known, _vcpus(known))], known)
    if number > 1:
        job = replace(job, notes=(*job.notes, f"{why[0].upper()}{why[1:]} --servers N is another number."))
    return job, replace(limits, servers=number, chosen=True, by_work=True)


def most_servers(api: Api, job: Job, inputs: int, per_server: int, machine: Machine | None) -> tuple[int, str]:
    """The number of servers, and a sentence on why it is that. `job` has its type. `machine` is the one that all of
    them are on, if it is one."""
    return _least([*_bounds(job, inputs, per_server, machine), _allowed(api, job, _vcpus(job))], job)


def _least(bounds: list[Bound], job: Job) -> tuple[int, str]:
    number, why = min(bounds, key=lambda bound: bound[0])
    number = max(1, min(number, MOST_SERVERS))
    return number, f"at most {number:,} server{'s' * (number != 1)} of type {job.instance_type}, {why}."


def _vcpus(job: Job) -> int:
    kind = catalogue.types().get(job.instance_type)
    return kind.vcpus if kind is not None else 1


def _bounds(job: Job, inputs: int, per_server: int, machine: Machine | None) -> list[Bound]:
    vcpus = _vcpus(job)
    useful = math.ceil(inputs / (per_server or vcpus))
    bounds = [(useful, f"as many as {inputs:,} input{'s' * (inputs != 1)} can use")]
    if machine is not None:
        processors = f"{machine.cpus} processor{'s' * (machine.cpus != 1)}"
        bounds.append((machine.cpus // vcpus, f"as {machine.name} has {processors}"))
    return bounds


def _paid(job: Job, cost: float, max_time: int, region: str) -> Bound:
    """The sum is divided by the number of servers. So many leave the map all the time that it may take."""
    each = max_time + SETUP_ALLOWANCE + job.keep
    return seconds_for(cost, job.instance_type, region) // each, f"as --max-cost {cost:g} pays for all their time"


def _allowed(api: Api, job: Job, vcpus: int) -> Bound:
    """By the quota. Servers that run already count against it, too: EC2 refuses what is beyond it, and the map goes on
    with the servers that it has."""
    found = re.match("[a-z]*", job.instance_type)
    code = _CODES.get(found[0] if found else "", _STANDARD)[job.spot is not None]
    try:
        quota = api.call("service-quotas", "get_service_quota", ServiceCode="ec2", QuotaCode=code)["Quota"]["Value"]
    except SkyliftError as error:
        is_none = isinstance(error, Refused) and error.code == "NoSuchResourceException"
        why = "has no such quota" if is_none else "does not say what your quota is"
        return UNKNOWN, f"as Service Quotas {why} ({code})"
    return int(quota) // vcpus, f"by your quota of {int(quota):,} vCPUs ({code})"
