"""The rows of tables: flat, each value a text or a number.

AG Grid takes any key that begins with `:` for JavaScript. So keys are the names of these fields and nothing else, and
what a user wrote (tags, names) is only ever a value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from skylift.client.text.duration import moment


@dataclass(frozen=True)
class Row:
    id: str


@dataclass(frozen=True)
class InstanceRow(Row):
    name: str
    state: str
    type: str
    zone: str
    public: str
    private: str
    key: str
    launched: str
    cost: float | None
    market: str
    vpc: str
    tags: str


@dataclass(frozen=True)
class JobRow(Row):
    state: str
    what: str
    created: str
    seconds: int | None
    exit: int | None
    cost: float | None
    server: str
    type: str
    address: str


@dataclass(frozen=True)
class ClusterRow(Row):
    state: str
    workers: int
    created: str
    group: str


@dataclass(frozen=True)
class KeyPairRow(Row):
    name: str
    type: str
    fingerprint: str
    created: str
    tags: str


@dataclass(frozen=True)
class SecurityGroupRow(Row):
    name: str
    vpc: str
    description: str
    inbound: int
    outbound: int
    tags: str


@dataclass(frozen=True)
class RuleRow(Row):
    """`ports` is for people; `first` and `last` are as EC2 has them: ports, or of ICMP the type and the code."""

    direction: str
    ports: str
    other: str
    description: str
    protocol: str = "-1"
    first: int = -1
    last: int = -1

    @property
    def words(self) -> str:
        return f"{self.direction}: {', '.join(filter(None, (self.ports, self.other, self.description)))}"

    @property
    def typed_ports(self) -> str:
        """As somebody would type them."""
        if self.protocol not in ("tcp", "udp"):
            return ""
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


@dataclass(frozen=True)
class VpcRow(Row):
    name: str
    cidr: str
    state: str
    default: str
    tags: str


@dataclass(frozen=True)
class BucketRow(Row):
    created: str


def as_time(when: datetime | None) -> str:
    """In the machine's own zone, so that it sorts as text."""
    return _in_own_zone(when).strftime("%Y-%m-%d %H:%M:%S") if when else ""


def _in_own_zone(when: datetime) -> datetime:
    try:
        return when.astimezone()
    except OverflowError:
        # At the end of the year 9999, which a job's program may have written, Tokyo is in the year 10000.
        return when


def as_moment(text: str | None) -> str:
    """The same of a time in a job's record."""
    return as_time(datetime.fromtimestamp(moment(text), UTC)) if text else ""


def as_tags(described: Mapping[str, Any]) -> dict[str, str]:
    return {str(tag["Key"]): str(tag["Value"]) for tag in described.get("Tags", [])}


def spell_tags(tags: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(tags.items()) if key != "Name")
