"""EventBridge Scheduler, for the caps of jobs (cap.py) and for schedules (schedule/): a group for each of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from skylift.client.errors import Refused
from skylift.client.job.policy import policy
from skylift.client.remote.api import Api
from skylift.client.remote.repeatable import end_unless_gone, make_unless_there
from skylift.client.waiting import pauses

GROUP = "skylift"
"""The group of all schedules, and of the caps that the servers of their runs have."""
_SETTLING = 60.0
"""Seconds in which EventBridge Scheduler must learn of a new role, and of its own new group."""


def trust_in_scheduler(account: str, region: str, group: str) -> dict[str, Any]:
    """Only EventBridge Scheduler, and only for this group of schedules of this account. A `region` may be `*`."""
    source = f"arn:aws:scheduler:{region}:{account}:schedule-group/{group}"
    only = {"StringEquals": {"aws:SourceAccount": account}, "ArnLike": {"aws:SourceArn": source}}
    allowed = {"Effect": "Allow", "Principal": {"Service": "scheduler.amazonaws.com"}, "Action": "sts:AssumeRole"}
    return policy({**allowed, "Condition": only})


def create_schedule(api: Api, request: dict[str, Any], prepare: Callable[[], object] = lambda: None) -> None:
    """`prepare` is called when the role or the group is not there. Raises Refused."""
    prepared = False
    for more in pauses(_SETTLING, 5):
        try:
            api.call("scheduler", "create_schedule", **request)
            return
        except Refused as error:
            is_new = "assume the role" in error.reason or error.code == "ResourceNotFoundException"
            if not is_new or not more:
                raise
        if not prepared:
            prepare()
            prepared = True


def ensure_group(api: Api, name: str) -> None:
    make_unless_there(api, "ConflictException", "scheduler", "create_schedule_group", Name=name)


def delete_schedule(api: Api, group: str, name: str) -> bool:
    """Whether there was one."""
    which = {"GroupName": group, "Name": name}
    return end_unless_gone(api, "ResourceNotFoundException", "scheduler", "delete_schedule", **which)
