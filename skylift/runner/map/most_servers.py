"""`--servers auto`: as many as the inputs can use, and as the account may have."""

from __future__ import annotations

import math
import re

from skylift import catalogue
from skylift.runner.errors import Refused
from skylift.runner.job.job import Job
from skylift.runner.job.settings import Machine
from skylift.runner.plan.plan_job import MOST_SERVERS
from skylift.runner.remote.api import Api

UNKNOWN = 8
"""The most servers where nobody says how many vCPUs the account may have."""
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


def most_servers(api: Api, job: Job, inputs: int, per_server: int, machine: Machine | None) -> tuple[int, str]:
    """The number of servers, and a sentence on why it is that. `job` has its type. `machine` is the one that all of
    them are on, if it is one."""
    kind = catalogue.types().get(job.instance_type)
    vcpus = kind.vcpus if kind is not None else 1
    useful = math.ceil(inputs / (per_server or vcpus))
    bounds = [(useful, f"as many as {inputs:,} input{'s' * (inputs != 1)} can use"), _allowed(api, job, vcpus)]
    if machine is not None:
        processors = f"{machine.cpus} processor{'s' * (machine.cpus != 1)}"
        bounds.append((machine.cpus // vcpus, f"as {machine.name} has {processors}"))
    number, why = min(bounds, key=lambda bound: bound[0])
    number = max(1, min(number, MOST_SERVERS))
    return number, f"--servers auto: at most {number:,} server{'s' * (number != 1)} of type {job.instance_type}, {why}."


def _allowed(api: Api, job: Job, vcpus: int) -> tuple[int, str]:
    """By the quota. Servers that run already count against it, too: EC2 refuses what is beyond it, and the map goes on
    with the servers that it has."""
    found = re.match("[a-z]*", job.instance_type)
    code = _CODES.get(found[0] if found else "", _STANDARD)[job.spot is not None]
    try:
        quota = api.call("service-quotas", "get_service_quota", ServiceCode="ec2", QuotaCode=code)["Quota"]["Value"]
    except Refused as error:
        why = "has no such quota" if error.code == "NoSuchResourceException" else "does not say what your quota is"
        return UNKNOWN, f"as Service Quotas {why} ({code})"
    return int(quota) // vcpus, f"by your quota of {int(quota):,} vCPUs ({code})"
