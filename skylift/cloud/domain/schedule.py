"""Nouns of EventBridge Scheduler."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

ScheduleState = Literal["ENABLED", "DISABLED"]
Completion = Literal["NONE", "DELETE"]


@dataclass(frozen=True)
class ScheduleGroup:
    name: str
    arn: str
    created: datetime
    modified: datetime
    tags: dict[str, str] = field(default_factory=dict)
    state: Literal["ACTIVE", "DELETING"] = "ACTIVE"


@dataclass(frozen=True)
class Target:
    """The API call to make (`arn:aws:scheduler:::aws-sdk:ec2:runInstances`), its request, and the role that it is made
    with.

    A failed invocation is retried at most `attempts` times, while it is not older than `max_age` seconds.
    """

    arn: str
    role_arn: str
    input: str | None = None
    max_age: int | None = None
    attempts: int | None = None


@dataclass(frozen=True)
class Schedule:
    """`group` and `name` are its identity. `window` is the flexible time window in minutes, None without one.

    `anchor` is the first time of a rate. `due` is when the target is next to be invoked, without the window; None if
    the schedule is over or disabled.
    """

    group: str
    name: str
    arn: str
    expression: str
    zone: str
    start: datetime | None
    end: datetime | None
    description: str | None
    state: ScheduleState
    target: Target
    window: int | None
    after: Completion
    created: datetime
    modified: datetime
    anchor: datetime
    due: datetime | None


@dataclass(frozen=True)
class Invocation:
    """One time at which a schedule was due, until its target has been invoked or it is given up.

    `id` is AWS's execution id. `scheduled` is the time that it was due, `due` when it is tried next; `attempt` counts
    from 1.
    """

    id: str
    group: str
    name: str
    scheduled: datetime
    due: datetime
    attempt: int = 1

    def is_too_old(self, target: Target, now: datetime) -> bool:
        return now - self.scheduled > timedelta(seconds=max_age(target))


@dataclass(frozen=True)
class RefusedCall:
    """What an invocation was refused with: the operation `name` in the role of the schedule, or to assume that role.
    `record` is CloudTrail's event of it, in JSON."""

    id: str
    at: datetime
    name: str
    role_arn: str
    record: str


@dataclass(frozen=True)
class ScheduleToken:
    """The use of a client's token, kept for a day: the same request again is not carried out again."""

    operation: str
    token: str
    digest: str
    result: str
    used: datetime


MOST_AGE, MOST_ATTEMPTS = 86400, 185
"""AWS's defaults if a target has none: a day, and this many retries."""


def max_age(target: Target) -> int:
    return MOST_AGE if target.max_age is None else target.max_age


def most_retries(target: Target) -> int:
    return MOST_ATTEMPTS if target.attempts is None else target.attempts
