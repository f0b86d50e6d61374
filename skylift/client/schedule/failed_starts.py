"""Starts of runs that came to nothing. EventBridge Scheduler itself keeps no account of them: CloudTrail's event
history has what it asked for and was refused, for ninety days, some minutes after that happened."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from skylift.client.errors import Refused
from skylift.client.job.scheduled import run_of_tag
from skylift.client.launch.role import describe_own
from skylift.client.launch.scheduler import GROUP, trust_in_scheduler
from skylift.client.remote.account import Account
from skylift.client.remote.api import Api
from skylift.client.text.visible import visible

_KEPT = timedelta(days=90)
_MOST = 250
"""The newest events that are looked at. CloudTrail gives fifty at a time, and is asked twice a second at most."""
_TIME = len("2026-11-28T01:00:00Z")
"""A start's client token ends with the time that was due."""
_ENCODED = " Encoded authorization failure message:"


@dataclass
class Failures:
    """The runs of a schedule that were refused to EventBridge Scheduler, with the reason that was given last; a later
    attempt may have started one all the same. `broken` is why no run can start now, as far as that is seen; empty
    where nothing is."""

    broken: str = ""
    starts: dict[str, str] = field(default_factory=dict)


def find_failures(account: Account, roles: Mapping[str, str]) -> dict[str, Failures]:
    """By schedule. `roles` are the ARNs of the roles in which EventBridge Scheduler acts for each. Where CloudTrail may
    not be asked, the user is told so, and only what is missing now is known."""
    found = {arn: (schedule, Failures()) for schedule, arn in roles.items()}
    trust = trust_in_scheduler(account.number, account.api.region, GROUP)
    doubtful = []
    for arn, (_, failures) in found.items():
        there = describe_own(account.api, "role", _name(arn))
        if not there:
            failures.broken = f"The role {_name(arn)} is gone, with which EventBridge Scheduler starts the runs."
        if there.get("AssumeRolePolicyDocument") != trust:
            doubtful.append(arn)
    try:
        for event in _events(account.api, doubtful) if found else ():
            for arn, run, reason in _refused(event, found):
                found[arn][1].starts.setdefault(run, reason)
    except Refused as error:
        account.settings.note(f"Whether starts of runs have failed is not known: {error.message}")
    return dict(found.values())


def _events(api: Api, doubtful: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Requests for servers; and for sessions of roles that may not be given any more."""
    for key, value in (("EventName", "RunInstances"), *(("ResourceName", arn) for arn in doubtful)):
        yield from api.pages(
            "cloudtrail",
            "lookup_events",
            "Events",
            LookupAttributes=[{"AttributeKey": key, "AttributeValue": value}],
            StartTime=datetime.now(UTC) - _KEPT,
            PaginationConfig={"MaxItems": _MOST},
        )


def _refused(event: dict[str, Any], known: Mapping[str, tuple[str, Failures]]) -> Iterator[tuple[str, str, str]]:
    """The ARN of the role, the run and the reason, if the event is of a refusal to one of these."""
    record = json.loads(event["CloudTrailEvent"])
    asked = record.get("requestParameters") or {}
    session = record["userIdentity"].get("sessionContext") or {}
    arn, when = str((session.get("sessionIssuer") or {}).get("arn")), str(asked.get("clientToken"))[-_TIME:]
    if event["EventName"] == "AssumeRole":
        arn, when = str(asked.get("roleArn")), f"{event['EventTime'].astimezone(UTC):%Y-%m-%dT%H:%M:00Z}"
    if arn in known and record.get("errorCode") and (run := run_of_tag(f"{known[arn][0]}/{when}")):
        message = str(record.get("errorMessage", "")).partition(_ENCODED)[0]
        yield arn, run, visible(f"{message} ({record['errorCode']})")


def _name(arn: str) -> str:
    return arn.rpartition("/")[2]
