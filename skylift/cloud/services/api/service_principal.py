"""Principals that are services of AWS: `ec2.amazonaws.com`, `logs.eu-west-1.amazonaws.com`.

AWS publishes no list of them. `service_principals.txt` has what its lists of other things name. A part of a service
(`monitoring.rds.amazonaws.com`) passes with the service, because AWS adds parts often.
"""

from __future__ import annotations

import re
from pathlib import Path

_REGION = re.compile(r"(af|ap|ca|cn|eu|eusc|il|me|mx|sa|us)(-[a-z]+)+-\d")
_PUBLIC = re.compile(r"(.*)\.amazonaws\.com(?:\.cn)?")


def _services() -> frozenset[str]:
    lines = (Path(__file__).parent / "service_principals.txt").read_text().splitlines()
    return frozenset(line for line in lines if not line.startswith("#"))


SERVICES = _services()


def exists(principal: str) -> bool:
    """Whether AWS has such a service, as far as its lists tell. Names inside AWS (`aws.internal`) are on none, and
    pass."""
    public = _PUBLIC.fullmatch(principal)
    if public is None:
        return True
    labels = [label for label in public[1].split(".") if not _REGION.fullmatch(label)]
    return bool(labels) and labels[-1] in SERVICES
