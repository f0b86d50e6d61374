"""The noun of dedicated hosts: a machine that is the account's alone, for instances of one family or one type."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal


@dataclass(frozen=True)
class DedicatedHost:
    """`type` is None for a host that takes every type of its family. With `auto_placement` it takes instances that ask
    for a host and name none. Once `released` it is still described for an hour.

    All hosts are this machine. Which instances may be on a host, and how many, is checked nevertheless.
    """

    id: str
    family: str
    type: str | None
    zone: str
    allocated: datetime
    auto_placement: Literal["on", "off"] = "on"
    client_token: str | None = None
    released: datetime | None = None
    tags: dict[str, str] = field(default_factory=dict)
