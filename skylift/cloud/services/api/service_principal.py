"""Principals that are services of AWS: `ec2.amazonaws.com`, `logs.eu-west-1.amazonaws.com`.

AWS publishes no list of them. `service_principals.txt` has what its lists of other things name. A part of a service
passes with the service, because AWS adds parts often: `monitoring.rds.amazonaws.com`, `osis-pipelines.amazonaws.com`.
"""

from __future__ import annotations

import re
from pathlib import Path

_REGION = re.compile(r"(af|ap|ca|cn|eu|eusc|il|me|mx|sa|us)(-[a-z]+)+-\d")
_PUBLIC = re.compile(r"(.*)\.amazonaws\.com(?:\.cn)?")
_REFUSED = frozenset({"bedrock-agent"})
"""What IAM was seen to refuse, though it reads as a part of a service."""


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
    return bool(labels) and _known(labels[-1])


def _known(label: str) -> bool:
    """A service, or one with further words behind a hyphen."""
    words = label.split("-")
    beginnings = {"-".join(words[:count]) for count in range(1, len(words) + 1)}
    return label not in _REFUSED and all(words) and not beginnings.isdisjoint(SERVICES)
