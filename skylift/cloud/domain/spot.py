"""Nouns of spot instances: the request that brings one, and the notice that ends it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from skylift.cloud.domain.launch_request import LaunchRequest

Behavior = Literal["terminate", "stop"]


@dataclass(frozen=True)
class SpotRequest:
    """A wish for one spot instance, and what became of it.

    `launch` is the instance's, `instance_tags` what the instance has besides, of a launch template
    for example. `max_price` None is what the type costs on demand. A launch that comes to nothing is tried again not
    before `not_before`, later after each of `failures`.
    """

    id: str
    type: Literal["one-time", "persistent"]
    created: datetime
    launch: LaunchRequest
    instance_type: str
    max_price: float | None
    behavior: Behavior
    state: Literal["open", "active", "disabled", "closed", "cancelled", "failed"]
    status_code: str
    status_message: str
    status_updated: datetime
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    instance_id: str | None = None
    zone: str | None = None
    failures: int = 0
    not_before: datetime | None = None
    instance_tags: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SpotNotice:
    """An interruption notice: since when the instance is at risk, when it got notice, and when it has to go.

    `cause` is why: the `price`, or want of `capacity`. Once it is carried out, `due` has passed and the instance's row
    says so.
    """

    instance_id: str
    rebalance: datetime | None = None
    noticed: datetime | None = None
    due: datetime | None = None
    cause: Literal["", "price", "capacity"] = ""
