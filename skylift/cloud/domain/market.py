"""Nouns of the market: prices, room and quotas that its owner has set."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Market = Literal["spot", "on-demand"]
RoomMarket = Literal["any", "spot", "on-demand"]

ANY_TYPE = "*"


@dataclass(frozen=True)
class SpotPrice:
    """The price of an instance type an hour, in USD, from `since` on until the next one."""

    type: str
    zone: str
    since: datetime
    price: float


@dataclass(frozen=True)
class Capacity:
    """How many instances there is room for. `type` is `*` for every type without its own row."""

    type: str
    zone: str
    market: RoomMarket
    count: int


@dataclass(frozen=True)
class VcpuQuota:
    """How many vCPUs of a class of types an account may run at a time."""

    family: str
    market: Market
    vcpus: int
